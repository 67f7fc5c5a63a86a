import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.pose.layouts import get_layout
from poselens.synth.actions import idle
from poselens.synth.body import subject
from poselens.synth.figure import INDEX, bend, coco_joints, pose, turn_about_vertical

place = st.tuples(*[st.floats(-2.0, 2.0)] * 3)


@settings(deadline=None, max_examples=50)
@given(target=place, first=st.floats(0.1, 0.6), second=st.floats(0.1, 0.6))
def test_a_bent_limb_keeps_its_bones_and_points_at_its_target(
    target: tuple[float, float, float], first: float, second: float
) -> None:
    root = np.array([[0.1, 1.4, 0.0]])
    pole = np.array([[0.7, -0.6, -0.5]])
    middle, end = bend(root, np.array([target]), pole, first, second)
    assert np.linalg.norm(end - middle) == pytest.approx(second, rel=1e-6)
    assert np.linalg.norm(middle - root) == pytest.approx(first, rel=1e-6)
    span = np.linalg.norm(np.array(target) - root)
    if abs(first - second) + 1e-3 < span < 0.999 * (first + second):
        np.testing.assert_allclose(end[0], target, atol=1e-9)


def test_every_limb_of_a_pose_has_the_length_of_the_body() -> None:
    who = subject(0, 3)
    figure = pose(who.body, idle(12, who, np.random.default_rng(1)))
    for first, second, length in (
        ("left_shoulder", "left_elbow", who.body.upper_arm),
        ("right_elbow", "right_wrist", who.body.forearm),
        ("left_hip", "left_knee", who.body.thigh),
        ("right_knee", "right_ankle", who.body.shin),
        ("pelvis", "neck", who.body.torso),
    ):
        found = np.linalg.norm(figure.at(first) - figure.at(second), axis=-1)
        np.testing.assert_allclose(found, length, rtol=1e-6)


def test_coco_joints_are_in_the_order_of_the_layout_and_left_is_left() -> None:
    who = subject(0, 1)
    figure = pose(who.body, idle(4, who, np.random.default_rng(0)))
    joints = coco_joints(figure, who.body)
    layout = get_layout("coco-17")
    assert joints.shape == (4, len(layout), 3)
    for name in ("elbow", "knee", "wrist", "ankle", "shoulder", "hip"):
        for side in ("left", "right"):
            np.testing.assert_array_equal(
                joints[:, layout.index(f"{side}_{name}")], figure.at(f"{side}_{name}")
            )
    for name in ("eye", "ear", "shoulder", "hip"):
        left = joints[:, layout.index(f"left_{name}"), 0]
        assert (left > joints[:, layout.index(f"right_{name}"), 0]).all()
    assert (joints[:, layout.index("nose"), 2] > figure.at("head")[:, 2]).all()


def test_a_positive_turn_brings_the_front_to_the_left() -> None:
    front = np.array([[[0.0, 0.0, 1.0]]])
    turned = turn_about_vertical(front, np.array([np.pi / 2]))
    np.testing.assert_allclose(turned[0, 0], [1.0, 0.0, 0.0], atol=1e-12)
    assert INDEX["pelvis"] == 0
