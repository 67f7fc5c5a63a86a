"""Conversions keep what layouts share, whichever way a body is turned, moved or mirrored."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from poselens.errors import SkeletonError, UsageError
from poselens.pose import layouts
from poselens.pose.convert import complete_sources, conversion, convert, convertible
from poselens.pose.declared import layout_from
from poselens.pose.layouts import LAYOUTS, declare_layout, get_layout

PAIRS = list(permutations(LAYOUTS, 2))
NUMBERS = st.floats(-1e4, 1e4, width=32) | st.just(float("nan"))


def bodies(name, values=NUMBERS):
    """Two frames of one person; a joint is known, or NaN in every coordinate."""
    known = arrays(np.float32, (1, 2, len(get_layout(name)), 3), elements=values)
    return known.map(
        lambda joints: np.where(np.isnan(joints).any(-1, keepdims=True), np.nan, joints)
    )


def mirrored(joints, name):
    flipped = joints[..., list(get_layout(name).mirror), :].copy()
    flipped[..., 0] *= -1
    return flipped


@given(st.data(), st.sampled_from(PAIRS))
def test_to_convert_and_to_mirror_may_change_places(data, pair):
    source, target = pair
    joints = data.draw(bodies(source))
    first = mirrored(convert(joints, *pair, least=0).positions, target)
    second = convert(mirrored(joints, source), *pair, least=0).positions
    np.testing.assert_array_equal(first, second)


@given(st.data(), st.sampled_from(PAIRS))
def test_there_and_back_shared_joints_are_what_they_were(data, pair):
    source, target = pair
    joints = data.draw(bodies(source))
    back = convert(convert(joints, source, target, least=0).positions, target, source, least=0)
    there = [origin[0] for origin in conversion(source, target).origins if len(origin) == 1]
    assert len(set(there)) == len(there)
    np.testing.assert_array_equal(back.positions[..., there, :], joints[..., there, :])


@given(
    st.data(),
    st.sampled_from(PAIRS),
    st.floats(0.125, 8, width=32),
    arrays(np.float64, 3, elements=st.floats(-100, 100)),
)
def test_moving_and_scaling_go_through(data, pair, scale, shift):
    joints = data.draw(bodies(pair[0], st.floats(-100, 100, width=32))).astype(np.float64)
    moved = convert(joints * scale + shift, *pair, least=0)
    expected = convert(joints, *pair, least=0).positions * scale + shift
    np.testing.assert_allclose(moved.positions, expected, atol=1e-9)


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_what_is_missing_is_named_and_nan_and_nothing_else_is(pair):
    source, target = map(get_layout, pair)
    joints = np.arange(2 * len(source) * 3, dtype=np.float32).reshape(2, len(source), 3)
    found = convert(joints, *pair, least=0)
    lost = np.isnan(found.positions).all(axis=(0, 2))
    assert [target.joints[joint] for joint in np.flatnonzero(lost)] == list(found.missing)
    assert np.isfinite(found.positions[:, ~lost]).all()
    assert found.positions.dtype == np.float32


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_a_side_stays_on_its_side(pair):
    source, target = map(get_layout, pair)
    for side, origin in zip(target.sides, conversion(*pair).origins, strict=True):
        assert [source.sides[joint] for joint in origin] in ([], [side], ["left", "right"])
        assert len(origin) < 2 or side == "middle"


def test_mediapipe_becomes_coco_by_the_published_indices():
    wanted = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
    assert conversion("mediapipe-33", "coco-17").origins == tuple((joint,) for joint in wanted)


def test_openpose_becomes_coco_by_the_published_indices():
    """As MMPose and ST-GCN's tools reorder it: nose, eyes, ears, shoulders, ... ankles."""
    wanted = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
    assert conversion("openpose-18", "coco-17").origins == tuple((joint,) for joint in wanted)
    wanted = [0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11]
    assert conversion("openpose-25", "coco-17").origins == tuple((joint,) for joint in wanted)


def test_halpe_begins_with_coco():
    assert conversion("halpe-26", "coco-17").origins == tuple((joint,) for joint in range(17))


def test_a_neck_is_the_middle_of_the_shoulders_where_its_layout_says_so():
    coco, openpose = get_layout("coco-17"), get_layout("openpose-18")
    joints = np.random.default_rng(0).random((4, 17, 2), dtype=np.float32)
    found = convert(joints, "coco-17", "openpose-18")
    shoulders = joints[:, [coco.index("left_shoulder"), coco.index("right_shoulder")]]
    np.testing.assert_allclose(found.positions[:, openpose.index("neck")], shoulders.mean(axis=1))
    assert found.missing == ()
    assert "shoulder_centre" in convert(joints, "coco-17", "kinect-20").missing


