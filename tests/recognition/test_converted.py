"""Joints of a layout that the bundle does not read, but that give all of its joints."""

import numpy as np
import pytest

from poselens.data.skeleton_file import read_skeleton, write_skeleton
from poselens.errors import SkeletonError, UsageError
from poselens.pose.convert import convert
from poselens.types import Skeleton


@pytest.fixture
def as_openpose(drawn, tmp_path):
    """The joints of the drawn clip as OpenPose orders them."""
    joints = {
        space: Skeleton(
            convert(each.positions, "coco-17", "openpose-18").positions, "openpose-18", space
        )
        for space, each in read_skeleton(drawn.skeleton).items()
    }
    write_skeleton(tmp_path / "openpose.npz", joints)
    return tmp_path / "openpose.npz"


def test_joints_in_another_order_give_the_same_scores_and_a_note(recognizer, drawn, as_openpose):
    found = recognizer.recognize(drawn.video, skeleton=as_openpose)
    assert found.scores == recognizer.recognize(drawn.video, skeleton=drawn.skeleton).scores
    assert found.notes == ("openpose-18 joints were converted to coco-17",)
    assert found.joints.layout == "openpose-18"


def test_without_all_of_the_joints_it_is_refused_with_the_layouts_that_would_do(
    skeleton_only, drawn
):
    with pytest.raises(
        SkeletonError,
        match="it reads coco-17 joints, found kinect-20 without nose, left_eye, right_eye, "
        "left_ear, right_ear; openpose-18 or openpose-25 or halpe-26 or mediapipe-33 would do",
    ) as caught:
        skeleton_only.recognize(skeleton=drawn.bad("kinect.npz"))
    assert caught.value.code == "SKEL-012"


def test_nobody_is_left_where_only_other_joints_are_known(skeleton_only, tmp_path):
    joints = np.full((1, 9, 26, 3), np.nan, np.float32)
    joints[..., 20:, :] = 1
    write_skeleton(tmp_path / "toes.npz", {"metres": Skeleton(joints, "halpe-26", "metres")})
    with pytest.raises(SkeletonError, match="joint left out: nobody was found"):
        skeleton_only.recognize(skeleton=tmp_path / "toes.npz")


def test_a_file_is_read_into_another_layout(drawn, as_openpose):
    plain = read_skeleton(drawn.skeleton)
    back = read_skeleton(as_openpose, to_layout="coco-17")
    for space in ("pixels", "metres"):
        assert back[space].layout == "coco-17"
        np.testing.assert_array_equal(back[space].positions, plain[space].positions)
    lacking = read_skeleton(drawn.bad("kinect.npz"), to_layout="coco-17")["metres"]
    assert np.isnan(lacking.positions[..., :5, :]).all()
    with pytest.raises(UsageError, match="gives 12 of the 33 joints of mediapipe-33") as caught:
        read_skeleton(drawn.bad("kinect.npz"), to_layout="mediapipe-33")
    assert caught.value.code == "CFG-045"
