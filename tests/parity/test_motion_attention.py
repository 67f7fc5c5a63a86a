"""Eq. (3)-(5) against loops over clips, channels, frames and pixels."""

import itertools
import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from poselens.rgb.memory import Memory
from poselens.rgb.motion_attention import Mask, Motion, MotionAttention, motion_mask

MASKS, MOTIONS = get_args(Mask), get_args(Motion)
WIDE = 32
"""Channels whose squeezed layer has two."""

sizes = st.tuples(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)
)
readings = st.tuples(st.sampled_from(MASKS), st.sampled_from(MOTIONS), st.booleans())


def pairs_of(frame, frames, mask, causal):
    """The pairs (t, t + 1), by their first frame, that the mask of ``frame`` pools over."""
    real = range(frames - 1)
    if mask == "global":
        return [t for t in real if not causal or t + 1 <= frame]
    near = (frame - 2, frame - 1) if causal else (frame - 1, frame)
    return [t for t in near if t in real]


def peaks_by_loops(clip, mask, motion, causal):
    """What sigma is taken of, for every frame and position, even where all have the same."""
    clips, frames, channels, rows, columns = clip.shape
    peaks, values = torch.zeros_like(clip), clip.tolist()
    for n in range(clips):
        for c in range(channels):
            for frame in range(frames):
                for y in range(rows):
                    for x in range(columns):
                        best = -math.inf
                        for t in pairs_of(frame, frames, mask, causal):
                            for i in range(rows):
                                for j in range(columns):
                                    if mask == "full" and max(abs(i - y), abs(j - x)) > 1:
                                        continue
                                    rise = values[n][t + 1][c][i][j] - values[n][t][c][i][j]
                                    best = max(best, abs(rise) if motion == "absolute" else rise)
                        peaks[n, frame, c, y, x] = 0.0 if best == -math.inf else best
    return peaks


def squeezed_by_loops(peaks, squeeze):
    narrow, norm, _, widen = squeeze
    hidden = norm.num_features
    out = torch.empty_like(peaks)
    for index in torch.cartesian_prod(*(torch.arange(peaks.shape[axis]) for axis in (0, 1, 3, 4))):
        n, t, y, x = index.tolist()
        values = []
        for h in range(hidden):
            total = sum(
                (narrow.weight[h, c, 0, 0] * peaks[n, t, c, y, x]).item()
                for c in range(peaks.shape[2])
            )
            deviation = math.sqrt(norm.running_var[h].item() + norm.eps)
            total = (total - norm.running_mean[h].item()) / deviation
            values.append(max(0.0, total * norm.weight[h].item() + norm.bias[h].item()))
        for c in range(peaks.shape[2]):
            out[n, t, c, y, x] = widen.bias[c].item() + sum(
                widen.weight[c, h, 0, 0].item() * value for h, value in enumerate(values)
            )
    return out


def pooled_by_loops(image, stride):
    rows, columns = image.shape
    out = image.new_empty(math.ceil(rows / stride), math.ceil(columns / stride))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            cell = image[i * stride : (i + 1) * stride, j * stride : (j + 1) * stride]
            out[i, j] = sum(cell.flatten().tolist()) / cell.numel()
    return out


