"""The whole way from a stored skeleton to a batch."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poselens.errors import SkeletonError, UsageError
from poselens.pose.layouts import get_layout
from poselens.skeleton.augment import Draws, draw, jitter, lost_joints
from poselens.skeleton.prepare import ReadyBatch, prepare, prepare_batch
from poselens.skeleton.ready import ready
from poselens.skeleton.sampling import crop_and_resize

LAYOUT = get_layout("ucla-20")
SHARED = Path(os.environ.get("POSELENS_SHARED", Path(__file__).parents[2].parent / "shared"))


def clip(people=1, frames=30, dimensions=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(people, frames, 20, dimensions)).astype(np.float32)


def batch(positions, people=2, longest=None, rows_between=0):
    """Stand clips one behind the other, with rows that belong to nobody between them."""
    found = [ready(clip, layout=LAYOUT, people=people) for clip in positions]
    rows, start = [], []
    for one in found:
        rows.append(np.full((rows_between, *one.positions.shape[1:]), 1e6, np.float32))
        start.append(sum(map(len, rows)))
        rows.append(one.positions)
    frames = [len(one.positions) for one in found]
    return ReadyBatch(
        rows=torch.from_numpy(np.concatenate(rows)),
        start=torch.tensor(start),
        frames=torch.tensor(frames),
        origin=torch.from_numpy(np.array([one.origin for one in found])),
        length=torch.tensor([one.length for one in found]),
        longest=longest or max(frames),
    )


def drawn(count, *, seed=0, dimensions=3, **options):
    return draw(
        torch.ones(count, dtype=torch.bool),
        dimensions=dimensions,
        generator=torch.Generator().manual_seed(seed),
        **{"window": 16, "sample": "crop", **options},
    )


def varied(count, seed=0, sample="crop"):
    """Everything at once."""
    generator = torch.Generator().manual_seed(seed)
    options = {"rotation": (0.3,) * 3, "scaling": 0.1, "shear": 0.1, "flip": 0.5}
    return replace(
        drawn(count, seed=seed, sample=sample, **options),
        jitter=jitter((count, 16, 2, 20, 3), deviation=0.01, generator=generator),
        lost=lost_joints((count, 2, 20), share=0.1, generator=generator),
    )


def test_the_result_is_ready_for_a_batch():
    found = prepare(clip(), layout=LAYOUT, people=2, window=16)
    assert found.shape == (3, 16, 20, 2)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.isfinite(found[..., 0]).all()
    assert np.isnan(found[..., 1]).all()
    assert prepare(clip(people=3), layout=LAYOUT, people=2, window=16).shape[-1] == 2


def test_at_test_it_is_footing_and_central_share():
    ready_clip = ready(clip(), layout=LAYOUT)
    frames = crop_and_resize(torch.tensor([30]), window=16, share=0.95)
    centred = clip()[0] - ready_clip.origin
    first, last = centred[frames.before[0]], centred[frames.after[0]]
    expected = first + frames.weight[0][:, None, None].numpy() * (last - first)
    found = prepare(clip(), layout=LAYOUT, window=16)
    np.testing.assert_allclose(found[..., 0], expected.transpose(2, 0, 1), atol=1e-6)
    assert (np.abs(found[:, 0, LAYOUT.centre]) < 2).all()


@pytest.mark.parametrize("sample", ["crop", "uniform", "random", "resize"])
@pytest.mark.parametrize("frames", [1, 2, 200])
def test_any_length_becomes_the_window(sample, frames):
    whole = clip(frames=frames)
    draws = drawn(1, sample=sample, window=24)
    for found in (
        prepare(whole, layout=LAYOUT, window=24, sample=sample)[None],
        prepare_batch(
            batch([whole], people=1), layout=LAYOUT, window=24, sample=sample, draws=draws
        ),
    ):
        assert found.shape == (1, 3, 24, 20, 1)
        assert bool(torch.as_tensor(found).isfinite().all())


def test_a_joint_known_in_part_is_missing():
    positions = clip()
    positions[0, :, 3, 1] = np.nan
    positions[0, :, 4] = np.inf
    missing = np.isnan(prepare(positions, layout=LAYOUT))
    assert missing[:, :, [3, 4]].all()
    assert missing.mean() == pytest.approx(2 / 20)


def test_mirrored_clips_swap_sides():
    company = batch([clip(), clip(frames=12)])
    found = prepare_batch(company, layout=LAYOUT, draws=Draws(mirrored=torch.tensor([True, False])))
    plain = prepare_batch(company, layout=LAYOUT)
    expected = plain[0][:, :, list(LAYOUT.mirror)]
    expected[0] *= -1
    assert torch.equal(found[0, ..., 0], expected[..., 0])
    torch.testing.assert_close(found[1], plain[1], equal_nan=True)


def test_pixels_in_two_dimensions_turn_in_the_plane():
    pixels = clip(dimensions=2) * 50 + 300
    options = {"layout": LAYOUT, "footing": "frame", "frame_size": (600, 800)}
    draws = drawn(1, dimensions=2, rotation=(0.2,), window=64)
    found = prepare_batch(batch([pixels]), draws=Draws(turn=draws.turn), **options)
    plain = prepare_batch(batch([pixels]), **options)
    assert found.shape == (1, 2, 64, 20, 2)
    assert found.nan_to_num().abs().max() < 2
    assert not torch.equal(found.nan_to_num(), plain.nan_to_num())
    # in frames of one shape the distance of two joints is kept
    gaps = [(part[0, :, :, 3, 0] - part[0, :, :, 9, 0]).norm(dim=0) for part in (found, plain)]
    torch.testing.assert_close(*gaps, atol=1e-4, rtol=1e-4)


def test_facing_makes_the_answer_independent_of_the_view():
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=np.float32)
    views = [prepare(p, layout=LAYOUT, face=True) for p in (clip(), clip() @ turn.T)]
    np.testing.assert_allclose(views[0], views[1], atol=1e-4)


def test_the_input_is_left_alone():
    positions = clip()
    prepare(positions, layout=LAYOUT, face=True, footing="range")
    np.testing.assert_array_equal(positions, clip())
    company = batch([clip(), clip(frames=9)])
    rows = company.rows.clone()
    prepare_batch(company, layout=LAYOUT, window=16, footing="body", draws=varied(2))
    assert torch.equal(company.rows.nan_to_num(), rows.nan_to_num())


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


SAMPLES = ["crop", "uniform", "random", "resize"]
FOOTINGS = ["centre", "body", "range", "box", "none"]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    people=st.sampled_from([1, 2]),
    longer=st.integers(0, 9),
    between=st.integers(0, 2),
    footing=st.sampled_from(FOOTINGS),
    sample=st.sampled_from(SAMPLES),
    seed=st.integers(0, 99),
)
def test_a_clip_does_not_feel_its_company(lengths, people, longer, between, footing, sample, seed):
    company = [clip(people=people, frames=frames) + place for place, frames in enumerate(lengths)]
    draws = varied(len(company), seed, sample)
    options = {"layout": LAYOUT, "window": 16, "footing": footing, "sample": sample}
    stood = batch(company, longest=max(lengths) + longer, rows_between=between)
    together = prepare_batch(stood, draws=draws, **options)
    for row, one in enumerate(company):
        own = draws.at(slice(row, row + 1))
        alone = prepare_batch(batch([one]), draws=own, **options)
        assert torch.equal(alone.isnan()[0], together.isnan()[row])
        torch.testing.assert_close(
            alone.nan_to_num()[0], together.nan_to_num()[row], atol=1e-6, rtol=1e-6
        )


@given(footing=st.sampled_from(["centre", "body", "none"]), seed=st.integers(0, 99))
def test_a_turn_keeps_the_distances_of_joints(footing, seed):
    company = batch([clip(frames=9), clip(people=2)])
    options = {"layout": LAYOUT, "window": 16, "footing": footing, "sample": "resize"}
    turn = drawn(2, seed=seed, rotation=(3.0, 3.0, 3.0)).turn
    plain, turned = (
        prepare_batch(company, draws=Draws(turn=each), **options).nan_to_num()
        for each in (None, turn)
    )
    gaps = [(part[:, :, :, 1:] - part[:, :, :, :1]).norm(dim=1) for part in (plain, turned)]
    torch.testing.assert_close(*gaps, atol=1e-4, rtol=1e-4)


def test_range_is_measured_after_the_turn_over_every_frame():
    company = batch([clip(frames=60), clip(frames=9)])
    turn = drawn(2, rotation=(1.0, 1.0, 1.0)).turn
    options = {"layout": LAYOUT, "window": 60, "footing": "range"}
    whole = prepare_batch(company, sample="resize", draws=Draws(turn=turn), **options)[0, ..., 0]
    torch.testing.assert_close(whole.amax(dim=(1, 2)), torch.ones(3))
    torch.testing.assert_close(whole.amin(dim=(1, 2)), -torch.ones(3))
    part = prepare_batch(company, interval=0.3, draws=Draws(turn=turn), **options)[0, ..., 0]
    assert part.amax() < 1


def test_jitter_and_lost_joints_come_last():
    company = batch([clip(people=2), clip(people=2, frames=5)])
    added, lost = torch.ones(2, 16, 2, 20, 3), torch.zeros(2, 2, 20, dtype=torch.bool)
    lost[1, 1, 4] = True
    linear = 3 * torch.eye(3).repeat(2, 1, 1)
    options = {"layout": LAYOUT, "window": 16}
    plain = prepare_batch(company, **options)
    moved = prepare_batch(company, draws=Draws(jitter=added, lost=lost, linear=linear), **options)
    expected = 3 * plain + 1
    expected[1, :, :, 4, 1] = torch.nan
    torch.testing.assert_close(moved, expected, equal_nan=True)


def test_a_frame_without_a_size_is_refused():
    with pytest.raises(UsageError, match="no frame size") as fault:
        prepare(clip(dimensions=2), layout=LAYOUT, footing="frame")
    assert fault.value.code == "CFG-023"


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
