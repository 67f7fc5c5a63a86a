import pickle

import numpy as np
import pytest

from poselens.clips.crop import Region
from poselens.clips.disturb import KINDS, Disturbance, generator, kind_of, reaches
from poselens.clips.disturb_joints import drop_joints, torso_lengths
from poselens.clips.stream import (
    RgbInput,
    RgbNetworkSettings,
    RgbStream,
    SkeletonInput,
    SkeletonNetworkSettings,
    SkeletonStream,
)
from poselens.errors import UsageError
from poselens.pose.layouts import get_layout
from poselens.types import Box, Skeleton

COCO = get_layout("coco-17")
REGION = Region(Box(40, 20, 90, 80), "skeleton")
WHEN = np.linspace(0, 1, 3)
RATE = "frame-rate"


def skeleton(space="pixels", dimensions=2):
    positions = np.random.default_rng(1).normal(50, 10, (1, 12, 17, dimensions))
    return Skeleton(positions.astype(np.float32), "coco-17", space)


def pictures():
    return np.random.default_rng(2).integers(0, 255, (3, 24, 24, 3)).astype(np.uint8)


def everything(disturb, clip="a"):
    """What a clip comes to under a disturbance: joints, frames, region, pictures."""
    return (
        disturb.joints(skeleton(), clip).positions,
        disturb.frames(np.arange(12)),
        np.array([vars_of(disturb.region(REGION, (100, 120), clip).box)]),
        disturb.pictures(pictures(), WHEN, clip),
    )


def vars_of(box):
    return [box.left, box.top, box.right, box.bottom]


@pytest.mark.parametrize("kind", KINDS)
def test_at_rest_nothing_changes(kind):
    found = everything(Disturbance(kind, KINDS[kind].rest))
    expected = (
        skeleton().positions,
        np.arange(12),
        np.array([vars_of(REGION.box)]),
        pictures(),
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_what_it_acts_on_and_nothing_else(kind):
    found = everything(Disturbance(kind, KINDS[kind].levels[-1]))
    expected = everything(Disturbance("darkness", 0.0))
    changed = [
        not np.array_equal(one, other, equal_nan=True)
        for one, other in zip(found, expected, strict=True)
    ]
    acts = KINDS[kind].acts
    assert (
        changed
        == {
            "joints": [True, False, False, False],
            "pixel-joints": [True, False, False, False],
            "time": [True, True, False, False],
            "crop": [False, False, True, False],
            "pictures": [False, False, False, True],
        }[acts]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_disturbed_alike_wherever_it_stands(kind):
    disturb = Disturbance(kind, KINDS[kind].levels[-1], seed=3)
    first = everything(disturb)
    everything(disturb, "another")
    again = everything(pickle.loads(pickle.dumps(disturb)))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_clips_and_other_seeds_are_disturbed_otherwise():
    one = Disturbance("joint-dropout", 0.5).joints(skeleton(), "a").positions
    for other in (
        Disturbance("joint-dropout", 0.5).joints(skeleton(), "b"),
        Disturbance("joint-dropout", 0.5, seed=1).joints(skeleton(), "a"),
    ):
        assert not np.array_equal(one, other.positions, equal_nan=True)


def test_the_draw_depends_on_seed_and_id_alone():
    assert generator(4, "clip").random() == generator(4, "clip").random()
    expected = drop_joints(skeleton().positions, 0.5, generator(0, "a"))
    found = Disturbance("joint-dropout", 0.5).joints(skeleton(), "a").positions
    np.testing.assert_array_equal(found, expected)


def test_the_same_joints_are_missing_in_pixels_and_in_metres():
    disturb = Disturbance("joint-dropout", 0.3)
    flat = disturb.joints(skeleton(), "a").positions
    deep = disturb.joints(skeleton("metres", 3), "a").positions
    np.testing.assert_array_equal(np.isnan(flat[..., 0]), np.isnan(deep[..., 0]))


def test_noise_is_a_share_of_the_torso_or_pixels():
    given = skeleton()
    torso = torso_lengths(given.positions, COCO)[0]
    shaken = Disturbance("joint-noise", 0.1).joints(given, "a").positions - given.positions
    assert shaken.std() == pytest.approx(0.1 * torso, rel=0.1)
    shaken = Disturbance("joint-noise-pixels", 4.0).joints(given, "a").positions - given.positions
    assert shaken.std() == pytest.approx(4.0, rel=0.1)
    metres = skeleton("metres", 3)
    assert Disturbance("joint-noise-pixels", 4.0).joints(metres, "a") is metres


def test_a_lower_rate_holds_joints_and_pictures_together():
    disturb = Disturbance(RATE, 4.0)
    assert disturb.frames(np.array([0, 3, 4, 11])).tolist() == [0, 0, 4, 8]
    given = skeleton().positions
    np.testing.assert_array_equal(
        disturb.joints(skeleton(), "a").positions, given[:, [0] * 4 + [4] * 4 + [8] * 4]
    )


@pytest.mark.parametrize(
    ("kind", "level", "text"),
    [
        ("occlusion", 1.5, r"level 1.5 of occlusion, expected numbers from 0 to 1 \(1 is 100 %"),
        ("occlusion", -0.1, "level -0.1 of occlusion"),
        ("occlusion", float("nan"), "level nan"),
        ("darkness", float("inf"), "level inf"),
        (RATE, 2.5, "level 2.5 of frame-rate, expected whole numbers from 1 to 1000"),
        (RATE, 0, "level 0 of frame-rate"),
    ],
)
def test_a_severity_that_a_kind_cannot_have_is_refused(kind, level, text):
    with pytest.raises(UsageError, match=text) as caught:
        Disturbance(kind, level)
    assert caught.value.code == "EVAL-061"


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="unknown disturbance 'fog'") as caught:
        kind_of("fog")
    assert caught.value.code == "EVAL-060"
    assert "darkness" in caught.value.mend


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_have_its_own_levels(kind):
    levels = KINDS[kind].levels
    assert list(levels) == sorted(levels)
    assert [Disturbance(kind, level).level for level in levels] == list(levels)
    assert levels[0] > KINDS[kind].rest
    assert "{}" in KINDS[kind].phrase


def rgb(**settings):
    return RgbStream(classes=("a",), input=RgbInput(**settings), network=RgbNetworkSettings())


def joint(space):
    return SkeletonStream(
        classes=("a",),
        input=SkeletonInput(space=space),
        network=SkeletonNetworkSettings(),
        layout="coco-17",
        dimensions=3,
    )


def test_which_kinds_reach_which_stream():
    def reached(stream, *stored):
        return {kind for kind in KINDS if reaches(kind, stream, stored)}

    every = set(KINDS)
    in_pictures = {k for k in every if KINDS[k].acts == "pictures"}
    of_joints = {k for k in every if KINDS[k].acts == "joints"}
    assert reached(rgb(), "pixels") == every
    assert reached(rgb(), "metres") == reached(rgb(crop=False), "pixels") == in_pictures | {RATE}
    assert reached(joint("metres"), "metres") == of_joints | {RATE}
    assert reached(joint("pixels"), "pixels") == of_joints | {RATE, "joint-noise-pixels"}
