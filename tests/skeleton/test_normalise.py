"""Footings: what a clip may be moved, scaled or turned by without a change of its result."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import UsageError
from poselens.pose.layouts import get_layout
from poselens.skeleton.augment import rotate, turns
from poselens.skeleton.normalise import extent, normalise
from poselens.skeleton.ready import bone_length, origin

LAYOUT = get_layout("ucla-20")


def clip(seed=0, dimensions=3, people=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(people, 6, 20, dimensions)).astype(np.float32)


def footed(positions, footing, **options):
    """Normalise one clip, which ``ready`` holds people first, as a batch."""
    found = normalise(
        torch.from_numpy(positions).transpose(0, 1)[None],
        footing=footing,
        origin=torch.from_numpy(origin(positions, LAYOUT))[None],
        length=torch.tensor([bone_length(positions, LAYOUT)]),
        **options,
    )
    return found[0].transpose(0, 1).numpy()


def test_centre_puts_the_first_sight_of_the_centre_joint_at_zero():
    positions = clip()
    positions[0, :2] = np.nan
    centred = footed(positions, "centre")
    np.testing.assert_array_equal(centred, positions - positions[0, 2, LAYOUT.centre])


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.25, 4), shift=st.floats(-5, 5))
@pytest.mark.parametrize("footing", ["body", "range", "box"])
def test_size_and_place_do_not_matter(footing, scale, shift):
    moved = (clip() * scale + shift).astype(np.float32)
    np.testing.assert_allclose(footed(moved, footing), footed(clip(), footing), atol=2e-3)


def test_range_and_box_fill_their_interval():
    ranged = footed(clip(), "range")
    np.testing.assert_allclose(ranged.min(axis=(0, 1, 2)), -1, atol=1e-6)
    np.testing.assert_allclose(ranged.max(axis=(0, 1, 2)), 1, atol=1e-6)
    boxed = footed((clip(dimensions=2) * [3, 1]).astype(np.float32), "box")
    assert np.abs(boxed).max() == pytest.approx(1)
    assert np.abs(boxed[..., 1]).max() < 0.9


@pytest.mark.parametrize("footing", ["range", "box"])
def test_frames_that_are_not_returned_count_too(footing):
    positions = torch.from_numpy(clip()).transpose(0, 1)[None]
    numbers = {"footing": footing, "origin": torch.zeros(1, 3), "length": torch.ones(1)}
    some = normalise(positions[:, 2:4], whole=positions, **numbers)
    torch.testing.assert_close(some, normalise(positions, **numbers)[:, 2:4])
    assert not torch.allclose(some, normalise(positions[:, 2:4], **numbers))


def test_the_extent_is_that_of_the_known_joints():
    positions = torch.from_numpy(clip()).transpose(0, 1)[None].repeat(2, 1, 1, 1, 1)
    positions[1, 1, 0, 4] = torch.nan
    positions[1, :, 1] = torch.nan
    low, high = extent(positions)
    for row in range(2):
        known = positions[row].flatten(0, 2)
        known = known[known[:, 0].isfinite()]
        torch.testing.assert_close(low[row], known.min(dim=0).values)
        torch.testing.assert_close(high[row], known.max(dim=0).values)


def test_frame_puts_the_middle_at_zero_and_the_lower_edge_at_one():
    corners = np.zeros((1, 1, 20, 2), dtype=np.float32)
    corners[0, 0, 0] = 640, 360
    corners[0, 0, 1] = 1280, 720
    found = footed(corners, "frame", frame_size=(720, 1280))
    np.testing.assert_allclose(found[0, 0, :2], [[0, 0], [1280 / 720, 1]])


def test_frame_without_a_size_is_refused():
    with pytest.raises(UsageError, match="no frame size") as fault:
        footed(clip(dimensions=2), "frame")
    assert fault.value.code == "CFG-023"


@pytest.mark.parametrize("footing", ["centre", "body", "range", "box"])
def test_a_single_point_is_moved_and_not_blown_up(footing):
    point = np.full((1, 3, 20, 3), 7, dtype=np.float32)
    np.testing.assert_array_equal(footed(point, footing), 0)


def test_none_leaves_positions_alone():
    np.testing.assert_array_equal(footed(clip(), "none"), clip())


@given(seed=st.integers(0, 50), angles=st.tuples(*[st.floats(-3, 3)] * 3))
def test_a_rotation_keeps_bone_lengths(seed, angles):
    positions = clip(seed)
    turn = turns(torch.tensor([angles], dtype=torch.float64), 3)
    batch = torch.from_numpy(positions).transpose(0, 1)[None]
    turned = rotate(batch, turn, about=torch.from_numpy(origin(positions, LAYOUT))[None])
    people = turned[0].transpose(0, 1).numpy()
    assert bone_length(people, LAYOUT) == pytest.approx(bone_length(positions, LAYOUT), 1e-5)
    np.testing.assert_allclose(origin(people, LAYOUT), origin(positions, LAYOUT), atol=1e-6)
