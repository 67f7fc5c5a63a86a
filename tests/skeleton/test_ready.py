"""What is done once a clip."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import SkeletonError
from poselens.pose.layouts import get_layout
from poselens.skeleton.ready import bone_length, face_camera, fill_gaps, origin, ready, trim

LAYOUT = get_layout("ucla-20")


def clip(seed=0, dimensions=3, people=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(people, 6, 20, dimensions)).astype(np.float32)


def ramp(frames, people=1, joints=2):
    """Every coordinate is its frame number."""
    line = np.arange(frames, dtype=np.float32)[None, :, None, None]
    return np.broadcast_to(line, (people, frames, joints, 3)).copy()


def test_trim_drops_frames_of_nobody_at_both_ends_only():
    clip = ramp(10, people=2)
    clip[0, :2] = clip[0, 5] = clip[0, 8:] = np.nan
    clip[1, :3] = clip[1, 5] = clip[1, 7:] = np.nan
    assert trim(clip)[0, :, 0, 0].tolist()[0] == 2
    assert trim(clip).shape[1] == 6


def test_a_clip_without_anyone_is_refused():
    with pytest.raises(SkeletonError, match="no known joint in 4 frames of 2 people") as fault:
        trim(np.full((2, 4, 3, 3), np.nan, dtype=np.float32))
    assert fault.value.code == "SKEL-020"


def test_gaps_are_bridged_and_ends_held():
    clip = ramp(6)
    clip[0, [0, 3, 5], 1] = np.nan
    clip[0, :, 0] = np.nan
    filled = fill_gaps(clip)
    assert filled[0, :, 1, 2].tolist() == [1, 1, 2, 3, 4, 4]
    assert np.isnan(filled[0, :, 0]).all()
    assert np.isnan(clip[0, 3, 1]).all(), "the input is left alone"


@given(st.integers(0, 200))
def test_gaps_are_filled_as_numpy_interpolates(seed):
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(2, int(rng.integers(1, 12)), 4, 3)).astype(np.float32)
    positions[rng.random(positions.shape[:3]) < rng.random()] = np.nan
    filled = fill_gaps(positions)
    frames = np.arange(positions.shape[1])
    for person in range(2):
        for joint in range(4):
            here = np.isfinite(positions[person, :, joint, 0])
            if not here.any():
                assert np.isnan(filled[person, :, joint]).all()
                continue
            for axis in range(3):
                known = positions[person, here, joint, axis]
                expected = np.interp(frames, frames[here], known)
                np.testing.assert_allclose(filled[person, :, joint, axis], expected, atol=1e-6)


def test_a_joint_is_known_in_every_frame_or_in_none():
    positions = clip()
    positions[np.random.default_rng(1).random((2, 6, 20)) < 0.5] = np.nan
    positions[1, :, 3, 2] = np.inf
    found = np.isnan(ready(positions, layout=LAYOUT, people=2).positions)
    assert (found == found[:1, :, :, :1]).all()
    assert found[0, 1, 3].all()
    assert found.mean() < 0.1


def test_people_stand_in_order_and_lacking_ones_are_missing():
    people = clip(people=3)
    people[0] = np.nan
    found = ready(people, layout=LAYOUT, people=4).positions
    assert found.shape == (6, 4, 20, 3)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found[:, :2], people[1:].transpose(1, 0, 2, 3))
    assert np.isnan(found[:, 2:]).all()
    np.testing.assert_array_equal(ready(people, layout=LAYOUT).positions[:, 0], people[1])


def test_origin_and_length_are_those_of_the_finished_positions():
    made = ready(clip(), layout=LAYOUT, people=2, face=True)
    people = made.positions.transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(made.origin, origin(people, LAYOUT))
    assert made.length == bone_length(people, LAYOUT)


def test_wrong_joint_counts_are_refused():
    with pytest.raises(SkeletonError, match="found 20 joints, expected 17") as fault:
        ready(clip(), layout=get_layout("coco-17"))
    assert fault.value.code == "SKEL-004"


def test_the_input_is_left_alone():
    positions = clip()
    positions[0, 2] = np.nan
    before = positions.copy()
    made = ready(positions, layout=LAYOUT, people=2, face=True)
    made.positions[:] = 0
    np.testing.assert_array_equal(positions, before)


def test_centre_is_the_first_sight_of_the_first_persons_centre_joint():
    positions = clip()
    positions[0, :2] = np.nan
    np.testing.assert_array_equal(origin(positions, LAYOUT), positions[0, 2, LAYOUT.centre])


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
    assert bone_length(faced, LAYOUT) == pytest.approx(bone_length(positions, LAYOUT), 1e-5)
