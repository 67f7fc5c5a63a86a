"""Variation keeps what it must keep."""

import numpy as np
import pytest

from poselens.pose.layouts import get_layout
from poselens.skeleton.augment import drop_joints, jitter, mirror, rotate, scale

LAYOUT = get_layout("coco-17")


def clip(dimensions=3):
    return np.random.default_rng(0).normal(size=(2, 5, 17, dimensions)).astype(np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("dimensions", "limits"), [(2, (1.0,)), (3, (1.0, 1.0, 1.0))])
def test_a_turn_keeps_distances_and_handedness_about_its_point(dimensions, limits):
    about = np.full(dimensions, 2, dtype=np.float32)
    turned = rotate(clip(dimensions), limits=limits, about=about, rng=rng())
    before, after = clip(dimensions) - about, turned - about
    assert not np.allclose(before, after, atol=0.05)
    np.testing.assert_allclose(
        np.linalg.norm(before, axis=-1), np.linalg.norm(after, axis=-1), rtol=1e-5
    )
    frame = [before[0, 0, :dimensions], after[0, 0, :dimensions]]
    volumes = [np.linalg.det(corner.astype(np.float64)) for corner in frame]
    assert volumes[0] == pytest.approx(volumes[1], rel=1e-4)


def test_a_turn_about_the_vertical_keeps_heights():
    turned = rotate(clip(), limits=(0.0, 1.0, 0.0), about=np.zeros(3, np.float32), rng=rng())
    np.testing.assert_allclose(turned[..., 1], clip()[..., 1], atol=1e-6)
    assert not np.allclose(turned, clip(), atol=0.05)


def test_a_stretch_is_one_factor_per_axis_within_its_limit():
    factors = scale(clip(), limit=0.2, rng=rng()) / clip()
    np.testing.assert_allclose(factors, np.broadcast_to(factors[0, 0, 0], factors.shape), 1e-5)
    assert (np.abs(factors - 1) <= 0.2 + 1e-6).all()
    assert len(np.unique(factors[0, 0, 0])) == 3


def test_jitter_has_the_deviation_it_was_given():
    still = np.zeros((2, 40, 17, 3), dtype=np.float32)
    moved = jitter(still, deviation=0.3, rng=rng())
    assert moved.dtype == np.float32
    assert moved.std() == pytest.approx(0.3, rel=0.05)


def test_dropped_joints_are_missing_for_the_whole_clip():
    many = np.zeros((50, 4, 17, 3), dtype=np.float32)
    lost = np.isnan(drop_joints(many, share=0.25, rng=rng()))
    assert (lost == lost[:, :1, :, :1]).all()
    assert lost.mean() == pytest.approx(0.25, abs=0.04)


def test_a_mirror_swaps_sides_negates_x_and_undoes_itself():
    mirrored = mirror(clip(), LAYOUT)
    left, right = LAYOUT.index("left_wrist"), LAYOUT.index("right_wrist")
    expected = clip()[:, :, right] * [-1, 1, 1]
    np.testing.assert_array_equal(mirrored[:, :, left], expected)
    np.testing.assert_array_equal(mirror(mirrored, LAYOUT), clip())


def test_missing_stays_missing():
    positions = clip()
    positions[0, 2, 3] = np.nan
    about = np.zeros(3, np.float32)
    for varied in (
        rotate(positions, limits=(1.0, 1.0, 1.0), about=about, rng=rng()),
        scale(positions, limit=0.1, rng=rng()),
        jitter(positions, deviation=0.1, rng=rng()),
    ):
        np.testing.assert_array_equal(np.isnan(varied), np.isnan(positions))
