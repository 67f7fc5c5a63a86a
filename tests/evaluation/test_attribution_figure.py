import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from poselens.errors import SkeletonError, UsageError
from poselens.evaluation.attribution_figure import attribution_figure, limbs_of
from poselens.evaluation.figures import standalone
from poselens.evaluation.share_figure import ShareBar, share_figure
from poselens.pose.layouts import LAYOUTS, Layout, get_layout

LAYOUT = get_layout("kinect-20")
POSE = np.random.default_rng(0).uniform(0, 100, (20, 2))


def _attribution():
    draw = np.random.default_rng(1)
    return draw.normal(size=(16, 20))


def test_every_joint_of_every_layout_is_in_one_limb_from_the_body_outwards():
    for layout in LAYOUTS.values():
        limbs = limbs_of(layout)
        joints = [joint for _, members in limbs for joint in members]
        assert sorted(joints) == list(range(len(layout)))
        assert [name for name, _ in limbs][:5] == [
            "head and trunk", "left arm", "right arm", "left leg", "right leg",
        ]  # fmt: skip
    arm = dict(limbs_of(LAYOUT))["right arm"]
    assert [LAYOUT.joints[joint] for joint in arm] == [
        "right_shoulder", "right_elbow", "right_wrist", "right_hand",
    ]  # fmt: skip
    face = dict(limbs_of(get_layout("coco-17")))["left side"]
    assert len(face) == 2
    mouse = Layout("mouse", ("snout", "left_paw", "right_paw", "tail"), (0, 0, 0, 0))
    assert [name for name, _ in limbs_of(mouse)] == ["head and trunk", "left side", "right side"]


def test_a_figure_is_one_svg_that_names_every_joint_in_the_pages_colours():
    drawn = attribution_figure(
        _attribution(), LAYOUT, times=np.linspace(3, 40, 16), pose=POSE, title="a < b", key="k"
    )
    root = ElementTree.fromstring(drawn)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {joint.replace("_", " ") for joint in LAYOUT.joints} <= set(texts)
    assert {"a < b", "frame", "nothing", "most in the clip", "all joints"} <= set(texts)
    assert "var(--accent)" in drawn
    assert "#0102" not in drawn
    again = attribution_figure(
        _attribution(), LAYOUT, times=np.linspace(3, 40, 16), pose=POSE, title="a < b", key="k"
    )
    assert drawn == again
    assert "var(--" not in standalone(drawn)


def test_shades_follow_the_largest_value_and_what_is_negative_is_not_drawn():
    def shapes(attribution):
        drawn = attribution_figure(attribution, LAYOUT, times=np.arange(16.0), pose=POSE)
        return len(re.findall(r"opacity: (?:1|0\.\d)\b", drawn)), len(drawn)

    single = np.zeros((16, 20))
    single[5, 3] = 1.0
    opposed = single - 4.0 * (single == 0)
    assert shapes(single) == shapes(opposed) == shapes(30 * single)
    assert shapes(np.abs(_attribution()))[1] > shapes(single)[1]


def test_missing_joints_one_moment_and_nothing_at_all_can_be_drawn():
    pose = POSE.copy()
    pose[4:] = np.nan
    for attribution, times, where in (
        (np.zeros((16, 20)), np.arange(16.0), pose),
        (_attribution()[:1], np.zeros(1), pose),
        (_attribution(), np.arange(16.0), np.full((20, 2), np.nan)),
    ):
        drawn = attribution_figure(attribution, LAYOUT, times=times, pose=where)
        ElementTree.fromstring(drawn)
        assert "nan" not in re.sub(r"<style.*?</style>", "", drawn)


def test_figures_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="15 times and a pose of 20 joints") as caught:
        attribution_figure(_attribution(), LAYOUT, times=np.arange(15.0), pose=POSE)
    assert caught.value.code == "EXP-037"
    with pytest.raises(UsageError, match="a pose of 3 joints"):
        attribution_figure(_attribution(), LAYOUT, times=np.arange(16.0), pose=POSE[:3])
    with pytest.raises(UsageError, match="0 times"):
        attribution_figure(np.zeros((0, 20)), LAYOUT, times=np.zeros(0), pose=POSE)
    with pytest.raises(SkeletonError, match="found 19 joints"):
        attribution_figure(_attribution()[:, 1:], LAYOUT, times=np.arange(16.0), pose=POSE)


def test_bars_of_shares_name_every_run():
    bars = [
        ShareBar("baseline", 0.4, 0.35, 0.46, 0.2), ShareBar("STAA & more", 0.98, 0.97, 1.0, 0.25)
    ]  # fmt: skip
    drawn = share_figure(bars, label="on the moving body")
    root = ElementTree.fromstring(drawn)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"baseline", "STAA & more", "on the moving body, %"} <= set(texts)
    assert drawn == share_figure(bars, label="on the moving body")
