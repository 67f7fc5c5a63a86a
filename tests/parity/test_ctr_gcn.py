"""The equations of CTR-GCN, against loops."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from poselens.pose.layouts import get_layout
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
    return space.eval()


def looped_relation(space, feature):
    """tanh(mean_t theta(x)_i - mean_t phi(x)_j), with the mean over time after the convolution."""
    n, _, v, t = feature.shape
    r = space.receive.out_channels // 3
    relation = torch.zeros(n, 3, r, v, v, dtype=feature.dtype)
    for clip in range(n):
        for k in range(3):
            for q in range(r):
                row = k * r + q
                for i in range(v):
                    for j in range(v):
                        here = there = 0.0
                        for frame in range(t):
                            x_i, x_j = feature[clip, :, i, frame], feature[clip, :, j, frame]
                            receive, send = space.receive, space.send
                            here += float(receive.weight[row, :, 0] @ x_i + receive.bias[row])
                            there += float(send.weight[row, :, 0] @ x_j + send.bias[row])
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


def test_refined_topology_is_the_equation():
    space = small_refinement()
    feature = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        added = looped_refinement(space, looped_relation(space, feature))
        expected = space.topology[None, :, None] + space.strength * added
        relation = space.relate(feature)
        torch.testing.assert_close(space.refined(relation).unflatten(-1, (5, 5)), expected)
        torch.testing.assert_close(space.graph(relation), added.mean(dim=2))


def test_aggregation_sums_over_subsets_and_sending_joints():
    space = small_refinement()
    feature = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        refined = space.refined(space.relate(feature)).unflatten(-1, (5, 5))
        weight, bias = space.transform.weight[:, :, 0, 0], space.transform.bias
        expected = torch.zeros(2, 8, 5, 3, dtype=torch.float64)
        for clip in range(2):
            for d in range(8):
                for i in range(5):
                    for frame in range(3):
                        for k in range(3):
                            row = 3 * d + k
                            for j in range(5):
                                message = weight[row] @ feature[clip, :, j, frame] + bias[row]
                                expected[clip, d, i, frame] += refined[clip, k, d, i, j] * message
        torch.testing.assert_close(space.aggregate(feature, space.relate(feature)), expected)


def test_at_the_start_the_topologies_are_the_layouts_own():
    layout = get_layout("coco-17")
    adjacency = torch.from_numpy(spatial_partition(layout))
    space = TopologyRefinement(channels=3, out_channels=4, adjacency=adjacency)
    refined = space.refined(space.relate(torch.randn(2, 3, 17, 6))).unflatten(-1, (17, 17))
    torch.testing.assert_close(refined, adjacency[None, :, None].expand(2, -1, 4, -1, -1))


@pytest.mark.parametrize(("stride", "frames", "expected"), [(1, 9, 9), (2, 9, 5), (2, 8, 4)])
def test_temporal_part_keeps_channels_and_joints_and_strides_time(stride, frames, expected):
    time = MultiScaleTemporal(channels=8, stride=stride).eval()
    assert time(torch.randn(2, 8, 5, frames)).shape == (2, 8, 5, expected)


def test_temporal_branches_are_four_scales_in_loops():
    torch.manual_seed(0)
    time = MultiScaleTemporal(channels=8, stride=2).double().eval()
    feature = torch.randn(1, 8, 2, 11, dtype=torch.float64)
    with torch.no_grad():
        entered = time.enter_norm(time.enter(feature))
        expected = torch.zeros(1, 8, 2, 6, dtype=torch.float64)

        def at(channel, joint, frame):
            inside = 0 <= frame < 11
            return torch.relu(entered[0, channel, joint, frame]) if inside else torch.tensor(0.0)

        for joint in range(2):
            for out_frame in range(6):
                middle = 2 * out_frame
                for branch, (convolution, dilation) in enumerate(((time.near, 1), (time.far, 2))):
                    for d in range(2):
                        total = convolution.bias[d].clone()
                        for c in range(2):
                            for tap in range(5):
                                source = at(2 * branch + c, joint, middle + dilation * (tap - 2))
                                total += convolution.weight[d, c, 0, tap] * source
                        expected[0, 2 * branch + d, joint, out_frame] = total
                for d in range(2):
                    expected[0, 4 + d, joint, out_frame] = max(
                        at(4 + d, joint, middle + step) for step in (-1, 0, 1)
                    )
                    expected[0, 6 + d, joint, out_frame] = entered[0, 6 + d, joint, middle]
        # fresh normalisation in evaluation is a division by sqrt(1 + eps)
        expected[:, :6] /= math.sqrt(1 + time.leave_norm.eps)
        torch.testing.assert_close(time(feature), expected)


def test_block_adds_its_input_where_shapes_agree():
    torch.manual_seed(0)
    block = Block(channels=4, out_channels=4, adjacency=torch.rand(3, 5, 5)).eval()
    feature = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        expected = torch.relu(block.time(block.space(feature)[0]) + feature)
        torch.testing.assert_close(block(feature)[0], expected)


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
            (2 * block.space.receive.weight.numel()) * frames
            for block, frames in zip(network.blocks, (64,) * 5 + (32,) * 3 + (16,) * 2, strict=True)
        )
    )
    published = {"ntu-25": 1.94e9, "coco-17": 0.63e9}[layout]
    assert counted + per_frame == pytest.approx(published, rel=0.02)
