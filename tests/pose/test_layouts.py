"""Layouts are trees with a mirror that is its own inverse."""

import pytest

from poselens.errors import SkeletonError, UsageError
from poselens.pose.layouts import LAYOUTS, get_layout, require_joint_count


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_joint_leads_to_the_centre(layout):
    for joint in range(len(layout)):
        steps = 0
        while joint != layout.centre:
            joint = layout.parents[joint]
            steps += 1
            assert steps < len(layout)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_mirror_is_an_involution_that_swaps_sides_and_keeps_bones(layout):
    mirror = layout.mirror
    assert [mirror[mirror[joint]] for joint in range(len(layout))] == list(range(len(layout)))
    bones = {frozenset(edge) for edge in layout.edges}
    assert {frozenset((mirror[a], mirror[b])) for a, b in layout.edges} == bones
    for joint, name in enumerate(layout.joints):
        if name.startswith("left"):
            assert layout.joints[mirror[joint]] == "right" + name[4:]


def test_joint_counts_match_their_names():
    assert all(len(layout) == int(name.split("-")[1]) for name, layout in LAYOUTS.items())


def test_unknown_layout_is_refused_with_the_nearest_name():
    with pytest.raises(
        UsageError, match=r"unknown joint layout 'coco17'; did you mean 'coco-17'\?"
    ):
        get_layout("coco17")


def test_wrong_joint_count_names_the_layouts_that_fit():
    with pytest.raises(
        SkeletonError, match=r"found 20 joints, expected 17 \(coco-17\).*kinect-20 or ucla-20"
    ):
        require_joint_count(20, get_layout("coco-17"))


def leads_to(layout):
    """Return {joint: parent} by index, the centre left out."""
    return dict(layout.edges)


def test_coco_edges_are_those_of_the_corrected_graph():
    """PYSKL's inward edges of 2D skeletons, as FineGym and NTU key points use them; centre 0."""
    published = {15: 13, 13: 11, 16: 14, 14: 12, 11: 5, 12: 6, 9: 7, 7: 5, 10: 8, 8: 6, 5: 0, 6: 0,
                 1: 0, 3: 1, 2: 0, 4: 2}  # fmt: skip
    coco = get_layout("coco-17")
    assert leads_to(coco) == published
    assert coco.centre == 0
    assert coco.joints == (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    )  # fmt: skip


def test_kinect_v2_edges_are_the_published_ones_but_for_the_hand_tips():
    """CTR-GCN's pairs count from 1; it hangs a hand's tip from the thumb, and we from the hand."""
    published = {1: 2, 2: 21, 3: 21, 4: 3, 5: 21, 6: 5, 7: 6, 8: 7, 9: 21, 10: 9, 11: 10, 12: 11,
                 13: 1, 14: 13, 15: 14, 16: 15, 17: 1, 18: 17, 19: 18, 20: 19, 22: 23, 23: 8,
                 24: 25, 25: 12}  # fmt: skip
    ntu = get_layout("ntu-25")
    ours = {joint + 1: parent + 1 for joint, parent in ntu.edges}
    assert ntu.centre + 1 == 21
    assert ours | {22: 23, 24: 25} == published
    assert (ours[22], ours[24]) == (8, 12)
    assert [ntu.joints[number - 1] for number in (8, 22, 23)] == [
        "left_hand", "left_hand_tip", "left_thumb",
    ]  # fmt: skip


def test_kinect_v1_edges_are_the_published_ones_but_for_the_centre():
    """CTR-GCN leads every joint of NW-UCLA to the shoulders' centre, and we to the spine."""
    published = {1: 2, 2: 3, 4: 3, 5: 3, 6: 5, 7: 6, 8: 7, 9: 3, 10: 9, 11: 10, 12: 11, 13: 1,
                 14: 13, 15: 14, 16: 15, 17: 1, 18: 17, 19: 18, 20: 19}  # fmt: skip
    ucla = get_layout("ucla-20")
    ours = {joint + 1: parent + 1 for joint, parent in ucla.edges}
    assert ucla.centre + 1 == 2
    assert {key: value for key, value in ours.items() if key != 3} == {
        key: value for key, value in published.items() if key != 2
    }
    assert (ours[3], published[2]) == (2, 3)


