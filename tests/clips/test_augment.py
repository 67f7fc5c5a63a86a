import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poselens.clips.augment import (
    View,
    apply_to_joints,
    apply_to_pixels,
    centre_view,
    placement,
    random_view,
    without_background,
)
from poselens.pose.layouts import get_layout
from poselens.types import Box

COCO = get_layout("coco-17")


@given(
    seed=st.integers(0, 999),
    scales=st.sampled_from([(1.0,), (1.0, 0.875, 0.75, 0.66), (0.5, 0.3)]),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    brightness=st.sampled_from([0.0, 0.3]),
)
def test_a_view_stays_inside_the_region(seed, scales, flip, brightness):
    view = random_view(np.random.default_rng(seed), scales=scales, flip=flip, brightness=brightness)
    assert view.left >= 0
    assert view.top >= 0
    assert view.left + view.width <= 1 + 1e-9
    assert view.top + view.height <= 1 + 1e-9
    assert abs(scales.index(view.width) - scales.index(view.height)) <= 1
    assert all(abs(gain - 1) <= brightness + 1e-9 for gain in view.gain)
    if flip in (0.0, 1.0):
        assert view.flipped == bool(flip)


def test_views_use_every_scale_and_both_sides():
    rng = np.random.default_rng(0)
    views = [random_view(rng) for _ in range(300)]
    assert {view.width for view in views} == {1.0, 0.875, 0.75, 0.66}
    assert 0.4 < sum(view.flipped for view in views) / 300 < 0.6


def test_the_test_view_is_the_central_224_of_256():
    assert centre_view(scale=256, size=224) == View(0.0625, 0.0625, 0.875, 0.875)
    assert centre_view(scale=32, size=64) == View(0, 0, 1, 1)
    pixels = torch.arange(256).view(1, 1, 256, 1).expand(1, 256, 256, 3).to(torch.uint8)
    cut = apply_to_pixels(pixels, centre_view(scale=256, size=224), size=224)
    assert cut.shape == (1, 3, 224, 224)
    assert cut[0, 0, 0].tolist() == list(range(16, 240))


@given(seed=st.integers(0, 999))
def test_pixels_of_any_view_have_the_networks_size(seed):
    rng = np.random.default_rng(seed)
    view = random_view(rng, scales=(1.0, 0.7, 0.34), brightness=0.2)
    frames = torch.from_numpy(rng.integers(0, 256, (2, 21, 30, 3), dtype=np.uint8))
    cut = apply_to_pixels(frames, view, size=16)
    assert cut.shape == (2, 3, 16, 16)
    assert cut.dtype == torch.uint8


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_pixels_and_joints_move_together(flipped, seed):
    """A bright square around the left wrist is where the joint that is now there says."""
    rng = np.random.default_rng(seed)
    region = Box(10, 20, 110, 120)
    joints = np.full((1, 1, 17, 2), np.nan)
    wrist = COCO.index("left_wrist")
    joints[0, 0, wrist] = rng.uniform(50, 80, 2).round()
    x, y = joints[0, 0, wrist].astype(int)
    frame = np.zeros((140, 130, 3), np.uint8)
    frame[y - 4 : y + 4, x - 4 : x + 4] = 255
    cut = torch.from_numpy(frame[20:120, 10:110][None].copy())
    view = random_view(rng, scales=(1.0, 0.9), flip=float(flipped))
    seen = apply_to_pixels(cut, view, size=100)[0, 0].float()
    moved = apply_to_joints(joints, region, view, layout=COCO, size=100)
    carrier = COCO.mirror[wrist] if flipped else wrist
    assert np.isfinite(moved[0, 0]).all(axis=-1).nonzero()[0].tolist() == [carrier]
    rows, columns = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(100) + 0.5, indexing="ij")
    centre = [float((grid * seen).sum() / seen.sum()) for grid in (columns, rows)]
    np.testing.assert_allclose(moved[0, 0, carrier], centre, atol=1.0)


def test_mirroring_twice_is_the_identity():
    joints = np.random.default_rng(0).uniform(0, 64, (2, 3, 17, 2))
    region, view = Box(0, 0, 64, 64), View(0, 0, 1, 1, flipped=True)
    once = apply_to_joints(joints, region, view, layout=COCO, size=64)
    assert not np.allclose(once, joints)
    twice = apply_to_joints(once, region, view, layout=COCO, size=64)
    np.testing.assert_allclose(twice, joints)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8))
    once = apply_to_pixels(pixels, view, size=8)
    assert torch.equal(once, pixels.permute(0, 3, 1, 2).flip(-1))


def test_brightness_scales_and_clips():
    pixels = torch.tensor([[10, 100, 200]], dtype=torch.uint8).view(1, 1, 1, 3)
    cut = apply_to_pixels(pixels, View(0, 0, 1, 1, gain=(1.5, 1.5, 1.5)), size=1)
    assert cut.flatten().tolist() == [15, 150, 255]


def test_colours_change_as_drawn():
    pixels = torch.tensor([[10, 100, 200]], dtype=torch.uint8).view(1, 1, 1, 3)
    view = View(0, 0, 1, 1, gain=(2.0, 1.0, 0.5), offset=(0.0, 10.0, -20.0), channels=(2, 0, 1))
    # red is read from blue, green from red, blue from green
    assert apply_to_pixels(pixels, view, size=1).flatten().tolist() == [255, 20, 30]


@given(seed=st.integers(0, 999), colour=st.sampled_from([0.0, 0.2, 1.0]))
def test_colours_stay_within_their_limits(seed, colour):
    view = random_view(np.random.default_rng(seed), colour=colour)
    assert all(abs(gain - 1) <= colour for gain in view.gain)
    assert all(abs(offset) <= 64 * colour for offset in view.offset)
    assert sorted(view.channels) == [0, 1, 2]
    assert view.recolours == (colour > 0)
    if colour == 0:
        assert view.channels == (0, 1, 2)


def test_what_does_not_move_vanishes():
    clip = torch.full((4, 3, 2, 2), 90, dtype=torch.uint8)
    clip[:, :, 0, 0] = torch.tensor([0, 40, 80, 120], dtype=torch.uint8).view(4, 1)
    seen = without_background(clip)
    assert seen.dtype == torch.uint8
    assert (seen[:, :, 1] == 128).all()
    assert seen[:, 0, 0, 0].tolist() == [98, 118, 138, 158]
    extremes = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert without_background(extremes)[:, 0].flatten().tolist() == [64, 192]


def test_placement_of_a_view_is_a_box_in_frame_pixels():
    placed = placement(Box(10, 20, 110, 220), View(0.1, 0.2, 0.5, 0.4, flipped=True), size=50)
    assert (placed.left, placed.top, placed.width, placed.height) == (20, 60, 50, 80)
    assert placed.size == (50, 50)
    assert placed.flipped
