"""Eq. (6)-(8) against convolutions written as loops over single numbers."""

import itertools
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from poselens.errors import UsageError
from poselens.rgb.memory import Memory
from poselens.rgb.temporal_aggregation import (
    DepthwiseSeparable,
    TaOrder,
    TaSplit,
    TemporalAggregation,
)

ORDERS, SPLITS = get_args(TaOrder), get_args(TaSplit)


def randomise(module, seed=0):
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


def convolve(frame, weight):
    """Convolve ``frame`` (c, h, w) with zero padding, an odd kernel and no library."""
    outputs, inputs, size, _ = weight.shape
    reach = size // 2
    rows, columns = frame.shape[1:]
    out = torch.zeros(outputs, rows, columns, dtype=frame.dtype)
    for d in range(outputs):
        for y in range(rows):
            for x in range(columns):
                total = 0.0
                for c in range(inputs):
                    for i in range(size):
                        for j in range(size):
                            row, column = y + i - reach, x + j - reach
                            if 0 <= row < rows and 0 <= column < columns:
                                total += (weight[d, c, i, j] * frame[c, row, column]).item()
                out[d, y, x] = total
    return out


def normalise(frame, norm):
    out = frame.clone()
    for c in range(frame.shape[0]):
        scale = norm.weight[c] / (norm.running_var[c] + norm.eps) ** 0.5
        out[c] = (frame[c] - norm.running_mean[c]) * scale + norm.bias[c]
    return out


def spatial_by_loops(clip, part):
    return torch.stack([normalise(convolve(f, part[0].weight), part[1]).clamp(min=0) for f in clip])


