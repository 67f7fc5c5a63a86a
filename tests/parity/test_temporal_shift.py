"""The shift against the loop of its definition, and what has to survive it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.rgb.memory import Memory
from poselens.rgb.temporal_shift import TemporalShift, shift


def shift_by_loops(clip, fraction, *, causal=False):
    clips, frames, channels = clip.shape[:3]
    moved = int(channels * fraction)
    out = torch.zeros_like(clip)
    for n in range(clips):
        for t in range(frames):
            for c in range(channels):
                if causal:
                    source = t - 1 if c < moved else t
                else:
                    source = t + 1 if c < moved else t - 1 if c < 2 * moved else t
                if 0 <= source < frames:
                    out[n, t, c] = clip[n, source, c]
    return out


def channels_last(clip):
    frames = clip.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return frames.unflatten(0, clip.shape[:2])


sizes = st.tuples(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 17), st.integers(1, 3), st.integers(1, 3)
)


@settings(max_examples=40, deadline=None)
@given(sizes, st.sampled_from([1 / 8, 1 / 4, 1 / 2]), st.booleans(), st.booleans())
def test_every_channel_comes_from_the_frame_the_definition_names(size, fraction, last, causal):
    clip = torch.arange(1.0, 1 + torch.Size(size).numel()).reshape(size)
    given_clip = channels_last(clip) if last else clip
    expected = shift_by_loops(clip, fraction, causal=causal)
    assert torch.equal(shift(given_clip, fraction, causal=causal), expected)


def in_chunks(part, clip, lengths):
    """Hand ``clip`` over in chunks; return what comes out of all, and the last memory."""
    outputs, kept = [], ()
    for chunk in clip.split(lengths, dim=1):
        memory = Memory(kept)
        outputs.append(part(chunk, memory))
        kept = memory.after
    return torch.cat(outputs, dim=1), kept


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.integers(1, 17),
    st.sampled_from([1 / 8, 1 / 2, 1.0]),
    st.booleans(),
)
def test_a_causal_shift_in_chunks_is_that_of_the_whole_clip(lengths, channels, fraction, last):
    clip = torch.randn(2, sum(lengths), channels, 2, 3)
    clip = channels_last(clip) if last else clip
    part = TemporalShift(fraction=fraction, causal=True)
    found, kept = in_chunks(part, clip, lengths)
    assert torch.equal(found, shift_by_loops(clip, fraction, causal=True))
    assert torch.equal(kept[0], clip[:, -1:, : int(channels * fraction)])


def test_what_is_kept_for_the_next_chunk_is_a_copy():
    clip = torch.randn(1, 1, 16, 2, 3)
    _, (kept,) = in_chunks(TemporalShift(causal=True), clip, [1])
    assert kept.untyped_storage().nbytes() == 4 * 2 * 2 * 3
    clip.zero_()
    assert kept.abs().sum() > 0


def test_an_ordinary_shift_leaves_nothing_behind():
    memory = Memory()
    clip = torch.randn(1, 3, 16, 2, 3)
    assert torch.equal(TemporalShift()(clip, memory), shift(clip))
    assert memory.after == ()


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 6), st.integers(8, 24))
def test_reversed_in_time_and_shifted_again_the_inner_frames_are_back(frames, channels):
    clip = torch.randn(2, frames, channels, 2, 3)
    back = shift(shift(clip).flip(1)).flip(1)
    moved = channels // 8
    # Time reversed, the first eighth goes back to where it came from, so does nothing else.
    assert torch.equal(back[:, 1:, :moved], clip[:, 1:, :moved])
    assert torch.equal(back[:, :, 2 * moved :], clip[:, :, 2 * moved :])


def test_clips_of_a_batch_do_not_meet():
    clips = torch.randn(3, 4, 8, 2, 2)
    order = [2, 0, 1]
    assert torch.equal(shift(clips)[order], shift(clips[order]))
    assert torch.equal(shift(clips)[1:2], shift(clips[1:2]))


def test_a_single_frame_keeps_only_what_does_not_move():
    clip = torch.ones(1, 1, 8, 1, 1)
    assert shift(clip).flatten().tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_too_few_channels_for_the_fraction_stay_as_they_are():
    clip = torch.randn(1, 3, 7, 2, 2)
    assert torch.equal(shift(clip), clip)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_memory_layout_is_kept(last, causal):
    clip = torch.randn(2, 3, 16, 4, 5)
    clip = channels_last(clip) if last else clip
    assert shift(clip, causal=causal).stride() == clip.stride()
    before = clip[:, :1, :2].clone()
    assert shift(clip, causal=True, before=before).stride() == clip.stride()


def test_gradient_is_the_shift_the_other_way():
    clip = torch.randn(1, 4, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(shift, (clip,))


def test_gradient_of_a_causal_shift_reaches_the_frame_before():
    clip = torch.randn(1, 3, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    before = torch.randn(1, 1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda clip, before: shift(clip, causal=True, before=before), (clip, before)
    )


def test_module_says_what_it_does():
    assert repr(TemporalShift()) == "TemporalShift(fraction=0.125)"
    assert repr(TemporalShift(causal=True)) == "TemporalShift(fraction=0.125, causal=True)"
