"""Frames in, frames out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import SkeletonError
from poselens.skeleton.sampling import crop_and_resize, fill_gaps, resize, trim, uniform_sample


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


def looped_resize(clip, window):
    frames = clip.shape[1]
    out = np.empty((clip.shape[0], window, *clip.shape[2:]), dtype=np.float64)
    for w in range(window):
        at = w * (frames - 1) / (window - 1) if window > 1 else 0.0
        low = min(int(at), frames - 1)
        high = min(low + 1, frames - 1)
        out[:, w] = clip[:, low] + (at - low) * (clip[:, high] - clip[:, low])
    return out


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 40), window=st.integers(1, 40))
def test_resize_interpolates_between_the_first_and_the_last_frame(frames, window):
    clip = np.random.default_rng(frames).normal(size=(2, frames, 3, 2)).astype(np.float32)
    np.testing.assert_allclose(resize(clip, window), looped_resize(clip, window), atol=1e-5)


def test_without_a_generator_the_share_lies_in_the_middle():
    kept = crop_and_resize(ramp(100), window=90, interval=(0.9,))[0, :, 0, 0]
    assert (kept[0], kept[-1]) == (5, 94)
    np.testing.assert_allclose(np.diff(kept), 1)
    whole = crop_and_resize(ramp(100), window=100, interval=(0.5, 1.0))[0, :, 0, 0]
    assert (whole[0], whole[-1]) == (0, 99)


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 80), seed=st.integers(0, 9))
def test_a_random_share_stays_inside_and_within_the_interval(frames, seed):
    rng = np.random.default_rng(seed)
    kept = crop_and_resize(ramp(frames), window=16, interval=(0.5, 1.0), rng=rng)[0, :, 0, 0]
    assert kept.shape == (16,)
    assert 0 <= kept[0] <= kept[-1] <= frames - 1
    length = kept[-1] - kept[0] + 1
    assert round(0.5 * frames) <= max(length, 1) <= frames


def test_random_shares_differ_and_repeat_with_the_seed():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return crop_and_resize(ramp(60), window=8, interval=(0.5, 1.0), rng=rng)

    assert not np.array_equal(draw(1), draw(2))
    np.testing.assert_array_equal(draw(1), draw(1))


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 60), window=st.integers(1, 40), seed=st.integers(0, 9))
def test_uniform_sampling_takes_one_frame_of_each_part_in_order(frames, window, seed):
    for rng in (None, np.random.default_rng(seed)):
        taken = uniform_sample(ramp(frames), window=window, rng=rng)[0, :, 0, 0]
        for part, frame in enumerate(taken):
            assert np.floor(part * frames / window) <= frame < (part + 1) * frames / window + 1e-9


def test_uniform_sampling_without_a_generator_takes_the_middle():
    assert uniform_sample(ramp(12), window=4)[0, :, 0, 0].tolist() == [1, 4, 7, 10]
