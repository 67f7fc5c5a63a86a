import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import InputError, SkeletonError, UsageError
from poselens.explain.moving import (
    joint_speeds,
    moving_body_share,
    moving_joint_share,
    moving_joints,
    moving_region,
)

SIZE = (24, 32)


def _walker(frames: int = 6) -> np.ndarray:
    """A still joint, a slow one and a fast one, all inside the picture."""
    time = np.arange(frames)[:, None]
    still = np.tile([[8.0, 8.0]], (frames, 1))
    slow = np.concatenate([10 + 0.1 * time, np.full((frames, 1), 16.0)], axis=1)
    fast = np.concatenate([6 + 2.0 * time, np.full((frames, 1), 12.0)], axis=1)
    return np.stack([still, slow, fast], axis=1)[None]


@given(st.integers(0, 10**6), st.floats(0.6, 6.0), st.floats(0.1, 1.0))
@settings(max_examples=40)
def test_a_uniform_map_gives_the_share_of_the_area(seed: int, radius: float, q: float):
    joints = np.random.default_rng(seed).uniform(-4, 36, (1, 3, 5, 2))
    found = moving_body_share(np.full((3, *SIZE), 0.37), joints, radius=radius, moving=q)
    assert found.share == pytest.approx(found.chance, abs=1e-12)


def test_all_mass_on_a_moving_joint_gives_1_and_on_a_still_one_0():
    joints = _walker()
    on, off = np.zeros((2, 6, *SIZE))
    for t in range(6):
        on[t, int(joints[0, t, 2, 1]), int(joints[0, t, 2, 0])] = 5.0
        off[t, 8, 8] = 5.0
    assert moving_body_share(on, joints, radius=1.0, moving=1 / 3).share == 1.0
    assert moving_body_share(off, joints, radius=1.0, moving=1 / 3).share == 0.0


@given(st.integers(0, 10**6), st.integers(-3, 3), st.integers(-3, 3), st.floats(0.01, 100))
@settings(max_examples=40)
def test_neither_the_maps_scale_nor_a_shift_of_both_matters(
    seed: int, right: int, down: int, scale: float
):
    draw = np.random.default_rng(seed)
    joints = draw.integers(8 * 64, 16 * 64, (2, 4, 3, 2)) / 64  # exact when shifted
    attribution = np.zeros((4, *SIZE))
    attribution[:, 4:20, 4:28] = draw.random((4, 16, 24))
    moved = np.roll(attribution, (down, right), axis=(1, 2))
    before = moving_body_share(attribution, joints, radius=2.0)
    after = moving_body_share(scale * moved, joints + np.array([right, down]), radius=2.0)
    assert after.share == pytest.approx(before.share, rel=1e-9)
    assert after.chance == before.chance


def test_a_larger_picture_of_the_same_has_nearly_the_same_share():
    attribution = np.random.default_rng(3).random((6, *SIZE))
    small = moving_body_share(attribution, _walker(), radius=4.0)
    finer = attribution.repeat(4, axis=1).repeat(4, axis=2)
    large = moving_body_share(finer, 4 * _walker(), radius=16.0)
    assert large.share == pytest.approx(small.share, rel=0.05)


def test_a_larger_radius_never_holds_less():
    attribution = np.random.default_rng(0).random((6, *SIZE))
    found = [moving_body_share(attribution, _walker(), radius=r) for r in (1, 2, 4, 8, 100)]
    shares = [one.share for one in found]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] == pytest.approx(1.0)


def test_missing_joints_neither_move_nor_cover_anything():
    joints = _walker()
    joints[0, 2, 2] = np.nan
    speed = joint_speeds(joints)
    assert np.isnan(speed[0, 2, 2])
    assert speed[0, 1, 2] == speed[0, 3, 2] == 2.0
    region = moving_region(joints[:, 2], np.ones((1, 3), bool), size=SIZE, radius=1.0)
    assert not region[12, 10]
    assert region[8, 8]
    alone = np.full((1, 6, 3, 2), np.nan)
    alone[:, 3] = 5.0
    assert np.isnan(joint_speeds(alone)).all()