def randomised(module, seed=0):
    """Give every parameter and statistic a value that shows when it is left out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.9, generator=generator)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.5, 0.5, generator=generator)
                part.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


def drawn(size, seed=0, dtype=torch.float64):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed + sum(size)), dtype=dtype)


@settings(max_examples=50, deadline=None)
@given(sizes, readings)
def test_a_mask_pools_the_real_pairs_it_says(size, reading):
    mask, motion, causal = reading
    clip = drawn(size)
    found = motion_mask(clip, mask=mask, motion=motion, causal=causal)
    frames = 1 if (mask == "global" and not causal) or size[1] == 1 else size[1]
    places = size[3:] if mask == "full" and (size[1] > 1 or causal) else (1, 1)
    assert found.shape == (size[0], frames, size[2], *places)
    expected = torch.sigmoid(peaks_by_loops(clip, mask, motion, causal))
    torch.testing.assert_close(found.expand_as(expected), expected)


def test_the_default_is_the_equation_as_written():
    clip = drawn((2, 4, 3, 3, 5))
    expected = torch.empty(2, 3, dtype=clip.dtype)
    for n in range(2):
        for c in range(3):
            rises = clip[n, 1:, c] - clip[n, :-1, c]
            expected[n, c] = 1 / (1 + math.exp(-max(rises.flatten().tolist())))
    assert motion_mask(clip).shape == (2, 1, 3, 1, 1)
    torch.testing.assert_close(motion_mask(clip)[:, 0, :, 0, 0], expected)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_the_squeezed_mask_is_two_products_between_pooling_and_sigma(motion, causal):
    attention = MotionAttention(channels=WIDE, mask="squeeze", motion=motion, causal=causal)
    squeeze = randomised(attention.double()).squeeze
    for frames in (1, 3):
        clip = drawn((2, frames, WIDE, 3, 2))
        found = motion_mask(clip, mask="squeeze", motion=motion, causal=causal, squeeze=squeeze)
        peaks = peaks_by_loops(clip, "squeeze", motion, causal)[..., :1, :1]
        torch.testing.assert_close(found, torch.sigmoid(squeezed_by_loops(peaks, squeeze)))


@settings(max_examples=50, deadline=None)
@given(sizes, readings, st.sampled_from([1, 2]), st.booleans())
@torch.no_grad()
def test_motion_map_is_masked_features_plus_context(size, reading, stride, literal):
    mask, motion, causal = reading
    clips, frames, channels, rows, columns = size
    clip = drawn(size)
    context = drawn(
        (clips, frames, channels, math.ceil(rows / stride), math.ceil(columns / stride))
    )
    attention = randomised(
        MotionAttention(
            channels=channels,
            stride=stride,
            mask=mask,
            motion=motion,
            start="literal" if literal else "identity",
            causal=causal,
        ).double()
    )
    peaks = peaks_by_loops(clip, mask, motion, causal)
    if mask == "squeeze":
        peaks = squeezed_by_loops(peaks, attention.squeeze)
    masked = clip * torch.sigmoid(peaks)
    expected = context.clone()
    for n in range(clips):
        for t in range(frames):
            for c in range(channels):
                gamma = 1.0 if literal else attention.gamma[c].item()
                expected[n, t, c] += gamma * pooled_by_loops(masked[n, t, c], stride)
    torch.testing.assert_close(attention(clip, context), expected)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("motion", "causal", "stride"), [("signed", False, 2), ("absolute", True, 1)]
)
def test_gradients_are_those_of_differences(mask, motion, causal, stride):
    attention = MotionAttention(
        channels=WIDE if mask == "squeeze" else 2,
        stride=stride,
        mask=mask,
        motion=motion,
        causal=causal,
    )
    randomised(attention.double(), seed=1)
    clip = drawn((1, 4, attention.channels, 3, 3)).requires_grad_()
    cells = math.ceil(3 / stride)
    context = drawn((1, 4, attention.channels, cells, cells)).requires_grad_()

    def motion_map(clip, context, *_parameters):
        return attention(clip, context)

    inputs = (clip, context, *attention.parameters())
    assert torch.autograd.gradcheck(motion_map, inputs, fast_mode=mask == "squeeze")


@pytest.mark.parametrize("mask", ["global", "per-frame", "full"])
def test_a_falling_channel_is_not_clamped_at_no_motion(mask):
    clip = torch.tensor([3.0, 2.0, 0.0]).view(1, 3, 1, 1, 1)
    strongest = [-1.0] if mask == "global" else [-1.0, -1.0, -2.0]
    expected = torch.tensor([1 / (1 + math.exp(-rise)) for rise in strongest])
    torch.testing.assert_close(motion_mask(clip, mask=mask).flatten(), expected)
    size = motion_mask(clip, mask=mask, motion="absolute").flatten()
    assert size[0].item() == pytest.approx(1 / (1 + math.exp(-2.0 if mask == "global" else -1.0)))


@pytest.mark.parametrize("mask", ["global", "per-frame", "full"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_still_clip_and_a_single_frame_have_the_same_mask(mask, causal):
    frame = torch.randn(2, 1, 3, 4, 4)
    still = motion_mask(frame.expand(-1, 5, -1, -1, -1), mask=mask, causal=causal)
    alone = motion_mask(frame, mask=mask, causal=causal)
    assert (still == 0.5).all()
    assert (alone == 0.5).all()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [False, True])
def test_clips_of_a_batch_do_not_meet(mask, causal):
    attention = randomised(MotionAttention(channels=8, mask=mask, causal=causal))
    clips, context = torch.randn(3, 4, 8, 3, 2), torch.randn(3, 4, 8, 3, 2)
    with torch.no_grad():
        together = attention(clips, context)
        torch.testing.assert_close(together[1:2], attention(clips[1:2], context[1:2]))
        turned = attention(clips[[2, 0, 1]], context[[2, 0, 1]])
    torch.testing.assert_close(together[[2, 0, 1]], turned)


@pytest.mark.parametrize("mask", MASKS)
@torch.no_grad()
def test_a_causal_mask_does_not_look_ahead(mask):
    attention = randomised(MotionAttention(channels=8, mask=mask, causal=True))
    clip = torch.randn(2, 6, 8, 3, 3)
    other = clip.clone()
    other[:, 3:] = torch.randn(2, 3, 8, 3, 3)
    context = torch.zeros_like(clip)
    first, second = attention(clip, context), attention(other, context)
    assert torch.equal(first[:, :3], second[:, :3])
    assert not torch.allclose(first[:, 3:], second[:, 3:])


@torch.no_grad()
def test_the_running_mask_ends_as_the_mask_of_the_whole_clip():
    clip = torch.randn(2, 5, 3, 4, 4)
    for motion in MOTIONS:
        running = motion_mask(clip, motion=motion, causal=True)
        assert torch.equal(running[:, -1:], motion_mask(clip, motion=motion))
        assert (running[:, 2:] >= running[:, 1:-1]).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(MASKS), st.sampled_from(MOTIONS), st.lists(st.integers(1, 6), max_size=5))
@torch.no_grad()
def test_a_clip_in_pieces_is_the_clip(mask, motion, cuts):
    frames = 6
    attention = randomised(MotionAttention(channels=3, mask=mask, motion=motion, causal=True))
    for length in range(1, frames + 1):
        clip = drawn((2, length, 3, 4, 3), dtype=torch.float32)
        context = drawn((2, length, 3, 4, 3), seed=1, dtype=torch.float32)
        borders = sorted({0, length, *(cut for cut in cuts if cut < length)})
        left, pieces = (), []
        for start, end in itertools.pairwise(borders):
            memory = Memory(left)
            pieces.append(attention(clip[:, start:end], context[:, start:end], memory))
            left = memory.after
        assert len(left) == 2
        whole = attention(clip, context)
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("mask", MASKS)
@torch.no_grad()
def test_who_sees_the_whole_clip_leaves_nothing_behind(mask):
    memory = Memory()
    attention = MotionAttention(channels=2, mask=mask).eval()
    attention(torch.randn(1, 3, 2, 2, 2), torch.randn(1, 3, 2, 2, 2), memory)
    assert memory.after == ()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [False, True])
def test_it_starts_as_the_context_and_gamma_learns_at_once(mask, causal):
    clip, context = torch.randn(2, 3, 4, 5, 5), torch.randn(2, 3, 4, 5, 5)
    attention = MotionAttention(channels=4, mask=mask, causal=causal)
    out = attention(clip, context)
    assert torch.equal(out, context)
    out.square().sum().backward()
    assert (attention.gamma.grad != 0).all()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_the_fast_memory_layout_is_kept(mask, stride, causal):
    def frames(rows):
        flat = torch.randn(8, 16, rows, rows).to(memory_format=torch.channels_last)
        return torch.unflatten(flat, 0, (2, 4))

    attention = MotionAttention(channels=16, stride=stride, mask=mask, causal=causal)
    out = attention(frames(6), frames(6 // stride)).flatten(0, 1)
    assert out.is_contiguous(memory_format=torch.channels_last)
    weights = motion_mask(frames(6), mask="full", causal=causal).flatten(0, 1)
    assert weights.is_contiguous(memory_format=torch.channels_last)
