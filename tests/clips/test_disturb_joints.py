import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.clips.disturb_joints import (
    BODY_TO_TORSO,
    drop_frames,
    drop_joints,
    drop_limbs,
    hold_frames,
    limbs,
    shake,
    torso_lengths,
)
from poselens.pose.layouts import LAYOUTS, Layout, get_layout

COCO = get_layout("coco-17")
SHARES = st.floats(0, 1)


def body(people=2, frames=20, joints=17, dimensions=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(people, frames, joints, dimensions)).astype(np.float32)


def rng():
    return np.random.default_rng(5)


def lost(positions):
    return np.isnan(positions).all(axis=-1)


def test_joints_are_lost_where_a_loop_says():
    given_joints, draw = body(), rng()
    expected = given_joints.copy()
    for person in range(2):
        for frame in range(20):
            for joint in range(17):
                if draw.random() < 0.3:
                    expected[person, frame, joint] = np.nan
    np.testing.assert_array_equal(drop_joints(given_joints, 0.3, rng()), expected)


def test_frames_are_lost_whole_where_a_loop_says():
    given_joints, draw = body(), rng()
    expected = given_joints.copy()
    for person in range(2):
        for frame in range(20):
            if draw.random() < 0.4:
                expected[person, frame] = np.nan
    np.testing.assert_array_equal(drop_frames(given_joints, 0.4, rng()), expected)


def test_each_limb_is_lost_for_one_stretch_of_the_clip():
    found = lost(drop_limbs(body(frames=50), 0.3, COCO, rng()))
    parts = limbs(COCO)
    starts = set()
    for person in range(2):
        for joints in parts:
            gaps = found[person][:, list(joints)]
            assert (gaps == gaps[:, :1]).all()
            frames = np.flatnonzero(gaps[:, 0])
            assert len(frames) == 15
            assert frames[-1] - frames[0] == 14
            starts.add((person, int(frames[0])))
    assert len(starts) > 4
    trunk = [joint for joint in range(17) if not any(joint in joints for joints in parts)]
    assert not found[:, :, trunk].any()


@given(mild=SHARES, hard=SHARES, frames=st.integers(1, 40))
def test_what_is_lost_at_a_mild_share_is_lost_at_a_harder_one(mild, hard, frames):
    mild, hard = sorted((mild, hard))
    joints = body(frames=frames)
    for drop in (drop_joints, drop_frames, lambda *a: drop_limbs(*a[:2], COCO, a[2])):
        early, late = lost(drop(joints, mild, rng())), lost(drop(joints, hard, rng()))
        assert not (early & ~late).any()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_as_many_are_lost_as_was_asked_for(share):
    joints = body(frames=400)
    assert lost(drop_joints(joints, share, rng())).mean() == pytest.approx(share, abs=0.02)
    assert lost(drop_frames(joints, share, rng())).mean() == pytest.approx(share, abs=0.06)


def test_nothing_and_everything():
    joints = body()
    joints[0, 3, 4] = np.nan
    for drop in (drop_joints, drop_frames):
        np.testing.assert_array_equal(drop(joints, 0.0, rng()), joints)
        assert lost(drop(joints, 1.0, rng())).all()
    np.testing.assert_array_equal(drop_limbs(joints, 0.0, COCO, rng()), joints)
    np.testing.assert_array_equal(shake(joints, 0.0, rng()), joints)


def test_the_given_joints_are_left_alone():
    joints = body()
    before = joints.copy()
    drop_joints(joints, 0.5, rng())
    shake(joints, 0.5, rng())
    np.testing.assert_array_equal(joints, before)


def test_noise_is_that_of_a_loop_and_grows_in_proportion():
    joints = body(dimensions=2)
    noise = rng().standard_normal((2, 20, 17, 3))
    found = shake(joints, np.array([0.1, 0.4]), rng())
    for person, deviation in enumerate((0.1, 0.4)):
        for axis in range(2):
            expected = joints[person, :, :, axis] + deviation * noise[person, :, :, axis]
            np.testing.assert_allclose(found[person, :, :, axis], expected, atol=1e-6)
    assert found.dtype == np.float32


def test_x_and_y_are_shaken_alike_in_the_plane_and_in_space():
    flat, deep = np.zeros((1, 4, 17, 2), np.float32), np.zeros((1, 4, 17, 3), np.float32)
    np.testing.assert_array_equal(shake(flat, 1.0, rng()), shake(deep, 1.0, rng())[..., :2])


def test_a_missing_joint_stays_missing_under_noise():
    joints = body()
    joints[1, 2, 3] = np.nan
    found = shake(joints, 0.1, rng())
    assert lost(found).sum() == 1
    assert np.isfinite(found).sum() == joints.size - 3


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_has_four_limbs_and_a_torso(name):
    layout = LAYOUTS[name]
    found = limbs(layout)
    assert len(found) == 4
    members = [joint for joints in found for joint in joints]
    assert len(members) == len(set(members))
    for joints in found:
        sides = {layout.sides[joint] for joint in joints}
        assert len(sides) == 1
        assert sides < {"left", "right"}
    upper = [place for place, joint in enumerate(layout.joints) if "shoulder" in joint]
    lower = [place for place, joint in enumerate(layout.joints) if "hip" in joint]
    positions = np.zeros((1, 3, len(layout), 2), np.float32)
    positions[:, :, upper, 1] = 7.0
    positions[:, :, lower, 1] = 2.0
    assert torso_lengths(positions, layout) == pytest.approx([5.0])


def test_a_layout_without_names_has_its_branches_and_a_share_of_its_extent():
    fish = Layout("fish", ("middle", "fin", "tip", "tail"), (0, 0, 1, 0))
    assert limbs(fish) == [(1, 2), (3,)]
    positions = np.zeros((1, 2, 4, 2), np.float32)
    positions[0, :, 3] = (10.0, 4.0)
    assert torso_lengths(positions, fish) == pytest.approx([10 * BODY_TO_TORSO])


def test_whoever_shows_no_torso_has_that_of_the_others():
    positions = np.full((3, 2, 17, 2), np.nan, np.float32)
    shoulders, hips = [COCO.index(f"{s}_shoulder") for s in ("left", "right")], [11, 12]
    for person, length in ((0, 4.0), (1, 6.0)):
        positions[person, :, shoulders] = 0.0
        positions[person, :, hips] = (0.0, length)
    assert torso_lengths(positions, COCO) == pytest.approx([4.0, 6.0, 5.0])
    assert torso_lengths(positions[2:], COCO) == pytest.approx([0.0])


def test_held_frames_are_those_of_a_loop():
    for every in (1, 2, 3, 8):
        expected, kept = [], 0
        for frame in range(20):
            kept = frame if frame % every == 0 else kept
            expected.append(kept)
        assert hold_frames(np.arange(20), every).tolist() == expected
