"""Where STAA stands, and that it changes nothing until it has learned something."""

import itertools
from typing import get_args

import pytest
import torch
from torch import nn

from poselens.errors import UsageError
from poselens.rgb.build import build_rgb_network, build_staa
from poselens.rgb.memory import Memory
from poselens.rgb.motion_attention import Mask, Motion, MotionAttention, Phi
from poselens.rgb.staa import DepthwisePhi, Staa, staa_sites
from poselens.rgb.temporal_aggregation import TaOrder, TaSplit, TemporalAggregation

WITHOUT = {"attend": False, "aggregate": False}
CHOICES = {
    "mask": get_args(Mask),
    "motion": get_args(Motion),
    "phi": get_args(Phi),
    "ta_order": get_args(TaOrder),
    "ta_kernel": (1, 3, 5),
    "ta_split": get_args(TaSplit),
    "causal": (False, True),
}
READINGS = [
    dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())
]
"""All combinations."""
THREES = [reading for reading in READINGS if reading["ta_kernel"] == 3]
SOME = THREES[::19]
"""Some for whole networks, with each value of each choice."""


def named(reading):
    return "-".join(str(value) for value in reading.values())


def build(**options):
    return build_rgb_network(**({"num_classes": 5, "width": 0.125} | options))


def convolution_of_a_block(stride):
    """Return a 3x3 convolution with normalisation, as a block hands it over."""
    return nn.Sequential(
        nn.Conv2d(16, 16, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(16)
    ).eval()


def alive(network):
    """Give a fresh network statistics that keep the signal alive, and a classifier."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    network.train()(torch.randn(4, 4, 3, 64, 64))
    nn.init.normal_(network.fc.weight)
    return network.eval()


@pytest.mark.parametrize(
    ("blocks", "sites"),
    [
        ("once", {12}),
        ("last-of-stage", {2, 6, 12, 15}),
        ("every-second", {1, 3, 5, 7, 9, 11, 13, 15}),
        ("all", set(range(16))),
    ],
)
def test_sites_of_resnet50(blocks, sites):
    assert staa_sites((3, 4, 6, 3), blocks) == sites


@pytest.mark.parametrize(("attend", "aggregate"), [(True, True), (True, False), (False, True)])
def test_print_tells_which_parts_are_there(attend, aggregate):
    network = build_rgb_network(
        backbone="resnet18", num_classes=3, width=0.125, attend=attend, aggregate=aggregate
    )
    kinds = [type(part) for part in network.modules()]
    assert (kinds.count(MotionAttention), kinds.count(TemporalAggregation)) == (
        4 * attend,
        4 * aggregate,
    )
    assert str(network).count("(staa): Identity()") == 4
    assert str(network).count("(attention): Identity()") == 4 * (not attend)
    assert str(network).count("(aggregation): Identity()") == 4 * (not aggregate)


def test_nothing_of_staa_is_left_when_both_parts_are_absent():
    network = build_rgb_network(backbone="resnet18", num_classes=3, width=0.125, **WITHOUT)
    assert not any(isinstance(part, Staa) for part in network.modules())


@pytest.fixture(scope="module")
def plain():
    """Networks without STAA, by backbone."""
    return {
        backbone: alive(build(backbone=backbone, **WITHOUT))
        for backbone in ("resnet18", "resnet50", "mobilenetv2")
    }


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
@pytest.mark.parametrize(
    ("reading", "size"),
    [
        ({}, (2, 4, 33, 47)),
        ({}, (1, 1, 32, 32)),
        ({}, (1, 2, 40, 31)),
        *((reading, (1, 3, 33, 32)) for reading in SOME),
    ],
    ids=lambda value: named(value) if isinstance(value, dict) else "x".join(map(str, value)),
)
def test_logits_are_the_same_with_and_without_at_the_start(backbone, size, reading, plain):
    clips, frames, rows, columns = size
    clip = torch.randn(clips, frames, 3, rows, columns)
    staa = build(backbone=backbone, staa_blocks="all", **reading)
    missing = staa.load_state_dict(plain[backbone].state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert all(".staa." in name for name in missing.missing_keys)

    without = build(backbone=backbone, causal=reading.get("causal", False), **WITHOUT)
    without.load_state_dict(plain[backbone].state_dict())
    expected = without.eval()(clip)
    assert expected.std() > 1e-2
    torch.testing.assert_close(staa.eval()(clip), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("stride", "size", "readings"),
    [(2, (2, 3, 5, 4), READINGS), (1, (1, 2, 5, 6), THREES), (2, (1, 1, 3, 3), THREES)],
    ids=["frames", "pair", "single"],
)
def test_whatever_the_reading_it_starts_as_the_blocks_convolution(stride, size, readings):
    clips, frames, rows, columns = size
    clip = torch.randn(clips, frames, 16, rows, columns).relu()
    convolution = convolution_of_a_block(stride)
    expected = torch.unflatten(convolution(clip.flatten(0, 1)), 0, (clips, frames))
    for reading in readings:
        out = build_staa(16, stride, **reading).eval()(clip, convolution)
        torch.testing.assert_close(out, expected, atol=1e-6, rtol=1e-6)


def test_whatever_the_reading_every_parameter_learns_from_the_second_step():
    torch.manual_seed(0)
    clip, convolution = torch.randn(2, 4, 16, 5, 4).relu(), convolution_of_a_block(2)
    target = torch.randn(2, 4, 16, 3, 2)
    for reading in THREES:
        staa = build_staa(16, 2, **reading)
        optimiser = torch.optim.SGD(staa.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            (staa(clip, convolution) - target).square().mean().backward()
            still = [name for name, p in staa.named_parameters() if not p.grad.abs().sum() > 0]
            optimiser.step()
        assert still == [], named(reading)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
@pytest.mark.parametrize("reading", [{}, *SOME[::3]], ids=named)
def test_every_parameter_of_a_network_learns_from_the_second_step(backbone, reading):
    torch.manual_seed(0)
    network = build(backbone=backbone, num_classes=4, staa_blocks="all", dropout=0.0, **reading)
    nn.init.normal_(network.fc.weight)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    clip, labels = torch.randn(2, 3, 3, 40, 40), torch.tensor([0, 3])
    for _ in range(2):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(clip), labels).backward()
        gradients = {name: p.grad.abs().sum().item() for name, p in network.named_parameters()}
        optimiser.step()
    assert [name for name, gradient in gradients.items() if gradient == 0] == []


def test_the_literal_start_has_no_gain_to_learn_and_changes_the_block():
    clip, convolution = torch.randn(2, 3, 16, 5, 4).relu(), convolution_of_a_block(1)
    for phi in get_args(Phi):
        staa = build_staa(16, 1, phi=phi, start="literal").eval()
        names = {name.rpartition(".")[2] for name, _ in staa.named_parameters()}
        assert names == {"weight", "bias"}
        expected = torch.unflatten(convolution(clip.flatten(0, 1)), 0, (2, 3))
        assert not torch.allclose(staa(clip, convolution), expected, atol=1e-2)


@torch.no_grad()
def test_a_depthwise_phi_stands_before_the_blocks_convolution():
    torch.manual_seed(0)
    clip, convolution = torch.randn(2, 3, 16, 5, 7), convolution_of_a_block(2)
    staa = build_staa(16, 2, phi="depthwise").eval()
    for parameter in staa.parameters():
        parameter.uniform_(-0.5, 0.5)
    weight = staa.phi.conv.weight
    context = torch.zeros(2, 3, 16, 7, 9)
    for i, j in itertools.product(range(3), range(3)):
        context[..., 2 - i : 7 - i, 2 - j : 9 - j] += weight[:, 0, i, j].view(-1, 1, 1) * clip
    motion_map = staa.attention(clip, context[..., 1:-1, 1:-1])
    expected = convolution(staa.aggregation(motion_map).flatten(0, 1))
    torch.testing.assert_close(staa(clip, convolution).flatten(0, 1), expected)


@torch.no_grad()
def test_without_ma_a_depthwise_phi_is_not_there():
    staa = build_staa(16, 1, phi="depthwise", attend=False).eval()
    assert not any(isinstance(part, DepthwisePhi) for part in staa.modules())
    nn.init.ones_(staa.aggregation.scale)
    clip, convolution = torch.randn(1, 3, 16, 5, 4), convolution_of_a_block(1)
    expected = convolution(staa.aggregation(clip).flatten(0, 1))
    torch.testing.assert_close(staa(clip, convolution).flatten(0, 1), expected)


@torch.no_grad()
@pytest.mark.parametrize("reading", [r for r in READINGS if r["causal"]][::31], ids=named)
def test_a_causal_clip_in_pieces_is_the_clip(reading):
    torch.manual_seed(0)
    staa, convolution = build_staa(16, 2, **reading).eval(), convolution_of_a_block(2)
    for parameter in staa.parameters():
        parameter.uniform_(-0.3, 0.4)
    clip = torch.randn(2, 6, 16, 5, 4)
    whole = staa(clip, convolution)
    for borders in ((0, 1, 2, 3, 4, 5, 6), (0, 4, 6), (0, 1, 6), (0, 2, 5, 6)):
        left, pieces = (), []
        for first, last in itertools.pairwise(borders):
            memory = Memory(left)
            pieces.append(staa(clip[:, first:last], convolution, memory))
            left = memory.after
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-6, rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
@pytest.mark.parametrize("phi", get_args(Phi))
def test_features_of_a_causal_network_without_shift_arrive_frame_by_frame(backbone, phi):
    network = build(
        backbone=backbone, staa_blocks="all", shift=False, causal=True, mask="squeeze", phi=phi
    )
    for name, parameter in alive(network).named_parameters():
        if name.endswith(("gamma", "scale")):
            nn.init.normal_(parameter, std=0.3)
    network.double()  # many layers of rounding would hide a fault of the size of rounding
    clip = torch.randn(1, 4, 3, 33, 40, dtype=torch.float64)
    left, frames = (), []
    for t in range(4):
        memory = Memory(left)
        frames.append(network.backbone(clip[:, t : t + 1], memory))
        left = memory.after
    whole = network.backbone(clip)
    torch.testing.assert_close(torch.cat(frames, dim=1), whole, atol=1e-9, rtol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("mask", get_args(Mask))
@pytest.mark.parametrize("causal", [False, True])
def test_half_the_digits_stay_half_and_keep_their_layout(mask, causal):
    staa = build_staa(16, 1, mask=mask, phi="depthwise", causal=causal, start="literal")
    staa = staa.eval().to(memory_format=torch.channels_last)
    convolution = convolution_of_a_block(1).to(memory_format=torch.channels_last)
    frames = torch.randn(6, 16, 5, 4).relu().to(memory_format=torch.channels_last)
    clip = torch.unflatten(frames, 0, (2, 3))
    expected = staa(clip, convolution)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = staa(clip.bfloat16(), convolution)
    assert out.dtype == torch.bfloat16
    assert out.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.float(), expected, atol=0.15, rtol=0.1)


def test_a_graph_is_recorded_whole():
    staa = build_staa(8, 1, mask="squeeze", phi="depthwise", causal=True)
    clip, convolution = torch.randn(2, 3, 8, 4, 4), nn.Conv2d(8, 8, 1)
    traced = torch.compile(staa, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(traced(clip, convolution), staa(clip, convolution))


def test_an_even_kernel_is_refused_by_the_builder():
    with pytest.raises(UsageError, match="temporal kernel of 4 frames") as caught:
        build(backbone="resnet18", ta_kernel=4)
    assert caught.value.code == "CFG-030"


@torch.no_grad()
def test_ma_comes_before_ta():
    staa = Staa(
        attention=MotionAttention(channels=8, stride=2), aggregation=TemporalAggregation(channels=8)
    ).eval()
    nn.init.ones_(staa.attention.gamma)
    nn.init.ones_(staa.aggregation.scale)
    clip, context = torch.randn(1, 3, 8, 7, 5), torch.randn(1, 3, 8, 4, 3)
    expected = staa.aggregation(staa.attention(clip, context))
    assert torch.equal(staa(clip, lambda _frames: context[0]), expected)
    assert not torch.allclose(expected, context)


@torch.no_grad()
def test_phi_of_a_bottleneck_is_its_second_convolution():
    network = build_rgb_network(
        backbone="resnet50", num_classes=3, width=0.125, staa_blocks="all", shift=False
    )
    block = network.eval().backbone.layer2[0]
    nn.init.ones_(block.staa.attention.gamma)
    frames = torch.randn(3, block.conv1.in_channels, 6, 6)
    seen = []
    handle = block.staa.register_forward_hook(
        lambda _, inputs, output: seen.append((inputs, output))
    )
    out = block(frames[None])
    handle.remove()

    inner = torch.relu(block.bn1(block.conv1(frames)))
    (clip, phi, _), mapped = seen[0]
    torch.testing.assert_close(clip[0], inner)
    torch.testing.assert_close(phi(clip[0]), block.bn2(block.conv2(inner)))
    last = block.bn3(block.conv3(torch.relu(mapped[0])))
    torch.testing.assert_close(out[0], torch.relu(last + block.downsample(frames)))
