"""Names, shapes and sizes of the backbones are torchvision's."""

import pytest
import torch
from torch import nn

from poselens.rgb.build import build_rgb_network
from poselens.rgb.temporal_shift import TemporalShift

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def plain(backbone, **options):
    """Build a backbone of 1000 classes with nothing of ours in it."""
    with torch.device("meta"):
        return build_rgb_network(
            backbone=backbone,
            num_classes=1000,
            shift=False,
            attend=False,
            aggregate=False,
            **options,
        )


def published(network, classifier):
    """Give the names as torchvision writes them."""
    return {
        name.replace("backbone.", "").replace("fc.", classifier): tuple(value.shape)
        for name, value in network.state_dict().items()
    }


def norm_names(prefix):
    return {f"{prefix}.{field}" for field in NORM}


def resnet_names(depths, convolutions, widened):
    """Write the names of a ResNet down from its layout."""
    names = {"conv1.weight", "fc.weight", "fc.bias"} | norm_names("bn1")
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            for number in range(1, convolutions + 1):
                names |= {f"{prefix}.conv{number}.weight"} | norm_names(f"{prefix}.bn{number}")
            if block == 0 and (stage > 1 or widened):
                names |= {f"{prefix}.downsample.0.weight"} | norm_names(f"{prefix}.downsample.1")
    return names


def mobilenet_names():
    """Write the names of MobileNetV2 down from its layout: 17 blocks, the first not expanded."""
    names = {"classifier.1.weight", "classifier.1.bias"}
    for convolution in ("features.0", "features.18"):
        names |= {f"{convolution}.0.weight"} | norm_names(f"{convolution}.1")
    for block in range(1, 18):
        steps = 1 if block == 1 else 2
        prefix = f"features.{block}.conv"
        for step in range(steps):
            names |= {f"{prefix}.{step}.0.weight"} | norm_names(f"{prefix}.{step}.1")
        names |= {f"{prefix}.{steps}.weight"} | norm_names(f"{prefix}.{steps + 1}")
    return names


@pytest.mark.parametrize(
    ("backbone", "expected", "tensors"),
    [
        ("resnet18", resnet_names((2, 2, 2, 2), 2, widened=False), 122),
        ("resnet34", resnet_names((3, 4, 6, 3), 2, widened=False), 218),
        ("resnet50", resnet_names((3, 4, 6, 3), 3, widened=True), 320),
        ("mobilenetv2", mobilenet_names(), 314),
    ],
)
def test_names_are_torchvisions(backbone, expected, tensors):
    classifier = "classifier.1." if backbone == "mobilenetv2" else "fc."
    names = set(published(plain(backbone), classifier))
    assert names == expected
    assert len(names) == tensors


@pytest.mark.parametrize(
    ("backbone", "numbers"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("mobilenetv2", 3_504_872),
    ],
)
def test_parameter_counts_are_the_published_ones(backbone, numbers):
    assert sum(parameter.numel() for parameter in plain(backbone).parameters()) == numbers


def test_shapes_of_resnet50():
    shapes = published(plain("resnet50"), "fc.")
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer2.0.conv2.weight"] == (128, 128, 3, 3)
    assert shapes["layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert shapes["fc.weight"] == (1000, 2048)


def test_shapes_of_mobilenetv2():
    shapes = published(plain("mobilenetv2"), "classifier.1.")
    assert shapes["features.1.conv.0.0.weight"] == (32, 1, 3, 3)
    assert shapes["features.2.conv.1.0.weight"] == (96, 1, 3, 3)
    assert shapes["features.17.conv.2.weight"] == (320, 960, 1, 1)
    assert shapes["features.18.0.weight"] == (1280, 320, 1, 1)


@pytest.mark.parametrize(
    ("backbone", "sizes"),
    [("resnet18", (512, 2, 3)), ("resnet50", (2048, 2, 3)), ("mobilenetv2", (1280, 2, 3))],
)
def test_last_maps_have_a_32nd_of_the_size_rounded_up(backbone, sizes):
    with torch.device("meta"):
        clip = torch.empty(2, 3, 3, 64, 65)
        assert plain(backbone).features(clip).shape == (2, 3, *sizes)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_width_scales_every_layer_in_steps_of_eight(backbone):
    narrow = plain(backbone, width=0.25)
    outputs = {part.out_channels for part in narrow.modules() if isinstance(part, nn.Conv2d)}
    assert all(channels % 8 == 0 for channels in outputs)
    assert 4 * min(outputs) <= 64


def test_strides_of_a_bottleneck_are_in_its_second_convolution():
    block = plain("resnet50").backbone.layer2[0]
    strides = [part.stride for part in (block.conv1, block.conv2, block.downsample[0])]
    assert strides == [(1, 1), (2, 2), (2, 2)]


@pytest.mark.parametrize(("backbone", "blocks"), [("resnet18", 8), ("resnet50", 16)])
def test_every_residual_block_shifts_before_its_first_convolution(backbone, blocks):
    with torch.device("meta"):
        network = build_rgb_network(backbone=backbone, num_classes=3)
    shifts = [name for name, part in network.named_modules() if isinstance(part, TemporalShift)]
    assert len(shifts) == blocks


def test_mobilenetv2_shifts_in_the_ten_blocks_with_a_shortcut():
    with torch.device("meta"):
        network = build_rgb_network(backbone="mobilenetv2", num_classes=3)
    blocks = network.backbone.features
    shifting = [
        i for i, b in enumerate(blocks) if isinstance(getattr(b, "shift", None), TemporalShift)
    ]
    assert shifting == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]


def by_hand(block, clip):
    """Compute a plain bottleneck on one clip, frame by frame, from its definition."""
    frames, channels = clip.shape[0], clip.shape[1]
    eighth = channels // 8
    mixed = torch.zeros_like(clip)
    mixed[:, 2 * eighth :] = clip[:, 2 * eighth :]
    for t in range(frames - 1):
        mixed[t, :eighth] = clip[t + 1, :eighth]
        mixed[t + 1, eighth : 2 * eighth] = clip[t, eighth : 2 * eighth]
    out = torch.relu(block.bn1(block.conv1(mixed)))
    out = torch.relu(block.bn2(block.conv2(out)))
    return torch.relu(block.bn3(block.conv3(out)) + block.downsample(clip))


@torch.no_grad()
def test_the_shortcut_is_not_shifted():
    network = build_rgb_network(backbone="resnet50", num_classes=3, width=0.125, staa_blocks="once")
    block = network.eval().backbone.layer2[0]
    clip = torch.randn(4, block.conv1.in_channels, 6, 5)
    torch.testing.assert_close(block(clip[None])[0], by_hand(block, clip))
