"""Gaps are bridged only between known frames; smoothing leaves straight motion alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from poselens.pose.fill import fill_gaps, smooth

NAN = np.nan


def one_joint(*values):
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


tracks = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(1, 3), st.just(2)),
    elements=st.one_of(st.just(NAN), st.floats(-100, 100, width=32)),
)


@pytest.mark.parametrize(
    ("track", "max_gap", "expected"),
    [
        ((0, NAN, NAN, 3), 2, (0, 1, 2, 3)),
        ((0, NAN, NAN, 3), 1, (0, NAN, NAN, 3)),
        ((NAN, 1, NAN, 2, NAN), 5, (NAN, 1, 1.5, 2, NAN)),
        ((NAN, NAN), 5, (NAN, NAN)),
        ((4, NAN, 6), 0, (4, NAN, 6)),
    ],
)
def test_gaps(track, max_gap, expected):
    np.testing.assert_allclose(fill_gaps(one_joint(*track), max_gap), one_joint(*expected))


@given(tracks, st.integers(0, 5))
def test_filling_agrees_with_a_loop(track, max_gap):
    people, frames, joints, _ = track.shape
    expected = track.copy()
    for m in range(people):
        for v in range(joints):
            known = [t for t in range(frames) if np.isfinite(track[m, t, v]).all()]
            for left, right in itertools.pairwise(known):
                if right - left - 1 <= max_gap:
                    for t in range(left + 1, right):
                        share = (t - left) / (right - left)
                        expected[m, t, v] = (1 - share) * track[m, left, v]
                        expected[m, t, v] += share * track[m, right, v]
    np.testing.assert_allclose(fill_gaps(track, max_gap), expected, rtol=1e-4, atol=1e-4)


@given(tracks)
def test_filling_keeps_what_is_known_and_the_input(track):
    before = track.copy()
    filled = fill_gaps(track, 4)
    known = np.isfinite(track).all(axis=-1)
    np.testing.assert_array_equal(filled[known], track[known])
    np.testing.assert_array_equal(track, before)


def test_smoothing_weights_are_binomial():
    np.testing.assert_allclose(
        smooth(one_joint(0, 0, 4, 0, 0), 1), one_joint(0, 1, 2, 1, 0), atol=1e-6
    )
    np.testing.assert_allclose(
        smooth(one_joint(0, 0, 0, 16, 0, 0, 0), 2)[0, 2:5, 0, 0], [4, 6, 4], atol=1e-6
    )


@given(st.integers(0, 4), st.integers(1, 15))
def test_smoothing_leaves_uniform_motion_where_it_is(radius, frames):
    track = one_joint(*(3 * np.arange(frames) - 7))
    np.testing.assert_allclose(smooth(track, radius), track, atol=1e-4)


def test_smoothing_uses_only_known_neighbours_and_keeps_gaps():
    # beside the gap a neighbour has no opposite, so the joint stays
    found = smooth(one_joint(0, 8, NAN, 4, 0, 4), 1)
    np.testing.assert_allclose(found, one_joint(0, 8, NAN, 4, 2, 4))


@given(tracks, st.integers(0, 3))
def test_smoothing_neither_adds_nor_loses_joints_nor_leaves_their_range(track, radius):
    found = smooth(track, radius)
    known = np.isfinite(track).all(axis=-1)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=-1), known)
    if known.any():
        assert found[known].min() >= track[known].min() - 1e-3
        assert found[known].max() <= track[known].max() + 1e-3


def test_smoothing_takes_off_jitter():
    noise = np.random.default_rng(0).normal(size=(1, 500, 3, 2)).astype(np.float32)
    # variance of binomial weights 1 2 1 over 4 is 6/16
    assert smooth(noise, 1).var() == pytest.approx(6 / 16, rel=0.1)
