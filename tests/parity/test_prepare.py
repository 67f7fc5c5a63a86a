"""Whole batches are prepared as single clips were, in numpy: ``tests/support/one_clip.py``."""

import itertools

import numpy as np
import one_clip
import pytest
import torch

from poselens.pose.layouts import get_layout
from poselens.skeleton.augment import Draws, linear_maps, turns
from poselens.skeleton.prepare import ReadyBatch, prepare, prepare_batch
from poselens.skeleton.ready import ready

LAYOUT = get_layout("ucla-20")
WINDOW = 24
FOOTINGS = ["centre", "body", "range", "frame", "box", "none"]


def clips(dimensions=3, seed=0):
    """Clips of many lengths, with gaps, lost joints, lost bones, absent and lacking people."""
    draw = np.random.default_rng(seed)
    made = []
    for frames, people in ((1, 1), (2, 2), (7, 2), (30, 1), (41, 3), (90, 2), (24, 2)):
        clip = draw.normal(size=(people, frames, 20, dimensions)) * [0.5, 1, 2][:dimensions] + 3
        made.append(clip.astype(np.float32))
    made[2][0, 2:4, 5] = np.nan
    made[2][1] = np.nan
    made[3][:, :4] = np.nan
    made[3][:, -3:] = np.nan
    made[3][0, 6, 8, 1] = np.inf
    made[4][0] = np.nan
    made[4][:, :, LAYOUT.centre] = np.nan
    made[5][draw.random(made[5].shape[:3]) < 0.3] = np.nan
    made[5][0, :, 4] = np.nan
    return made


def batched(positions, *, people=2, face=False, longest=None, draws=None, **options):
    """Prepare a list of clips as one batch, among rows that belong to nobody."""
    found = [ready(clip, layout=LAYOUT, people=people, face=face) for clip in positions]
    frames = torch.tensor([len(clip.positions) for clip in found])
    foreign = torch.full((1, *found[0].positions.shape[1:]), 1e9)
    rows = torch.cat([foreign, *(torch.from_numpy(clip.positions) for clip in found), foreign])
    batch = ReadyBatch(
        rows=rows,
        start=1 + frames.cumsum(0) - frames,
        frames=frames,
        origin=torch.from_numpy(np.array([clip.origin for clip in found])),
        length=torch.tensor([clip.length for clip in found]),
        longest=longest or int(frames.max()),
    )
    return prepare_batch(batch, layout=LAYOUT, draws=draws or Draws(), **options).numpy()


def settings(footing, sample, dimensions):
    given = {"footing": footing, "sample": sample, "window": WINDOW}
    return given | ({"frame_size": (7, 9)} if footing == "frame" else {})


def compare(found, expected):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


CASES = [
    (footing, sample, face, dimensions)
    for footing, sample, (face, dimensions) in itertools.product(
        FOOTINGS, ["crop", "uniform", "resize"], [(False, 3), (True, 3), (False, 2)]
    )
    # a frame has two coordinates
    if footing != "frame" or dimensions == 2
]


@pytest.mark.parametrize(("footing", "sample", "face", "dimensions"), CASES)
def test_at_test_a_batch_is_its_clips(footing, sample, face, dimensions):
    given = settings(footing, sample, dimensions)
    found = batched(clips(dimensions), face=face, interval=0.95, **given)
    for clip, prepared in zip(clips(dimensions), found, strict=True):
        options = {"layout": LAYOUT, "people": 2, "face": face, **given}
        expected = one_clip.prepare(clip, interval=(0.95,), **options)
        compare(prepared, expected)
        compare(prepare(clip, interval=0.95, **options), expected)


@pytest.mark.parametrize(("footing", "sample", "face", "dimensions"), CASES)
def test_with_the_same_draws_a_batch_is_its_clips(footing, sample, face, dimensions):
    given = settings(footing, sample, dimensions)
    positions = clips(dimensions)
    count, chance = len(positions), np.random.default_rng(1)
    axes = 1 if dimensions == 2 else 3
    angles = chance.uniform(-1, 1, (count, axes))
    share, place = chance.uniform(0.5, 1, count), chance.random(count)
    inside = chance.random((count, WINDOW)).astype(np.float32)
    factors = chance.random((count, dimensions)).astype(np.float32)
    mirrored = np.arange(count) % 2 == 0
    draws = Draws(
        turn=turns(torch.from_numpy(angles), dimensions),
        share=torch.from_numpy(share),
        place=torch.from_numpy(place),
        inside=torch.from_numpy(inside),
        mirrored=torch.from_numpy(mirrored),
        linear=linear_maps(torch.from_numpy(2 * factors - 1).diag_embed(), scaling=0.2, shear=0.0),
    )
    found = batched(positions, face=face, draws=draws, **given)
    for row, clip in enumerate(positions):
        rng = one_clip.Given(
            uniform=[*angles[row], *([share[row]] if sample == "crop" else [])],
            place=place[row],
            random=[*([inside[row]] if sample == "uniform" else []), factors[row]],
        )
        expected = one_clip.prepare(
            clip,
            layout=LAYOUT,
            people=2,
            face=face,
            rotation=(1.0,) * axes,
            interval=(0.5, 1.0),
            scaling=0.2,
            mirrored=bool(mirrored[row]),
            rng=rng,
            **given,
        )
        compare(found[row], expected)


@pytest.mark.parametrize("varied", [False, True])
def test_random_frames_are_drawn_with_replacement_and_sorted_in_loops(varied):
    positions = clips()
    inside = torch.rand(len(positions), WINDOW, generator=torch.Generator().manual_seed(3))
    draws = Draws(inside=inside) if varied else Draws()
    found = batched(positions, draws=draws, sample="random", window=WINDOW, footing="none")
    for row, clip in enumerate(positions):
        whole = ready(clip, layout=LAYOUT, people=2).positions
        frames = len(whole)
        chosen = []
        for place in range(WINDOW):
            if varied:
                chosen.append(int(inside[row, place].item() * frames))
            else:
                chosen.append(place * (frames - 1) // (WINDOW - 1))
        expected = np.stack([whole[frame] for frame in sorted(chosen)])
        np.testing.assert_array_equal(found[row].transpose(1, 3, 2, 0), expected)


def test_shear_adds_shares_of_the_other_axes_in_loops():
    positions = clips()
    numbers = torch.rand(len(positions), 3, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    maps = linear_maps(numbers, scaling=0.1, shear=0.3)
    plain = batched(positions, window=WINDOW)
    found = batched(positions, window=WINDOW, draws=Draws(linear=maps))
    expected = np.zeros_like(plain)
    for row, to, of in itertools.product(range(len(positions)), range(3), range(3)):
        share = numbers[row, to, of].item() * (0.1 if to == of else 0.3) + (to == of)
        expected[row, to] += share * plain[row, of]
    compare(found, expected)
