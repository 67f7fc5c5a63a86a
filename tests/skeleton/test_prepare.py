"""The whole way from a stored skeleton to a batch."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from poselens.errors import SkeletonError
from poselens.pose.layouts import get_layout
from poselens.skeleton.normalise import normalise
from poselens.skeleton.prepare import prepare
from poselens.skeleton.sampling import crop_and_resize

LAYOUT = get_layout("ucla-20")
SHARED = Path(os.environ.get("POSELENS_SHARED", Path(__file__).parents[2].parent / "shared"))
VARIED = {
    "rotation": (0.3, 0.3, 0.3),
    "scaling": 0.1,
    "noise": 0.01,
    "dropped": 0.1,
    "interval": (0.5, 1.0),
}


def clip(people=1, frames=30, dimensions=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(people, frames, 20, dimensions)).astype(np.float32)


def test_the_result_is_ready_for_a_batch():
    found = prepare(clip(), layout=LAYOUT, people=2, window=16)
    assert found.shape == (3, 16, 20, 2)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.isfinite(found[..., 0]).all()
    assert np.isnan(found[..., 1]).all()
    assert prepare(clip(people=3), layout=LAYOUT, people=2, window=16).shape[-1] == 2


def test_in_testing_it_is_footing_and_central_share():
    centred = normalise(clip(), layout=LAYOUT, footing="centre")
    expected = crop_and_resize(centred, window=16, interval=(0.95,)).transpose(3, 1, 2, 0)
    found = prepare(clip(), layout=LAYOUT, window=16)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (np.abs(found[:, 0, LAYOUT.centre]) < 2).all()


def test_without_a_generator_nothing_varies():
    plain = prepare(clip(), layout=LAYOUT, interval=(0.5, 1.0))
    np.testing.assert_array_equal(prepare(clip(), layout=LAYOUT, **VARIED), plain)


def test_the_same_seed_prepares_the_same_and_another_does_not():
    def draw(seed):
        return prepare(clip(), layout=LAYOUT, rng=np.random.default_rng(seed), **VARIED)

    np.testing.assert_array_equal(draw(4), draw(4))
    assert not np.array_equal(draw(4), draw(5), equal_nan=True)


@pytest.mark.parametrize("sample", ["crop", "uniform", "resize"])
@pytest.mark.parametrize("frames", [1, 2, 200])
def test_any_length_becomes_the_window(sample, frames):
    found = prepare(
        clip(frames=frames),
        layout=LAYOUT,
        window=24,
        sample=sample,
        rng=np.random.default_rng(0),
    )
    assert found.shape == (3, 24, 20, 1)
    assert np.isfinite(found).all()


def test_a_joint_known_in_part_is_missing():
    positions = clip()
    positions[0, :, 3, 1] = np.nan
    positions[0, :, 4] = np.inf
    missing = np.isnan(prepare(positions, layout=LAYOUT))
    assert missing[:, :, [3, 4]].all()
    assert missing.mean() == pytest.approx(2 / 20)


def test_mirrored_clips_swap_sides():
    found = prepare(clip(), layout=LAYOUT, mirrored=True)
    expected = prepare(clip(), layout=LAYOUT)[:, :, list(LAYOUT.mirror)]
    expected[0] *= -1
    np.testing.assert_array_equal(found, expected)


def test_pixels_in_two_dimensions_turn_in_the_plane():
    pixels = clip(dimensions=2) * 50 + 300
    found = prepare(
        pixels,
        layout=LAYOUT,
        footing="frame",
        frame_size=(600, 800),
        rotation=(0.2,),
        rng=np.random.default_rng(0),
    )
    assert found.shape == (2, 64, 20, 1)
    assert np.abs(found).max() < 2


def test_facing_makes_the_answer_independent_of_the_view():
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=np.float32)
    views = [prepare(p, layout=LAYOUT, face=True) for p in (clip(), clip() @ turn.T)]
    np.testing.assert_allclose(views[0], views[1], atol=1e-4)


def test_the_input_is_left_alone():
    positions = clip()
    prepare(positions, layout=LAYOUT, rng=np.random.default_rng(0), mirrored=True, **VARIED)
    np.testing.assert_array_equal(positions, clip())


def test_wrong_joint_counts_and_empty_clips_are_refused():
    with pytest.raises(SkeletonError, match="found 20 joints, expected 17") as fault:
        prepare(clip(), layout=get_layout("coco-17"))
    assert fault.value.code == "SKEL-004"
    with pytest.raises(SkeletonError, match="no known joint in 30 frames of 1 people"):
        prepare(np.full_like(clip(), np.nan), layout=LAYOUT)


def test_somebody_never_seen_takes_nobodys_place():
    nobody = np.full_like(clip(), np.nan)
    found = prepare(np.concatenate([nobody, clip()]), layout=LAYOUT, people=1)
    np.testing.assert_array_equal(found, prepare(clip(), layout=LAYOUT, people=1))


@pytest.mark.shared
def test_facing_brings_the_views_of_one_performance_together():
    folder = SHARED / "data" / "nw_ucla" / "all_sqe"
    if not folder.is_dir():
        pytest.skip(f"NW-UCLA is not at {folder}")
    gaps: dict[bool, list[float]] = {False: [], True: []}
    for first in sorted(folder.glob("*_v01.json"))[::10]:
        clips = [first.with_name(first.name.replace("v01", f"v0{view}")) for view in (1, 2, 3)]
        joints = [json.loads(path.read_text())["skeletons"] for path in clips if path.is_file()]
        for face, found in gaps.items():
            views = [
                prepare(np.array(view, np.float32)[None], layout=LAYOUT, footing="body", face=face)
                for view in joints
            ]
            found += [float(np.linalg.norm(views[0] - view, axis=0).mean()) for view in views[1:]]
    assert len(gaps[True]) > 50
    assert np.median(gaps[True]) < 0.95 * np.median(gaps[False])