def test_a_middle_of_one_known_end_is_missing():
    joints = np.ones((17, 2), np.float32)
    joints[get_layout("coco-17").index("left_shoulder")] = np.nan
    found = convert(joints, "coco-17", "openpose-18").positions
    assert np.isnan(found[get_layout("openpose-18").index("neck")]).all()


FULL = {
    "coco-17": {"openpose-18"},
    "kinect-20": {"ucla-20"},
    "ucla-20": {"kinect-20"},
    "bandai-22": set(),
    "ntu-25": {"kinect-20", "ucla-20"},
    "openpose-18": {"coco-17"},
    "openpose-25": {"coco-17", "openpose-18"},
    "halpe-26": {"coco-17", "openpose-18", "openpose-25"},
    "mediapipe-33": {"coco-17", "openpose-18"},
    "h36m-17": set(),
}


def test_which_layouts_become_which_in_full():
    assert FULL.keys() == LAYOUTS.keys()
    for name, targets in FULL.items():
        found = convertible(name)
        assert {other for other, missing in found.items() if not missing} == targets
        assert [len(missing) for missing in found.values()] == sorted(map(len, found.values()))
    assert complete_sources("coco-17") == ("openpose-18", "openpose-25", "halpe-26", "mediapipe-33")


def test_the_kinects_differ_in_order_alone():
    there = conversion("kinect-20", "ucla-20").origins
    assert sorted(there) == [(joint,) for joint in range(20)]
    assert there[:4] == ((3,), (2,), (1,), (0,))


def test_places_of_one_name_and_names_of_one_place():
    def origin(source, target, joint):
        (found,) = conversion(source, target).origins[get_layout(target).index(joint)]
        return get_layout(source).joints[found]

    assert origin("ntu-25", "ucla-20", "shoulder_centre") == "spine_shoulder"
    assert origin("ntu-25", "openpose-25", "neck") == "spine_shoulder"
    assert origin("h36m-17", "coco-17", "left_ankle") == "left_foot"
    assert origin("bandai-22", "coco-17", "left_shoulder") == "left_upper_arm"
    assert origin("halpe-26", "h36m-17", "head") == "head"
    assert "head" in conversion("kinect-20", "h36m-17").missing
    assert "left_thumb" in conversion("ntu-25", "mediapipe-33").missing


def test_too_few_joints_are_refused_with_what_the_source_becomes():
    joints = np.zeros((5, 20, 3), np.float32)
    with pytest.raises(
        UsageError, match=r"kinect-20 gives 12 of the 33 joints of mediapipe-33, at least 50 %"
    ) as caught:
        convert(joints, "kinect-20", "mediapipe-33")
    assert caught.value.code == "CFG-045"
    assert caught.value.mend == "kinect-20 becomes ucla-20 in full"
    assert len(convert(joints, "kinect-20", "mediapipe-33", least=0.3).missing) == 21
    with pytest.raises(UsageError, match="becomes no other layout in full"):
        convert(np.zeros((5, 22, 3), np.float32), "bandai-22", "mediapipe-33")
    with pytest.raises(SkeletonError, match="found 20 joints, expected 17"):
        convert(joints, "coco-17", "openpose-18")
    with pytest.raises(UsageError, match="unknown joint layout 'coco'"):
        convert(joints, "kinect-20", "coco")


def test_layouts_of_ones_own_share_what_is_called_alike(monkeypatch):
    monkeypatch.setattr(layouts, "_declared", {})
    dog = {
        "joints": ["withers", "nose", "left_paw", "right_paw"],
        "parents": {"nose": "withers", "left_paw": "withers", "right_paw": "withers"},
    }
    cat = dog | {"joints": ["nose", "right_paw", "left_paw", "withers"]}
    trunk = {
        "joints": ["hip_centre", "left_foot", "right_foot", "left_ankle", "right_ankle"],
        "parents": {
            "left_ankle": "hip_centre", "right_ankle": "hip_centre",
            "left_foot": "left_ankle", "right_foot": "right_ankle",
        },
    }  # fmt: skip
    for name, content in (("dog", dog), ("cat", cat), ("trunk", trunk)):
        declare_layout(layout_from(name, content))
    assert conversion("dog", "cat").origins == ((1,), (3,), (2,), (0,))
    assert convertible("dog") == {"cat": ()}
    assert conversion("trunk", "kinect-20").missing[:2] == ("head", "shoulder_centre")
    assert conversion("kinect-20", "trunk").missing == ()
    # a foot of Human3.6M is an ankle, so nothing of it is left for the foot
    assert conversion("h36m-17", "trunk").missing == ("hip_centre", "left_foot", "right_foot")
    assert complete_sources("cat") == ("dog",)
