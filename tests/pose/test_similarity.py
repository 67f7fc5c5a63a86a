"""OKS and overlap against their formulas written as loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.pose.similarity import (
    GENERIC_SIGMA,
    oks,
    overlap,
    sigmas_of,
    square_size,
    without_duplicates,
)

SIGMAS = sigmas_of("coco-17", 17)


def people(seed, count, missing=0.3):
    draw = np.random.default_rng(seed)
    poses = draw.uniform(0, 200, (count, 17, 2))
    poses[draw.random((count, 17)) < missing] = np.nan
    return poses


def by_loops(first, second, size):
    total, known = 0.0, [0, 0]
    for joint in range(17):
        a, b = first[joint], second[joint]
        known[0] += not np.isnan(a[0])
        known[1] += not np.isnan(b[0])
        if not np.isnan(a[0]) and not np.isnan(b[0]):
            apart = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
            total += math.exp(-apart / (2 * size * (2 * SIGMAS[joint]) ** 2))
    return total / max(min(known), 1)


@given(st.integers(0, 10_000))
def test_oks_is_the_formula(seed):
    first, second = people(seed, 3), people(seed + 1, 2)
    found = oks(first, second, square_size(first), SIGMAS)
    for one in range(3):
        for other in range(2):
            size = square_size(first)[one]
            expected = by_loops(first[one], second[other], size)
            assert found[one, other] == pytest.approx(expected, abs=1e-12)


def test_a_pose_is_like_itself_and_less_like_itself_moved():
    pose = people(0, 1, missing=0)
    size = square_size(pose)
    places = [float(oks(pose, pose + step, size, SIGMAS)[0, 0]) for step in (0, 5, 20, 500)]
    assert places[0] == pytest.approx(1)
    assert places == sorted(places, reverse=True)
    assert places[-1] < 1e-6


def test_two_shared_joints_of_ten_are_not_the_whole_pose():
    first, second = np.full((1, 17, 2), np.nan), np.full((1, 17, 2), np.nan)
    first[0, :10] = second[0, 8:17][:1] = 7.0
    second[0, 8:17] = 7.0
    assert float(oks(first, second, np.array([100.0]), SIGMAS)[0, 0]) == pytest.approx(2 / 9)


def test_size_is_a_quarter_of_the_squared_diagonal_of_what_is_known():
    pose = np.full((2, 17, 2), np.nan)
    pose[0, 3], pose[0, 9] = (10, 10), (40, 50)
    np.testing.assert_allclose(square_size(pose), [2500 / 4, 0])


def test_overlap_is_that_of_the_joints_both_show():
    first = np.full((1, 17, 2), np.nan)
    first[0, :4] = [(0, 0), (10, 0), (0, 10), (10, 10)]
    second = first + np.array([5, 0])
    assert float(overlap(first, second)[0, 0]) == pytest.approx(50 / 150, abs=1e-3)
    first[0, 5] = (500, 500)
    assert float(overlap(first, second)[0, 0]) == pytest.approx(50 / 150, abs=1e-3)
    assert float(overlap(np.full((1, 17, 2), np.nan), second)[0, 0]) == 0


def test_of_two_poses_of_one_person_the_worthier_stays():
    one, other = people(1, 1, 0), people(2, 1, 0)
    poses = np.concatenate([one, other, one + 1])
    assert without_duplicates(poses, np.array([0.5, 0.4, 0.6]), SIGMAS, 0.5) == [2, 1]
    assert without_duplicates(poses[:0], np.empty(0), SIGMAS, 0.5) == []


def test_other_layouts_have_one_spread_for_all_joints():
    assert sigmas_of("ntu-25", 25).tolist() == [GENERIC_SIGMA] * 25
    assert SIGMAS.shape == (17,)
