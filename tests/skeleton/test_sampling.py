"""Frames in, frames out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.skeleton.sampling import choose, crop_and_resize, random_sample, uniform_sample


def at(frames):
    """Return where in time each place of the window is read, clip by clip."""
    if frames.after is None:
        return frames.before.double().numpy()
    return torch.lerp(frames.before.double(), frames.after.double(), frames.weight.double()).numpy()


def lengths(*numbers):
    return torch.tensor(numbers)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 40), window=st.integers(1, 40))
def test_resize_interpolates_between_the_first_and_the_last_frame(frames, window):
    found = at(choose(lengths(frames, 7), window=window, sample="resize"))
    step = (frames - 1) / (window - 1) if window > 1 else 0.0
    np.testing.assert_allclose(found[0], [place * step for place in range(window)], atol=1e-5)
    chosen = choose(lengths(frames), window=window, sample="resize")
    assert ((chosen.after - chosen.before) <= 1).all()
    assert ((chosen.weight >= 0) & (chosen.weight <= 1)).all()


def test_without_draws_the_share_lies_in_the_middle():
    kept = at(crop_and_resize(lengths(100), window=90, share=0.9))[0]
    assert (kept[0], kept[-1]) == (5, 94)
    np.testing.assert_allclose(np.diff(kept), 1)
    whole = at(crop_and_resize(lengths(100), window=100, share=1.0))[0]
    assert (whole[0], whole[-1]) == (0, 99)


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 80), share=st.floats(0.5, 1), place=st.floats(0, 1))
def test_a_random_share_stays_inside_and_has_its_length(frames, share, place):
    drawn = {"share": torch.tensor([share]).double(), "place": torch.tensor([place]).double()}
    kept = at(crop_and_resize(lengths(frames), window=16, **drawn))[0]
    assert kept.shape == (16,)
    assert 0 <= kept[0] <= kept[-1] <= frames - 1
    length = kept[-1] - kept[0] + 1
    assert length == pytest.approx(max(round(drawn["share"].item() * frames), 1), abs=1e-5)


def test_every_place_of_a_crop_is_reached_alike():
    place = rand(3000)
    share = torch.full((3000,), 0.7, dtype=torch.float64)
    first = at(crop_and_resize(torch.full((3000,), 10), window=8, share=share, place=place))[:, 0]
    counts = np.bincount(first.astype(int), minlength=4)
    assert len(counts) == 4
    assert counts.min() > 650


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 60), window=st.integers(1, 40), seed=st.integers(0, 9))
def test_uniform_sampling_takes_one_frame_of_each_part_in_order(frames, window, seed):
    for inside in (None, rand(1, window, seed=seed)):
        taken = at(uniform_sample(lengths(frames), window=window, inside=inside))[0]
        for part, frame in enumerate(taken):
            assert np.floor(part * frames / window) <= frame < (part + 1) * frames / window + 1e-9


def test_uniform_sampling_without_draws_takes_the_middle():
    assert at(uniform_sample(lengths(12), window=4))[0].tolist() == [1, 4, 7, 10]


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 60), window=st.integers(1, 40), seed=st.integers(0, 9))
def test_random_frames_exist_and_stand_in_order(frames, window, seed):
    inside = rand(2, window, seed=seed)
    inside[1] = 1 - 2**-24
    taken = at(random_sample(lengths(frames, frames), window=window, inside=inside))
    assert (np.diff(taken, axis=1) >= 0).all()
    assert 0 <= taken.min() <= taken.max() <= frames - 1


def test_every_frame_is_drawn_alike_and_may_come_twice():
    taken = at(random_sample(torch.full((500,), 10), window=8, inside=rand(500, 8))).astype(int)
    counts = np.bincount(taken.ravel(), minlength=10)
    assert counts.min() > 320
    assert counts.max() < 480
    assert (np.diff(taken, axis=1) == 0).any()


def test_at_test_random_frames_are_evenly_spaced_from_first_to_last():
    assert at(random_sample(lengths(9, 3), window=5)).tolist() == [[0, 2, 4, 6, 8], [0, 0, 1, 1, 2]]


@pytest.mark.parametrize("sample", ["crop", "uniform", "random", "resize"])
def test_a_clip_is_sampled_alike_in_any_company(sample):
    drawn = {"place": rand(5).double(), "inside": rand(5, 12)}
    company = lengths(1, 2, 12, 30, 200)
    together = at(choose(company, window=12, sample=sample, share=0.8, **drawn))
    for row in range(5):
        own = {name: numbers[row : row + 1] for name, numbers in drawn.items()}
        alone = at(choose(company[row : row + 1], window=12, sample=sample, share=0.8, **own))
        np.testing.assert_array_equal(alone[0], together[row])
