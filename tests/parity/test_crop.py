"""Eq. (1) and (2), written as loops over people, frames and joints."""

import math

import numpy as np
import pytest

from poselens.clips.crop import activity_region


def region_by_loops(joints, frame_size, alpha):
    smallest, largest = [math.inf, math.inf], [-math.inf, -math.inf]
    for person in joints:
        for frame in person:
            for joint in frame:
                if any(math.isnan(value) for value in joint):
                    continue
                for axis in range(2):
                    smallest[axis] = min(smallest[axis], float(joint[axis]))
                    largest[axis] = max(largest[axis], float(joint[axis]))
    box = []
    for axis, limit in ((0, frame_size[1]), (1, frame_size[0])):
        side = largest[axis] - smallest[axis]
        box.append(math.floor(max(smallest[axis] - alpha * side, 0)))
        box.append(math.ceil(min(largest[axis] + alpha * side, limit)))
    return box[0], box[2], box[1], box[3]


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_region_equals_the_loops(alpha, seed):
    draw = np.random.default_rng(seed)
    joints = draw.normal((160, 120), (40, 30), (2, 7, 17, 2))
    joints[draw.random((2, 7, 17)) < 0.2] = np.nan
    region = activity_region(joints, frame_size=(240, 320), margin=alpha)
    box = region.box
    expected = region_by_loops(joints, (240, 320), alpha)
    assert (box.left, box.top, box.right, box.bottom) == expected
    assert region.reason == "skeleton"


def test_worked_example():
    # x from 100 to 200, y from 50 to 90, alpha 0.3: 30 and 12 pixels on each side
    joints = np.float64([(100, 50), (200, 90), (150, 60)])[None, None]
    box = activity_region(joints, frame_size=(240, 320)).box
    assert (box.left, box.top, box.right, box.bottom) == (70, 38, 230, 102)
