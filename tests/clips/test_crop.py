import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.clips.crop import Placement, activity_region
from poselens.types import Box


def seen_in(frame: tuple[int, int], seed: int, *, missing: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    height, width = frame
    joints = draw.uniform(0, 1, (2, 5, 6, 2)) * (width, height)
    joints[draw.random((2, 5, 6)) < missing] = np.nan
    return joints.astype(np.float32)


frames = st.tuples(st.integers(16, 200), st.integers(16, 200))


@given(
    frame=frames,
    seed=st.integers(0, 999),
    margin=st.floats(0, 1),
    square=st.booleans(),
    missing=st.sampled_from([0.0, 0.5, 0.9]),
)
def test_the_box_holds_every_joint_and_stays_in_the_frame(frame, seed, margin, square, missing):
    joints = seen_in(frame, seed, missing=missing)
    box = activity_region(joints, frame_size=frame, margin=margin, square=square).box
    assert 0 <= box.left < box.right <= frame[1]
    assert 0 <= box.top < box.bottom <= frame[0]
    known = joints[np.isfinite(joints).all(axis=-1)]
    assert (known >= (box.left, box.top)).all()
    assert (known <= (box.right, box.bottom)).all()


@given(dx=st.integers(-30, 30), dy=st.integers(-30, 30), seed=st.integers(0, 99))
def test_the_box_moves_with_the_joints(dx, dy, seed):
    joints = seen_in((40, 40), seed) + 180
    here = activity_region(joints, frame_size=(400, 400)).box
    there = activity_region(joints + np.float32([dx, dy]), frame_size=(400, 400)).box
    moved = (there.left - dx, there.top - dy, there.right - dx, there.bottom - dy)
    assert np.abs(np.subtract(moved, (here.left, here.top, here.right, here.bottom))).max() <= 1


def test_a_partly_known_joint_never_counts():
    joints = np.full((1, 1, 3, 2), np.nan)
    joints[0, 0, 0], joints[0, 0, 1], joints[0, 0, 2] = (20, 20), (60, 60), (90, np.nan)
    assert activity_region(joints, frame_size=(100, 100), margin=0).box == Box(20, 20, 60, 60)


def test_without_joints_the_whole_frame():
    region = activity_region(np.full((1, 4, 5, 2), np.nan), frame_size=(30, 40))
    assert (region.box, region.reason) == (Box(0, 0, 40, 30), "no-joints")
    region = activity_region(np.zeros((0, 4, 5, 2)), frame_size=(30, 40))
    assert region.reason == "no-joints"


@pytest.mark.parametrize(
    "joints",
    [
        [(20, 20), (25, 60)],  # a line
        [(200, 20), (260, 60)],  # outside the frame, on the right
        [(-90, -90), (-30, -30)],  # outside the frame, top left
    ],
)
def test_less_than_ten_pixels_is_nobody(joints):
    region = activity_region(np.float32(joints)[None, None], frame_size=(100, 100), margin=0.1)
    assert (region.box, region.reason) == (Box(0, 0, 100, 100), "too-small")


def test_a_stray_joint_is_left_out_by_percentile():
    joints = np.full((1, 1, 100, 2), 50.0) + np.linspace(-20, 20, 100)[:, None]
    joints[0, 0, 0] = (1, 1)
    plain = activity_region(joints, frame_size=(100, 100), margin=0)
    robust = activity_region(joints, frame_size=(100, 100), margin=0, percentile=2)
    assert plain.box.left == 1
    assert robust.box.left > 29


def test_square_widens_the_shorter_side_about_its_middle():
    joints = np.float32([(100, 40), (120, 100)])[None, None]
    box = activity_region(joints, frame_size=(200, 200), margin=0.5, square=True).box
    assert box == Box(50, 10, 170, 130)
    assert activity_region(joints, frame_size=(200, 200), margin=0.5).box == Box(90, 10, 130, 130)


@given(
    left=st.floats(-50, 50),
    top=st.floats(-50, 50),
    width=st.floats(5, 300),
    height=st.floats(5, 300),
    size=st.tuples(st.integers(8, 256), st.integers(8, 256)),
    flipped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_frame_to_crop_and_back_is_the_identity(left, top, width, height, size, flipped, seed):
    placed = Placement(left, top, width, height, size, flipped)
    joints = np.random.default_rng(seed).uniform(-100, 400, (2, 3, 4, 2))
    np.testing.assert_allclose(placed.to_frame(placed.to_crop(joints)), joints, atol=1e-6)


def test_corners_of_the_box_are_corners_of_the_crop():
    box = np.float64([(10, 20), (40, 80)])
    placed = Placement(10, 20, 30, 60, (224, 112))
    np.testing.assert_allclose(placed.to_crop(box), [(0, 0), (112, 224)])
    mirrored = Placement(10, 20, 30, 60, (224, 112), flipped=True)
    np.testing.assert_allclose(mirrored.to_crop(box), [(112, 0), (0, 224)])
