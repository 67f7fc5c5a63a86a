"""Where STAA stands, and that it changes nothing until it has learned something."""

import pytest
import torch
from torch import nn

from poselens.rgb.build import build_rgb_network
from poselens.rgb.motion_attention import MotionAttention
from poselens.rgb.staa import Staa, staa_sites
from poselens.rgb.temporal_aggregation import TemporalAggregation

WITHOUT = {"attend": False, "aggregate": False}


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


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
@pytest.mark.parametrize("size", [(2, 4, 33, 47), (1, 1, 32, 32), (1, 2, 40, 31)])
def test_logits_are_the_same_with_and_without_at_the_start(backbone, size):
    clips, frames, rows, columns = size
    clip = torch.randn(clips, frames, 3, rows, columns)
    plain = build_rgb_network(backbone=backbone, num_classes=7, width=0.25, **WITHOUT)
    for part in plain.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    plain.train()(torch.randn(4, 4, 3, 64, 64))  # statistics that keep the signal alive
    nn.init.normal_(plain.fc.weight)
    staa = build_rgb_network(backbone=backbone, num_classes=7, width=0.25, staa_blocks="all")
    missing = staa.load_state_dict(plain.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert all(".staa." in name for name in missing.missing_keys)

    expected = plain.eval()(clip)
    assert expected.std() > 1e-2
    torch.testing.assert_close(staa.eval()(clip), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
def test_every_parameter_learns_from_the_second_step(backbone):
    torch.manual_seed(0)
    network = build_rgb_network(
        backbone=backbone, num_classes=4, width=0.125, staa_blocks="all", dropout=0.0
    )
    nn.init.normal_(network.fc.weight)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    clip, labels = torch.randn(2, 3, 3, 40, 40), torch.tensor([0, 3])
    for _ in range(2):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(clip), labels).backward()
        gradients = {name: p.grad.abs().sum().item() for name, p in network.named_parameters()}
        optimiser.step()
    assert [name for name, gradient in gradients.items() if gradient == 0] == []


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