def test_speeds_of_the_whole_clip_may_be_given():
    joints, speed = _walker(), np.zeros((1, 6, 3))
    speed[0, :, 0] = 1.0  # the joint that stands still in these frames moves between them
    attribution = np.zeros((6, *SIZE))
    attribution[:, 7:9, 7:9] = 1.0
    assert moving_body_share(attribution, joints, radius=1.0, speed=speed).share == 1.0


def test_bones_between_moving_joints_are_covered():
    joints = np.array([[[[4.0, 4.0], [20.0, 4.0]], [[4.0, 8.0], [20.0, 8.0]]]])
    attribution = np.zeros((2, *SIZE))
    attribution[:, :, 12] = 1.0
    apart = moving_body_share(attribution, joints, radius=2.0, moving=1.0)
    joined = moving_body_share(attribution, joints, radius=2.0, moving=1.0, bones=[(0, 1)])
    assert apart.share == 0.0
    assert joined.share == pytest.approx(4 / 24)


def test_joints_far_outside_the_picture_cover_nothing():
    found = moving_body_share(np.ones((6, *SIZE)), _walker() + 1e7, radius=3.0)
    assert found.share == found.chance == 0.0
    assert np.isnan(found.ratio)


def test_the_fastest_share_is_chosen_and_what_rests_never():
    speed = np.array([[[0.0, 1.0, 2.0, 3.0, np.nan]]])
    assert moving_joints(speed, moving=0.25).tolist() == [[[False, False, False, True, False]]]
    assert moving_joints(speed, moving=1.0).tolist() == [[[False, True, True, True, False]]]
    level = np.full((1, 10, 7), 2.0)
    assert moving_joints(level, moving=0.1).all()


def test_an_even_attribution_of_joints_gives_chance_and_the_negative_part_does_not_count():
    joints = _walker()
    even = moving_joint_share(np.ones((1, 6, 3)), joints, moving=1 / 3)
    assert even.share == pytest.approx(even.chance)
    assert even.ratio == pytest.approx(1.0)
    signed = np.full((1, 6, 3), -7.0)
    signed[..., 2] = 1.0
    assert moving_joint_share(signed, joints, moving=1 / 3).share == pytest.approx(1.0)


STILL = _walker()[:, :1].repeat(6, axis=1)


@pytest.mark.parametrize(
    ("kind", "code", "text", "attribution", "changed"),
    [
        (UsageError, "EXP-033", "found moving=0.0", 1.0, {"moving": 0.0}),
        (UsageError, "EXP-033", "found a radius of -1.0", 1.0, {"radius": -1.0}),
        (UsageError, "EXP-033", "found joints of shape", 1.0, {"joints": _walker(5)}),
        (UsageError, "EXP-033", "found speeds of shape", 1.0, {"speed": np.ones((1, 6, 2))}),
        (InputError, "EXP-035", "negative or not finite", -1.0, {}),
        (InputError, "EXP-035", "negative or not finite", np.nan, {}),
        (InputError, "EXP-035", "0 everywhere", 0.0, {}),
        (SkeletonError, "EXP-034", "no moving joint", 1.0, {"joints": STILL}),
    ],
)
def test_what_cannot_be_is_refused(kind, code, text, attribution, changed):
    given_ = {"joints": _walker(), "radius": 1.0, **changed}
    with pytest.raises(kind, match=text) as caught:
        moving_body_share(np.full((6, *SIZE), attribution), given_.pop("joints"), **given_)
    assert caught.value.code == code


def test_attributions_of_joints_that_cannot_be_are_refused():
    joints = _walker()
    with pytest.raises(UsageError, match="found an attribution of shape"):
        moving_joint_share(np.ones((1, 6, 2)), joints)
    with pytest.raises(InputError, match="0 everywhere"):
        moving_joint_share(-np.ones((1, 6, 3)), joints)
    with pytest.raises(InputError, match="negative or not finite"):
        moving_joint_share(np.full((1, 6, 3), np.nan), joints)
