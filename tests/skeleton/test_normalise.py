"""Footings: what a clip may be moved, scaled or turned by without a change of its result."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import UsageError
from poselens.pose.layouts import get_layout
from poselens.skeleton.augment import rotate
from poselens.skeleton.normalise import bone_length, face_camera, normalise, origin

LAYOUT = get_layout("ucla-20")


def clip(seed=0, dimensions=3, people=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(people, 6, 20, dimensions)).astype(np.float32)


def test_centre_is_the_first_sight_of_the_first_persons_centre_joint():
    positions = clip()
    positions[0, :2] = np.nan
    np.testing.assert_array_equal(origin(positions, LAYOUT), positions[0, 2, LAYOUT.centre])
    centred = normalise(positions, layout=LAYOUT, footing="centre")
    np.testing.assert_array_equal(centred, positions - positions[0, 2, LAYOUT.centre])


def test_centre_without_any_sight_of_it_is_the_mean_of_what_is_seen():
    positions = clip()
    positions[:, :, LAYOUT.centre] = np.nan
    np.testing.assert_allclose(
        origin(positions, LAYOUT), np.nanmean(positions, axis=(0, 1, 2)), rtol=1e-6
    )


def test_bone_length_is_a_mean_over_known_bones_in_loops():
    positions = clip()
    positions[0, 1, 4] = np.nan
    lengths = [
        np.linalg.norm(positions[0, t, joint] - positions[0, t, parent])
        for t in range(6)
        for joint, parent in LAYOUT.edges
        if np.isfinite(positions[0, t, [joint, parent]]).all()
    ]
    assert bone_length(positions, LAYOUT) == pytest.approx(np.mean(lengths), rel=1e-5)
    assert bone_length(np.full_like(positions, np.nan), LAYOUT) == 0.0


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.25, 4), shift=st.floats(-5, 5))
@pytest.mark.parametrize("footing", ["body", "range", "box"])
def test_size_and_place_do_not_matter(footing, scale, shift):
    moved = (clip() * scale + shift).astype(np.float32)
    expected = normalise(clip(), layout=LAYOUT, footing=footing)
    found = normalise(moved, layout=LAYOUT, footing=footing)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_range_and_box_fill_their_interval():
    ranged = normalise(clip(), layout=LAYOUT, footing="range")
    np.testing.assert_allclose(ranged.min(axis=(0, 1, 2)), -1, atol=1e-6)
    np.testing.assert_allclose(ranged.max(axis=(0, 1, 2)), 1, atol=1e-6)
    boxed = normalise(clip(dimensions=2) * [3, 1], layout=LAYOUT, footing="box")
    assert np.abs(boxed).max() == pytest.approx(1)
    assert np.abs(boxed[..., 1]).max() < 0.9


def test_frame_puts_the_middle_at_zero_and_the_lower_edge_at_one():
    corners = np.zeros((1, 1, 20, 2), dtype=np.float32)
    corners[0, 0, 0] = 640, 360
    corners[0, 0, 1] = 1280, 720
    found = normalise(corners, layout=LAYOUT, footing="frame", frame_size=(720, 1280))
    np.testing.assert_allclose(found[0, 0, :2], [[0, 0], [1280 / 720, 1]])


def test_frame_without_a_size_is_refused():
    with pytest.raises(UsageError, match="no frame size") as fault:
        normalise(clip(dimensions=2), layout=LAYOUT, footing="frame")
    assert fault.value.code == "CFG-023"


@pytest.mark.parametrize("footing", ["centre", "body", "range", "box"])
def test_a_single_point_is_moved_and_not_blown_up(footing):
    point = np.full((1, 3, 20, 3), 7, dtype=np.float32)
    np.testing.assert_array_equal(normalise(point, layout=LAYOUT, footing=footing), 0)


@settings(max_examples=25, deadline=None)
@given(angle=st.floats(-3.1, 3.1), seed=st.integers(0, 5))
def test_facing_undoes_any_turn_about_the_vertical(angle, seed):
    positions = clip(seed)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], dtype=np.float32)
    centre = origin(positions, LAYOUT)
    turned = ((positions - centre) @ turn.T + centre).astype(np.float32)
    expected = face_camera(positions, LAYOUT)
    np.testing.assert_allclose(face_camera(turned, LAYOUT), expected, atol=1e-4)
    shoulders = (LAYOUT.index("left_shoulder"), LAYOUT.index("right_shoulder"))
    line = (expected[0, :, shoulders[0]] - expected[0, :, shoulders[1]]).mean(axis=0)
    assert line[0] > 0
    assert line[2] == pytest.approx(0, abs=1e-5)


def test_facing_needs_a_line_that_is_not_vertical():
    positions = clip(people=1)
    positions[:, :, LAYOUT.index("left_shoulder")] = np.nan
    np.testing.assert_array_equal(face_camera(positions, LAYOUT), positions)
    upright = np.zeros((1, 2, 20, 3), dtype=np.float32)
    upright[:, :, LAYOUT.index("left_shoulder"), 1] = 1
    np.testing.assert_array_equal(face_camera(upright, LAYOUT), upright)


def test_the_vertical_may_be_z():
    positions = clip()
    swapped = positions[..., [0, 2, 1]]
    expected = face_camera(positions, LAYOUT)[..., [0, 2, 1]]
    np.testing.assert_allclose(face_camera(swapped, LAYOUT, vertical=2), expected, atol=1e-5)


def test_facing_keeps_heights_and_distances():
    positions = clip()
    faced = face_camera(positions, LAYOUT)
    np.testing.assert_allclose(faced[..., 1], positions[..., 1], atol=1e-6)
    turned = rotate(
        positions,
        limits=(1.0, 1.0, 1.0),
        about=np.zeros(3, np.float32),
        rng=np.random.default_rng(0),
    )
    for moved in (faced, turned):
        assert bone_length(moved, LAYOUT) == pytest.approx(bone_length(positions, LAYOUT), 1e-5)