def temporal_by_loops(clip, part, causal=False):
    """Filter ``clip`` (t, c, h, w) along time, then mix its channels."""
    filtered = torch.zeros_like(clip)
    taps = part.depthwise.weight.shape[2]
    first = 1 - taps if causal else -(taps // 2)
    for t in range(clip.shape[0]):
        for c in range(clip.shape[1]):
            for tap in range(taps):
                seen = t + first + tap
                if 0 <= seen < clip.shape[0]:
                    filtered[t, c] += part.depthwise.weight[c, 0, tap, 0] * clip[seen, c]
    return torch.stack([normalise(convolve(f, part.pointwise.weight), part.bn) for f in filtered])


def aggregate_by_loops(clip, aggregation, order, split, causal):
    """Q of ``clip`` (t, c, h, w)."""

    def both(fragment, number):
        spatial, temporal = aggregation.spatial[number], aggregation.temporal[number]
        if order == "temporal-spatial":
            return spatial_by_loops(temporal_by_loops(fragment, temporal, causal), spatial)
        return temporal_by_loops(spatial_by_loops(fragment, spatial), temporal, causal)

    whole = spatial_by_loops(clip, aggregation.split) if split == "own" else clip
    v1, v2, v3, v4 = whole.split(clip.shape[1] // 4, dim=1)
    q1 = v1
    q2 = both(v2, 0)
    q3 = both(v3 + q2, 1)
    q4 = both(v4 + q3, 2)
    return torch.cat([q1, q2, q3, q4], dim=1)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("frames", "kernel"), [(1, 3), (2, 3), (4, 3), (3, 1), (3, 5)])
@torch.no_grad()
def test_aggregate_follows_the_chain_of_the_equations(order, split, causal, frames, kernel):
    options = {"order": order, "split": split, "causal": causal, "kernel": kernel}
    aggregation = randomise(TemporalAggregation(channels=8, **options).double())
    clip = torch.randn(1, frames, 8, 3, 2, dtype=torch.float64)
    expected = aggregate_by_loops(clip[0], aggregation, order, split, causal)
    torch.testing.assert_close(aggregation.aggregate(clip)[0], expected)
    scale = aggregation.scale.view(-1, 1, 1)
    torch.testing.assert_close(aggregation(clip)[0], clip[0] + scale * expected)

    literal = TemporalAggregation(channels=8, start="literal", **options).double().eval()
    literal.load_state_dict(
        {name: value for name, value in aggregation.state_dict().items() if name != "scale"}
    )
    torch.testing.assert_close(literal(clip)[0], expected)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_differences(order, split, causal):
    aggregation = TemporalAggregation(channels=4, order=order, split=split, causal=causal)
    randomise(aggregation.double(), seed=1)
    generator = torch.Generator().manual_seed(2)
    clip = torch.randn(2, 3, 4, 2, 3, generator=generator, dtype=torch.float64)

    def aggregate(clip, *_parameters):
        return aggregation(clip)

    inputs = (clip.requires_grad_(), *aggregation.parameters())
    assert torch.autograd.gradcheck(aggregate, inputs, fast_mode=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_depthwise_separable_starts_as_the_identity(kernel, causal):
    clip = torch.randn(2, 3, 4, 5, 3)
    out = DepthwiseSeparable(channels=4, kernel=kernel, causal=causal).eval()(clip)
    # Fresh normalisation divides by sqrt(1 + eps).
    torch.testing.assert_close(out, clip / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize("kernel", [0, 2, 4, -1])
def test_a_kernel_has_a_middle(kernel):
    with pytest.raises(
        UsageError, match=f"found a temporal kernel of {kernel} frames, expected .* odd"
    ) as caught:
        TemporalAggregation(channels=8, kernel=kernel)
    assert caught.value.code == "CFG-030"


@pytest.mark.parametrize("channels", [0, 2, 6])
def test_channels_part_evenly(channels):
    with pytest.raises(
        UsageError, match=f"found {channels} channels, expected a positive multiple of 4"
    ) as caught:
        TemporalAggregation(channels=channels)
    assert caught.value.code == "CFG-031"


@pytest.mark.parametrize(
    ("kernel", "causal", "spans"),
    [
        (3, False, [(0, 0), (-1, 1), (-2, 2), (-3, 3)]),
        (5, False, [(0, 0), (-2, 2), (-4, 4), (-6, 6)]),
        (3, True, [(0, 0), (0, 2), (0, 4), (0, 6)]),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
@torch.no_grad()
def test_a_frame_is_felt_as_far_as_the_kernels_reach(kernel, causal, spans, order):
    aggregation = randomise(
        TemporalAggregation(channels=8, kernel=kernel, order=order, causal=causal), seed=3
    )
    for parameter in aggregation.parameters():
        parameter.abs_()  # so that no ReLU hides a change
    clip = 1 + torch.rand(1, 13, 8, 2, 2)
    touched = clip.clone()
    touched[:, 6] += 5
    change = (
        (aggregation.aggregate(touched) - aggregation.aggregate(clip)).abs().amax(dim=(0, 3, 4))
    )
    reach = [(change[:, 2 * q : 2 * q + 2].amax(dim=1) > 0).nonzero().flatten() for q in range(4)]
    assert [(int(frames.min()) - 6, int(frames.max()) - 6) for frames in reach] == spans


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ORDERS),
    st.sampled_from(SPLITS),
    st.sampled_from([1, 3, 5]),
    st.lists(st.integers(1, 6), max_size=5),
)
@torch.no_grad()
def test_a_clip_in_pieces_is_the_clip(order, split, kernel, cuts):
    aggregation = randomise(
        TemporalAggregation(channels=8, order=order, kernel=kernel, split=split, causal=True)
    )
    for length in range(1, 7):
        clip = torch.randn(2, length, 8, 3, 2, generator=torch.Generator().manual_seed(length))
        borders = sorted({0, length, *(cut for cut in cuts if cut < length)})
        left, pieces = (), []
        for start, end in itertools.pairwise(borders):
            memory = Memory(left)
            pieces.append(aggregation(clip[:, start:end], memory))
            left = memory.after
        assert len(left) == (3 if kernel > 1 else 0)
        joined = torch.cat(pieces, dim=1)
        torch.testing.assert_close(joined, aggregation(clip), atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_who_sees_the_whole_clip_leaves_nothing_behind():
    memory = Memory()
    TemporalAggregation(channels=4).eval()(torch.randn(1, 3, 4, 2, 2), memory)
    assert memory.after == ()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("start", ["identity", "literal"])
def test_the_fast_memory_layout_is_kept(order, split, causal, start):
    frames = torch.randn(6, 16, 5, 4).to(memory_format=torch.channels_last)
    aggregation = TemporalAggregation(
        channels=16, order=order, split=split, start=start, causal=causal
    ).to(memory_format=torch.channels_last)
    out = aggregation(torch.unflatten(frames, 0, (2, 3))).flatten(0, 1)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("causal", [False, True])
def test_it_starts_as_the_identity_and_all_of_it_learns_from_the_second_step(order, split, causal):
    aggregation = TemporalAggregation(channels=8, order=order, split=split, causal=causal)
    clip = torch.randn(2, 4, 8, 5, 3)
    assert torch.equal(aggregation(clip), clip)
    optimiser = torch.optim.SGD(aggregation.parameters(), lr=0.1)
    target = torch.randn_like(clip)
    (aggregation(clip) - target).square().mean().backward()
    assert (aggregation.scale.grad != 0).all()
    optimiser.step()
    optimiser.zero_grad()
    (aggregation(clip) - target).square().mean().backward()
    still = [name for name, p in aggregation.named_parameters() if not p.grad.abs().sum() > 0]
    assert still == []


@torch.no_grad()
def test_clips_of_a_batch_do_not_meet():
    aggregation = randomise(TemporalAggregation(channels=8))
    clips = torch.randn(3, 4, 8, 3, 3)
    torch.testing.assert_close(aggregation(clips)[1:2], aggregation(clips[1:2]))
