"""Three numbers against their formulas written as loops."""

import math

import numpy as np
import pytest

from poselens.pose.estimators import Pose
from poselens.pose.quality import quality_of
from poselens.types import Skeleton


def pose(joints, scores):
    return Pose(Skeleton(joints.astype(np.float32), "coco-17", "pixels"), scores)


def test_confidence_and_coverage_are_of_the_joints_found():
    draw = np.random.default_rng(0)
    joints = draw.uniform(0, 100, (2, 9, 17, 2))
    scores = draw.uniform(0, 1, (2, 9, 17))
    joints[scores < 0.3] = np.nan
    found = quality_of(pose(joints, scores))
    kept = [score for score in scores.ravel() if score >= 0.3]
    assert found.confidence == pytest.approx(sum(kept) / len(kept))
    assert found.coverage == pytest.approx(len(kept) / scores.size)
    assert found.quality == pytest.approx(found.confidence * found.coverage)


def test_jitter_is_the_second_difference_in_percent_of_the_size():
    draw = np.random.default_rng(1)
    joints = draw.uniform(0, 100, (1, 6, 17, 2))
    joints[0, 2, 4] = np.nan
    found = quality_of(pose(joints, np.ones((1, 6, 17))))
    sizes = [math.dist(np.nanmin(frame, axis=0), np.nanmax(frame, axis=0)) for frame in joints[0]]
    shaken = []
    for joint in range(17):
        for t in range(4):
            a, b, c = joints[0, t : t + 3, joint]
            change = math.hypot(*(c - 2 * b + a))
            if not math.isnan(change):
                shaken.append(change)
    expected = 100 * float(np.median(shaken)) / (sum(sizes) / len(sizes))
    assert found.jitter == pytest.approx(expected, rel=1e-5)


def test_uniform_motion_is_calm_and_a_short_clip_says_nothing():
    joints = np.arange(10)[None, :, None, None] * np.array([3.0, 1.0]) + np.arange(17)[:, None]
    assert quality_of(pose(joints, np.ones((1, 10, 17)))).jitter == pytest.approx(0, abs=1e-4)
    assert math.isnan(quality_of(pose(joints[:, :2], np.ones((1, 2, 17)))).jitter)


def test_nothing_found_is_worth_nothing():
    found = quality_of(pose(np.full((1, 4, 17, 2), np.nan), np.zeros((1, 4, 17))))
    assert (found.quality, found.confidence, found.coverage) == (0, 0, 0)