def indices(layout, *names):
    return [layout.index(name) for name in names]


def test_openpose_orders_and_bones_are_the_published_ones():
    """POSE_BODY_PART_PAIRS without the pairs from shoulder to ear, which close circles."""
    body_18 = {(1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11),
               (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)}  # fmt: skip
    body_25 = {(1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11),
               (8, 12), (12, 13), (13, 14), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19),
               (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)}  # fmt: skip
    for name, published in (("openpose-18", body_18), ("openpose-25", body_25)):
        layout = get_layout(name)
        assert {(parent, joint) for joint, parent in layout.edges} == published
        assert indices(layout, "nose", "neck", "right_shoulder", "left_wrist") == [0, 1, 2, 7]
    coco, body = get_layout("openpose-18"), get_layout("openpose-25")
    assert indices(coco, "right_hip", "left_ankle", "right_eye", "left_ear") == [8, 13, 14, 17]
    assert indices(body, "mid_hip", "left_hip", "left_big_toe", "right_heel") == [8, 12, 19, 24]


def test_halpe_order_and_bones_are_the_published_ones_but_for_the_face():
    """MMPose's halpe26.py; the nose hangs from the neck, ears and shoulders are not joined."""
    halpe, coco = get_layout("halpe-26"), get_layout("coco-17")
    assert halpe.joints[:17] == coco.joints
    assert halpe.joints[17:] == (
        "head", "neck", "hip", "left_big_toe", "right_big_toe", "left_small_toe",
        "right_small_toe", "left_heel", "right_heel",
    )  # fmt: skip
    published = {(15, 13), (13, 11), (11, 19), (16, 14), (14, 12), (12, 19), (17, 18), (18, 19),
                 (18, 5), (5, 7), (7, 9), (18, 6), (6, 8), (8, 10), (0, 1), (0, 2), (1, 3), (2, 4),
                 (15, 20), (15, 22), (15, 24), (16, 21), (16, 23), (16, 25)}  # fmt: skip
    ours = {frozenset(bone) for bone in halpe.edges}
    assert ours == {frozenset(bone) for bone in published} | {frozenset((0, 18))}


def test_mediapipe_order_is_the_published_one_and_its_bones_join_face_and_body():
    """PoseLandmark and POSE_CONNECTIONS, without those that close circles."""
    pose = get_layout("mediapipe-33")
    assert indices(pose, "nose", "left_eye", "right_eye", "left_ear", "left_mouth") == [
        0,
        2,
        5,
        7,
        9,
    ]
    assert indices(pose, "left_shoulder", "left_pinky", "left_index", "left_thumb") == [
        11,
        17,
        19,
        21,
    ]
    assert indices(pose, "left_hip", "left_heel", "right_foot_index") == [23, 29, 32]
    published = {(0, 4), (4, 5), (5, 6), (6, 8), (0, 1), (1, 2), (2, 3), (3, 7), (10, 9), (12, 11),
                 (12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20), (11, 13), (13, 15),
                 (15, 17), (15, 19), (15, 21), (17, 19), (12, 24), (11, 23), (24, 23), (24, 26),
                 (23, 25), (26, 28), (25, 27), (28, 30), (27, 29), (30, 32), (29, 31), (28, 32),
                 (27, 31)}  # fmt: skip
    bones = {frozenset(bone) for bone in pose.edges}
    joined = {frozenset((0, joint)) for joint in (9, 10, 11, 12)}
    assert bones - {frozenset(bone) for bone in published} == joined


def test_human36m_tree_is_the_published_one():
    """VideoPose3D's 17 joints: right leg first, and the left arm before the right one."""
    h36m = get_layout("h36m-17")
    published = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
    assert list(h36m.parents[1:]) == published[1:]
    assert h36m.centre == 0
    assert [joint for joint, side in enumerate(h36m.sides) if side == "left"] == [
        4,
        5,
        6,
        11,
        12,
        13,
    ]
    assert [joint for joint, side in enumerate(h36m.sides) if side == "right"] == [
        1, 2, 3, 14, 15, 16,
    ]  # fmt: skip
