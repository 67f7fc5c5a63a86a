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
