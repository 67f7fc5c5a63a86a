"""The equations of CTR-GCN, against loops."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from poselens.pose.layouts import get_layout
from poselens.skeleton import fused
from poselens.skeleton.build import build_skeleton_network
from poselens.skeleton.ctr_gcn import Block, MultiScaleTemporal, TopologyRefinement
from poselens.skeleton.graph import spatial_partition


def small_refinement(channels=4, out_channels=8, joints=5):
    torch.manual_seed(3)
    space = TopologyRefinement(
        channels=channels, out_channels=out_channels, adjacency=torch.rand(3, joints, joints)
    ).double()
    with torch.no_grad():
        space.strength.fill_(0.7)
        space.refine_bias.normal_()
        space.transform_bias.normal_()
        space.pair.bias.normal_()
    return space.eval()


def looped_relation(space, feature):
    """tanh(mean_t theta(x)_i - mean_t phi(x)_j), with the mean over time after the convolution."""
    n, _, v, t = feature.shape
    r = space.pair.out_features // 6
    weight, bias = space.pair.weight, space.pair.bias
    relation = torch.zeros(n, 3, r, v, v, dtype=feature.dtype)
    for clip in range(n):
        for k in range(3):
            for q in range(r):
                receive, send = k * r + q, (3 + k) * r + q
                for i in range(v):
                    for j in range(v):
                        here = there = 0.0
                        for frame in range(t):
                            x_i, x_j = feature[clip, :, i, frame], feature[clip, :, j, frame]
                            here += float(weight[receive] @ x_i + bias[receive])
                            there += float(weight[send] @ x_j + bias[send])
                        relation[clip, k, q, i, j] = math.tanh(here / t - there / t)
    return relation


def looped_refinement(space, relation):
    """W_k tanh(.), per channel."""
    n, _, r, v, _ = relation.shape
    d = space.refine.shape[1]
    refinement = torch.zeros(n, 3, d, v, v, dtype=relation.dtype)
    for clip in range(n):
        for k in range(3):
            for channel in range(d):
                refinement[clip, k, channel] = space.refine_bias[k, channel, 0]
                for q in range(r):
                    refinement[clip, k, channel] += (
                        space.refine[k, channel, q] * relation[clip, k, q]
                    )
    return refinement


def terms_of(space, feature):
    return space.relate(feature.mean(dim=-1).transpose(1, 2))


def refined(space, feature):
    """R, one square per clip, subset and channel."""
    joints = space.topology.shape[-1]
    return fused.squares(space.mixture() @ terms_of(space, feature), joints)


def test_refined_topology_is_the_equation():
    space = small_refinement()
    feature = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        added = looped_refinement(space, looped_relation(space, feature))
        expected = space.topology[None, :, None] + space.strength * added
        torch.testing.assert_close(refined(space, feature), expected)
        graph = space.graph(terms_of(space, feature))
        torch.testing.assert_close(graph, added.mean(dim=2))


def test_aggregation_sums_over_subsets_and_sending_joints():
    space = small_refinement()
    with torch.no_grad():
        space.norm.weight.uniform_(0.5, 2.0)
        space.norm.running_mean.normal_()
    feature = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    beside = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        weight, bias = space.transform.weight[:, :, 0, 0], space.transform_bias
        along = refined(space, feature)
        expected = torch.zeros(2, 8, 5, 3, dtype=torch.float64)
        for clip in range(2):
            for d in range(8):
                for i in range(5):
                    for frame in range(3):
                        for k in range(3):
                            for j in range(5):
                                message = weight[3 * d + k] @ feature[clip, :, j, frame]
                                message = message + bias[d, k]
                                expected[clip, d, i, frame] += along[clip, k, d, i, j] * message
        messages = space.transform(feature).unflatten(1, (8, 3))
        terms = terms_of(space, feature)
        found = fused.aggregate(messages, space.transform_bias, space.mixture(), terms)
        torch.testing.assert_close(found, expected)
        # then normalised, the shortcut added, and rectified
        summary = feature.mean(dim=-1).transpose(1, 2)
        whole, returned = space(feature, beside, summary)
        after = torch.relu(
            space.norm(expected) + space.shortcut.norm(space.shortcut.convolve(beside))
        )
        torch.testing.assert_close(whole, after)
        assert torch.equal(returned, terms)


def test_at_the_start_the_topologies_are_the_layouts_own():
    layout = get_layout("coco-17")
    adjacency = torch.from_numpy(spatial_partition(layout))
    space = TopologyRefinement(channels=3, out_channels=4, adjacency=adjacency)
    found = refined(space, torch.randn(2, 3, 17, 6))
    torch.testing.assert_close(found, adjacency[None, :, None].expand(2, -1, 4, -1, -1))


@pytest.mark.parametrize(("stride", "frames", "expected"), [(1, 9, 9), (2, 9, 5), (2, 8, 4)])
def test_temporal_part_keeps_channels_and_joints_and_strides_time(stride, frames, expected):
    time = MultiScaleTemporal(channels=8, stride=stride).eval()
    assert time(torch.randn(2, 8, 5, frames), around=None).shape == (2, 8, 5, expected)


def looped_look(seen, kernels, stride):
    """Two dilated convolutions, a maximum, and what passes; seen is (p, c, v, t)."""
    people, channels, joints, frames = seen.shape
    q = channels // 4
    out = torch.zeros(people, channels, joints, -(-frames // stride), dtype=seen.dtype)
    for person in range(people):
        for joint in range(joints):
            for step in range(out.shape[-1]):
                middle = step * stride
                for d in range(q):
                    for branch, dilation in enumerate((1, 2)):
                        for c in range(q):
                            for tap in range(5):
                                frame = middle + dilation * (tap - 2)
                                if 0 <= frame < frames:
                                    out[person, branch * q + d, joint, step] += (
                                        kernels[branch, tap, d, c]
                                        * seen[person, branch * q + c, joint, frame]
                                    )
                    near = [f for f in (middle - 1, middle, middle + 1) if 0 <= f < frames]
                    out[person, 2 * q + d, joint, step] = max(
                        seen[person, 2 * q + d, joint, frame] for frame in near
                    )
                    out[person, 3 * q + d, joint, step] = seen[person, 3 * q + d, joint, middle]
    return out


@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (4, 1), (5, 2), (6, 2)])
def test_looking_along_time_in_loops(frames, stride):
    draw = torch.Generator().manual_seed(0)
    # below zero too: outside a clip a maximum sees nothing rather than 0
    seen = torch.randn(2, 8, 2, frames, generator=draw, dtype=torch.float64)
    kernels = torch.randn(2, 5, 2, 2, generator=draw, dtype=torch.float64)
    found = fused.look(seen, kernels, stride=stride)
    torch.testing.assert_close(found, looped_look(seen, kernels, stride))


def looped_normalise(feature, norm, add, rectified, training):
    """(x - mean) / sqrt(var + eps) * weight + bias, channel by channel, over all that is there."""
    out = feature.clone()
    means, variances = [], []
    for c in range(feature.shape[1]):
        if c < norm.num_features:
            values = feature[:, c].flatten().tolist()
            mean = sum(values) / len(values)
            square = sum((value - mean) ** 2 for value in values)
            means.append(mean)
            variances.append(square / (len(values) - 1))
            variance = square / len(values)
            if not training:
                mean, variance = float(norm.running_mean[c]), float(norm.running_var[c])
            scale = float(norm.weight[c]) / math.sqrt(variance + norm.eps)
            out[:, c] = (feature[:, c] - mean) * scale + norm.bias[c]
        if add is not None:
            out[:, c] += add[:, c]
        if rectified is None or c < rectified:
            out[:, c] = out[:, c].clamp(min=0.0)
    return out, torch.tensor(means), torch.tensor(variances)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize(("normal", "rectified"), [(4, None), (4, 3), (4, 0), (3, None), (3, 2)])
def test_normalising_adding_and_rectifying_in_loops(training, added, normal, rectified):
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(normal).double().train(training)
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values.uniform_(0.3, 1.5)
    before = norm.running_mean.clone(), norm.running_var.clone()
    feature = torch.randn(3, 4, 2, 5, dtype=torch.float64)
    add = torch.randn(3, 4, 2, 5, dtype=torch.float64) if added else None
    with torch.no_grad():
        expected, mean, variance = looped_normalise(feature, norm, add, rectified, training)
        found = fused.normalise(feature, norm, add=add, rectified=rectified)
        torch.testing.assert_close(found, expected)
    share = 0.1 if training else 0.0
    for old, seen, kept in zip(
        before, (mean, variance), (norm.running_mean, norm.running_var), strict=True
    ):
        torch.testing.assert_close(kept, old + share * (seen - old), check_dtype=False)


@pytest.mark.parametrize("stride", [1, 2])
def test_temporal_branches_are_four_scales_in_loops(stride):
    torch.manual_seed(0)
    time = MultiScaleTemporal(channels=8, stride=stride).double().eval()
    feature = torch.randn(1, 8, 2, 11, dtype=torch.float64)
    with torch.no_grad():
        for norm in (time.enter_norm, time.leave_norm):
            norm.running_mean.normal_()
            norm.weight.uniform_(0.5, 2.0)
            norm.bias.normal_()
        entered = time.enter_norm(time.enter(feature))
        # the branch that passes is normalised once and rectified at the very end alone
        entered[:, :6] = torch.relu(entered[:, :6])
        looked = looped_look(entered, time.kernels, stride)
        looked[:, :6] = time.leave_norm(looked[:, :6])
        around = torch.randn_like(looked)
        torch.testing.assert_close(time(feature, around=None), torch.relu(looked))
        torch.testing.assert_close(time(feature, around=around), torch.relu(looked + around))


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (2, 1), (4, 2)])
def test_block_adds_its_input_brought_to_its_shape(channels, stride):
    torch.manual_seed(0)
    adjacency = torch.rand(3, 5, 5)
    block = Block(channels=channels, out_channels=4, adjacency=adjacency, stride=stride).eval()
    feature = torch.randn(2, channels, 5, 6)
    summary = feature.mean(dim=-1).transpose(1, 2)
    with torch.no_grad():
        gathered, terms = block.space(feature, feature, summary)
        short = feature
        if block.shortcut is not None:
            short = block.shortcut.norm(block.shortcut.convolve(feature))
            assert (short < 0).any()
        expected = block.time(gathered, around=short)
        looked, returned = block(feature)
        torch.testing.assert_close(looked, expected)
        torch.testing.assert_close(returned, terms)
        assert (block.shortcut is None) == (channels == 4 and stride == 1)


def test_a_block_without_a_shortcut_adds_nothing():
    torch.manual_seed(0)
    block = Block(channels=4, out_channels=4, adjacency=torch.rand(3, 5, 5), shortcut=False).eval()
    feature = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        gathered, _ = block.space(feature, feature, feature.mean(dim=-1).transpose(1, 2))
        torch.testing.assert_close(block(feature)[0], block.time(gathered, around=None))


@pytest.mark.parametrize(
    ("layout", "people", "classes", "macs"), [("ntu-25", 2, 60, 1.80e9), ("coco-17", 1, 99, 0.58e9)]
)
def test_size_is_the_published_one(layout, people, classes, macs):
    joints = get_layout(layout)
    network = build_skeleton_network(layout=joints, people=people, num_classes=classes).eval()
    parameters = sum(weight.numel() for weight in network.parameters())
    assert parameters == pytest.approx(1.45e6, rel=0.005)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.randn(1, 3, 64, len(joints), people))
    counted = counter.get_total_flops() / 2
    # the published 1.94 and 0.63 G apply the two relation convolutions to every frame
    assert counted == pytest.approx(macs, rel=0.01)
    per_frame = (
        people
        * len(joints)
        * sum(
            block.space.pair.weight.numel() * frames
            for block, frames in zip(network.blocks, (64,) * 5 + (32,) * 3 + (16,) * 2, strict=True)
        )
    )
    published = {"ntu-25": 1.94e9, "coco-17": 0.63e9}[layout]
    assert counted + per_frame == pytest.approx(published, rel=0.02)
