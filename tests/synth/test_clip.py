import dataclasses

import numpy as np
import pytest

from poselens.synth.actions import CLASSES
from poselens.synth.clip import DrawnClip, Order, draw_clip
from poselens.synth.difficulty import DIFFICULTIES, Difficulty


def drawn(
    name: str, index: int = 3, difficulty: Difficulty = DIFFICULTIES["standard"]
) -> DrawnClip:
    return draw_clip(Order(0, index, CLASSES.index(name), 2, difficulty, (144, 192)))


def test_a_clip_is_the_same_every_time_and_another_index_another_clip() -> None:
    first, second = drawn("turn-left"), drawn("turn-left")
    np.testing.assert_array_equal(first.metres, second.metres)
    for one, other in zip(first.pictures(range(2)), second.pictures(range(2)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert drawn("turn-left", 4).metres.tobytes() != first.metres.tobytes()


def test_shapes_lengths_and_types() -> None:
    clip = drawn("wave-fast")
    assert clip.pixels.shape == (1, clip.frames, 17, 2)
    assert clip.metres.shape == (1, clip.frames, 17, 3)
    assert clip.pixels.dtype == clip.metres.dtype == np.float32
    assert 41 <= clip.frames <= 55
    picture = next(clip.pictures())
    assert picture.shape == (144, 192, 3)
    assert picture.dtype == np.uint8
    assert len(list(clip.pictures([5, 9]))) == 2


def test_frames_drawn_alone_equal_frames_drawn_in_turn() -> None:
    clip = drawn("pick-up")
    np.testing.assert_array_equal(list(clip.pictures())[7], next(clip.pictures([7])))


def test_pixels_are_the_projection_of_metres_and_missing_in_both() -> None:
    clip = drawn("raise-left-then-right", difficulty=DIFFICULTIES["hard"])
    seen = clip.stage.camera.pixels(clip.metres[0].astype(np.float64))
    np.testing.assert_allclose(clip.pixels[0], seen, atol=1e-2)
    lost = np.isnan(clip.metres[0])
    assert (lost.all(axis=-1) == lost.any(axis=-1)).all()
    assert 0.02 < lost.mean() < 0.25


def test_easy_skeletons_are_complete_and_nobody_else_is_there() -> None:
    clip = drawn("turn-right", difficulty=DIFFICULTIES["easy"])
    assert np.isfinite(clip.metres).all()
    assert clip.stage.crowd == []
    assert clip.stage.movers == []


@pytest.mark.parametrize(("one", "other"), [CLASSES[12:14], CLASSES[14:16]])
def test_skeleton_and_room_say_nothing_about_the_object_pairs(one: str, other: str) -> None:
    first, second = drawn(one), drawn(other)
    np.testing.assert_array_equal(first.metres, second.metres)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    apart = [
        np.abs(a.astype(int) - b).max()
        for a, b in zip(first.pictures(), second.pictures(), strict=True)
    ]
    assert np.median(apart) > 100
    assert first.stage.backdrop.tobytes() == second.stage.backdrop.tobytes()


def test_the_object_is_painted_where_the_hand_is() -> None:
    clip = drawn("pass-left-to-right", difficulty=DIFFICULTIES["easy"])
    thing = clip.stage.thing
    assert thing is not None
    wrist = clip.pixels[0, :, 9]
    gap = np.linalg.norm(thing.places[:, :2] - wrist, axis=-1)
    assert gap[8] < 12
    assert gap[-8] > 12
    bare = dataclasses.replace(clip, stage=dataclasses.replace(clip.stage, thing=None))
    with_it, without = next(clip.pictures([8])), next(bare.pictures([8]))
    rows, columns = np.nonzero(np.abs(with_it.astype(int) - without).sum(axis=-1) > 90)
    x, y = thing.places[8, :2]
    assert columns.mean() == pytest.approx(x, abs=3)
    assert rows.mean() == pytest.approx(y, abs=3)
    assert len(rows) > 20


def test_the_person_is_painted_where_the_joints_are() -> None:
    clip = drawn("squat-deep-then-shallow", difficulty=DIFFICULTIES["easy"])
    far = dataclasses.replace(clip.stage.person, places=clip.stage.person.places * [1, 1, 0.0])
    gone = dataclasses.replace(clip, stage=dataclasses.replace(clip.stage, person=far))
    with_it, without = next(clip.pictures([0])), next(gone.pictures([0]))
    rows, columns = np.nonzero(np.abs(with_it.astype(int) - without).sum(axis=-1) > 60)
    joints = clip.pixels[0, 0]
    assert columns.min() > joints[:, 0].min() - 12
    assert columns.max() < joints[:, 0].max() + 12
    assert rows.min() == pytest.approx(joints[:, 1].min(), abs=12)
    assert rows.max() == pytest.approx(joints[:, 1].max(), abs=12)
