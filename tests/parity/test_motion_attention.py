"""Eq. (3)-(5) against loops over clips, channels, frames and pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.rgb.motion_attention import MotionAttention, motion_mask

sizes = st.tuples(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)
)


def mask_by_loops(clip):
    clips, frames, channels, rows, columns = clip.shape
    mask = torch.empty(clips, channels)
    for n in range(clips):
        for c in range(channels):
            best = -math.inf if frames > 1 else 0.0
            for t in range(frames - 1):
                for y in range(rows):
                    for x in range(columns):
                        rise = (clip[n, t + 1, c, y, x] - clip[n, t, c, y, x]).item()
                        best = max(best, rise)
            mask[n, c] = 1 / (1 + math.exp(-best))
    return mask


def pooled_by_loops(image, stride):
    rows, columns = image.shape
    out = torch.empty(math.ceil(rows / stride), math.ceil(columns / stride))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            cell = image[i * stride : (i + 1) * stride, j * stride : (j + 1) * stride]
            out[i, j] = sum(cell.flatten().tolist()) / cell.numel()
    return out


@settings(max_examples=30, deadline=None)
@given(sizes)
def test_mask_is_the_strongest_rise_over_real_pairs(size):
    clip = torch.randn(size, generator=torch.Generator().manual_seed(sum(size)))
    torch.testing.assert_close(motion_mask(clip)[:, 0, :, 0, 0], mask_by_loops(clip))


@settings(max_examples=30, deadline=None)
@given(sizes, st.sampled_from([1, 2]))
def test_motion_map_is_masked_features_plus_context(size, stride):
    generator = torch.Generator().manual_seed(sum(size))
    clip = torch.randn(size, generator=generator)
    clips, frames, channels, rows, columns = size
    shape = (clips, frames, channels, math.ceil(rows / stride), math.ceil(columns / stride))
    context = torch.randn(shape, generator=generator)
    attention = MotionAttention(channels=channels, stride=stride)
    torch.nn.init.uniform_(attention.gamma, -1, 1, generator=generator)

    expected = context.clone()
    mask = mask_by_loops(clip)
    for n in range(clips):
        for t in range(frames):
            for c in range(channels):
                weight = attention.gamma[c].item() * mask[n, c]
                expected[n, t, c] += weight * pooled_by_loops(clip[n, t, c], stride)
    torch.testing.assert_close(attention(clip, context).detach(), expected)


def test_a_falling_channel_is_not_clamped_at_no_motion():
    clip = torch.tensor([3.0, 2.0, 0.0]).view(1, 3, 1, 1, 1)
    assert motion_mask(clip).item() == pytest.approx(1 / (1 + math.e))


def test_a_still_clip_and_a_single_frame_have_the_same_mask():
    frame = torch.randn(2, 1, 3, 4, 4)
    assert torch.equal(motion_mask(frame.expand(-1, 5, -1, -1, -1)), motion_mask(frame))


def test_clips_of_a_batch_do_not_meet():
    clips = torch.randn(3, 4, 8, 2, 2)
    assert torch.equal(motion_mask(clips)[1:2], motion_mask(clips[1:2]))
    assert torch.equal(motion_mask(clips)[[2, 0, 1]], motion_mask(clips[[2, 0, 1]]))


def test_it_starts_as_the_context_and_gamma_learns_at_once():
    clip, context = torch.randn(2, 3, 4, 5, 5), torch.randn(2, 3, 4, 5, 5)
    attention = MotionAttention(channels=4)
    out = attention(clip, context)
    assert torch.equal(out, context)
    out.square().sum().backward()
    assert (attention.gamma.grad != 0).all()
