"""Streams, against loops."""

import pytest
import torch

from poselens.errors import UsageError
from poselens.pose.layouts import get_layout
from poselens.skeleton.streams import STREAMS, pairs_by_name, stream

LAYOUT = get_layout("coco-17")


def looped_bone(joints, pairs):
    values = torch.zeros_like(joints)
    for joint, reference in pairs:
        for n in range(joints.shape[0]):
            for t in range(joints.shape[2]):
                for m in range(joints.shape[4]):
                    here, there = joints[n, :, t, joint, m], joints[n, :, t, reference, m]
                    values[n, :, t, joint, m] = here - there
    return values


def looped_motion(values):
    moved = torch.zeros_like(values)
    for t in range(values.shape[2] - 1):
        moved[:, :, t] = values[:, :, t + 1] - values[:, :, t]
    return moved


def test_the_four_streams_are_joints_bones_and_their_motion():
    joints = torch.randn(2, 3, 4, 17, 2)
    bones = looped_bone(joints, list(enumerate(LAYOUT.parents)))
    expected = (joints, bones, looped_motion(joints), looped_motion(bones))
    for name, values in zip(STREAMS, expected, strict=True):
        torch.testing.assert_close(stream(joints, name, LAYOUT), values)


def test_a_stream_of_ones_own_and_its_motion():
    joints = torch.randn(1, 2, 5, 17, 1)
    pairs = pairs_by_name(LAYOUT, [("left_wrist", "nose"), ("right_wrist", "left_wrist")])
    custom = {"reach": pairs}
    values = looped_bone(joints, [(9, 0), (10, 9)])
    torch.testing.assert_close(stream(joints, "reach", LAYOUT, custom=custom), values)
    moved = stream(joints, "reach-motion", LAYOUT, custom=custom)
    torch.testing.assert_close(moved, looped_motion(values))
    assert not stream(joints, "none", LAYOUT, custom={"none": []}).any()


def test_a_bone_with_a_missing_end_is_missing():
    joints = torch.zeros(1, 2, 3, 17, 1)
    joints[:, :, 1, 5] = torch.nan
    bones = stream(joints, "bone", LAYOUT)
    missing = bones.isnan().any(dim=1).nonzero()[:, 1:3].tolist()
    # the left shoulder's own bone, and those of elbow and hip that start there
    assert missing == [[1, 5], [1, 7], [1, 11]]
    assert stream(joints, "joint-motion", LAYOUT)[0, 0, :, 5, 0].isnan().tolist() == [
        True,
        True,
        False,
    ]


def test_streams_leave_their_input_alone():
    joints = torch.randn(1, 3, 4, 17, 1)
    before = joints.clone()
    for name in STREAMS:
        stream(joints, name, LAYOUT)
    torch.testing.assert_close(joints, before)


def test_unknown_names_get_the_nearest():
    joints = torch.zeros(1, 2, 3, 17, 1)
    with pytest.raises(UsageError, match="did you mean 'bone-motion'") as fault:
        stream(joints, "bone-moton", LAYOUT)
    assert fault.value.code == "CFG-021"
    with pytest.raises(UsageError, match="did you mean 'left_wrist'") as fault:
        pairs_by_name(LAYOUT, [("left_wirst", "nose")])
    assert fault.value.code == "CFG-022"
