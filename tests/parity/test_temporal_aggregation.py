"""Eq. (6)-(8) against convolutions written as loops over single numbers."""

import pytest
import torch
from torch import nn

from poselens.rgb.temporal_aggregation import DepthwiseSeparable, TemporalAggregation


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


def temporal_by_loops(clip, part):
    """Filter ``clip`` (t, c, h, w) along time, then mix its channels."""
    filtered = torch.zeros_like(clip)
    for t in range(clip.shape[0]):
        for c in range(clip.shape[1]):
            for step in (-1, 0, 1):
                if 0 <= t + step < clip.shape[0]:
                    filtered[t, c] += part.depthwise.weight[c, 0, step + 1, 0] * clip[t + step, c]
    return torch.stack([normalise(convolve(f, part.pointwise.weight), part.bn) for f in filtered])


@pytest.mark.parametrize("frames", [1, 2, 4])
@torch.no_grad()
def test_aggregate_follows_the_chain_of_the_equations(frames):
    aggregation = randomise(TemporalAggregation(channels=8).double())
    clip = torch.randn(1, frames, 8, 3, 2, dtype=torch.float64)

    v1, v2, v3, v4 = spatial_by_loops(clip[0], aggregation.split).split(2, dim=1)
    spatial, temporal = aggregation.spatial, aggregation.temporal
    q1 = v1
    q2 = temporal_by_loops(spatial_by_loops(v2, spatial[0]), temporal[0])
    q3 = temporal_by_loops(spatial_by_loops(v3 + q2, spatial[1]), temporal[1])
    q4 = temporal_by_loops(spatial_by_loops(v4 + q3, spatial[2]), temporal[2])
    expected = torch.cat([q1, q2, q3, q4], dim=1)

    torch.testing.assert_close(aggregation.aggregate(clip)[0], expected)
    scale = aggregation.scale.view(-1, 1, 1)
    torch.testing.assert_close(aggregation(clip)[0], clip[0] + scale * expected)


def test_depthwise_separable_starts_as_the_identity():
    clip = torch.randn(2, 3, 4, 5, 3)
    out = DepthwiseSeparable(channels=4).eval()(clip)
    # Fresh normalisation divides by sqrt(1 + eps).
    torch.testing.assert_close(out, clip / (1 + 1e-5) ** 0.5)


@torch.no_grad()
def test_the_last_fragment_sees_three_frames_to_each_side():
    aggregation = randomise(TemporalAggregation(channels=8), seed=3)
    clip = torch.randn(1, 9, 8, 2, 2)
    touched = clip.clone()
    touched[:, 4] += 5
    change = (
        (aggregation.aggregate(touched) - aggregation.aggregate(clip)).abs().amax(dim=(0, 3, 4))
    )
    reach = [(change[:, 2 * q : 2 * q + 2].amax(dim=1) > 0).nonzero().flatten() for q in range(4)]
    assert [(int(frames.min()) - 4, int(frames.max()) - 4) for frames in reach] == [
        (0, 0),
        (-1, 1),
        (-2, 2),
        (-3, 3),
    ]


def test_it_starts_as_the_identity_and_all_of_it_learns_from_the_second_step():
    aggregation = TemporalAggregation(channels=8)
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
