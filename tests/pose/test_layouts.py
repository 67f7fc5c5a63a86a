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
