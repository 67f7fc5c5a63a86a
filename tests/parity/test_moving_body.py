"""The moving body's share of an attribution: the equations as loops over pixels and joints."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.explain.moving import (
    joint_speeds,
    moving_body_share,
    moving_joint_share,
    moving_joints,
)


def speeds_by_loops(joints: np.ndarray) -> np.ndarray:
    people, frames, count = joints.shape[:3]
    found = np.full((people, frames, count), np.nan)
    for m, t, v in np.ndindex(people, frames, count):
        if not np.isfinite(joints[m, t, v]).all():
            continue
        near = [s for s in (t - 1, t + 1) if 0 <= s < frames and np.isfinite(joints[m, s, v]).all()]
        if len(near) == 2:
            found[m, t, v] = math.dist(joints[m, t + 1, v], joints[m, t - 1, v]) / 2
        elif near:
            found[m, t, v] = math.dist(joints[m, t, v], joints[m, near[0], v])
    return found


def moving_by_loops(joints: np.ndarray, q: float) -> set[tuple[int, ...]]:
    speed = speeds_by_loops(joints)
    places = list(np.ndindex(*speed.shape))
    known = sorted((speed[place] for place in places if np.isfinite(speed[place])), reverse=True)
    slowest = known[max(math.ceil(q * len(known) - 1e-9), 1) - 1]
    return {place for place in places if speed[place] >= slowest and speed[place] > 0}


def share_by_loops(attribution, joints, *, radius, q, bones):
    chosen = moving_by_loops(joints, q)
    frames, height, width = attribution.shape
    inside = area = 0.0
    for t, row, column in np.ndindex(frames, height, width):
        p = np.array([column + 0.5, row + 0.5])
        on = False
        for m in range(joints.shape[0]):
            for v in range(joints.shape[2]):
                on |= (m, t, v) in chosen and math.dist(p, joints[m, t, v]) <= radius
            for a, b in bones:
                if (m, t, a) in chosen and (m, t, b) in chosen:
                    start, end = joints[m, t, a], joints[m, t, b]
                    along = end - start
                    part = min(max((p - start) @ along / (along @ along), 0), 1)
                    on |= math.dist(p, start + part * along) <= radius
        if on:
            inside += attribution[t, row, column]
            area += 1
    return inside / attribution.sum(), area / attribution.size


def _case(seed: int):
    draw = np.random.default_rng(seed)
    joints = draw.uniform(-2, 14, (2, 4, 3, 2))
    joints[draw.random((2, 4, 3)) < 0.2] = np.nan
    return draw.random((4, 9, 11)), joints


@pytest.mark.parametrize("q", [0.1, 0.25, 0.6, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_share_and_chance_are_the_sums_over_pixels(seed: int, q: float):
    attribution, joints = _case(seed)
    bones = ((1, 0), (2, 1))
    found = moving_body_share(attribution, joints, radius=2.3, moving=q, bones=bones)
    share, chance = share_by_loops(attribution, joints, radius=2.3, q=q, bones=bones)
    assert found.share == pytest.approx(share, abs=1e-12)
    assert found.chance == pytest.approx(chance, abs=1e-12)
    assert chance == 0 or found.ratio == pytest.approx(share / chance)


@given(st.integers(0, 10**6), st.floats(0.05, 1.0))
@settings(max_examples=40)
def test_speeds_and_choice_are_the_loops(seed: int, q: float):
    joints = _case(seed)[1]
    np.testing.assert_allclose(joint_speeds(joints), speeds_by_loops(joints), atol=1e-12)
    chosen = moving_joints(joint_speeds(joints), moving=q)
    assert set(map(tuple, np.argwhere(chosen).tolist())) == moving_by_loops(joints, q)


@pytest.mark.parametrize("seed", [0, 1])
def test_share_of_joints_is_the_sum_over_entries(seed: int):
    draw = np.random.default_rng(seed)
    joints = _case(seed)[1]
    attribution = draw.normal(size=joints.shape[:3])
    found = moving_joint_share(attribution, joints, moving=0.3)
    chosen = moving_by_loops(joints, 0.3)
    known = [p for p in np.ndindex(*attribution.shape) if np.isfinite(joints[p]).all()]
    total = sum(max(attribution[p], 0) for p in known)
    assert found.share == pytest.approx(sum(max(attribution[p], 0) for p in chosen) / total)
    assert found.chance == pytest.approx(len(chosen) / len(known))
