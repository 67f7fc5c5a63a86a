"""What is frozen stays to the last bit; the rest is trained."""

import pytest
import torch

from poselens.clips.stream import SkeletonStream, build_network
from poselens.errors import UsageError
from poselens.rgb.build import build_rgb_network
from poselens.training.config import RgbSection, SkeletonSection
from poselens.training.freeze import counted, freeze, hold
from poselens.training.optim import build_optimizer


def rgb(backbone="resnet18", **options):
    torch.manual_seed(0)
    settings = {"staa_blocks": "every-second", "width": 0.125, "dropout": 0.5, **options}
    return build_rgb_network(backbone=backbone, num_classes=3, **settings)


def skeleton():
    torch.manual_seed(0)
    section = SkeletonSection()
    network = section.network.model_copy(update={"width": 8, "blocks": (2, 1)})
    section = section.model_copy(update={"network": network})
    classes = tuple("abc")
    stream = SkeletonStream(
        classes=classes, input=section.input, network=network, layout="coco-17", dimensions=3
    )
    return build_network(stream), section


def choosing(section, choice):
    training = section.training.model_copy(update={"freeze": choice})
    return section.model_copy(update={"training": training})


def one_step(network, frozen, *inputs):
    """Train a step; returns the names of what was changed by it."""
    optimizer = build_optimizer(
        network,
        lr=0.1,
        momentum=0.9,
        nesterov=False,
        weight_decay=0.1,
        decay_all=True,
        head_lr_factor=1.0,
    )
    network.train()
    hold(frozen)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(*inputs).square().sum().backward()
    optimizer.step()
    after = network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def in_staa(name):
    return ".staa." in name or "difference_stem" in name


CLIP = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("backbone", "choice", "stays"),
    [
        ("resnet18", "none", ()),
        ("resnet18", "linear-probe", ("backbone.",)),
        ("resnet18", "backbone", ("backbone.",)),
        ("resnet18", "stages:1", ("backbone.conv1", "backbone.bn1", "backbone.layer1")),
        (
            "resnet18",
            "stages:3",
            ("backbone.conv1", "backbone.bn1", *(f"backbone.layer{n}" for n in (1, 2, 3))),
        ),
        ("mobilenetv2", "stages:2", tuple(f"backbone.features.{n}." for n in range(4))),
    ],
)
def test_an_rgb_network_keeps_what_is_frozen(backbone, choice, stays):
    network = rgb(backbone)
    frozen = freeze(network, choosing(RgbSection(), choice))
    changed = one_step(network, frozen, CLIP)
    spared = choice != "linear-probe"

    def kept(name):
        return name.startswith(stays) and not (spared and in_staa(name))

    names = [name for name in network.state_dict() if stays and kept(name)]
    assert not changed & set(names)
    # weights and statistics of the rest move; STAA starts as an identity, part of which has no
    # gradient at the first step
    moving = {
        name
        for name, _ in network.named_parameters()
        if not (stays and kept(name)) and not in_staa(name)
    }
    assert moving <= changed
    assert moving or choice == "linear-probe"
    assert any(map(in_staa, changed)) == spared
    trained, everything = counted(network)
    still = sum(p.numel() for name, p in network.named_parameters() if name in names)
    assert trained == everything - still


def test_a_linear_probe_trains_the_classifier_alone():
    network = rgb()
    frozen = freeze(network, choosing(RgbSection(), "linear-probe"))
    assert one_step(network, frozen, CLIP) == {"fc.weight", "fc.bias"}
    assert counted(network)[0] == network.fc.weight.numel() + 3
    assert network.dropout.training
    assert not any(part.training for part in network.backbone.modules())


def test_a_difference_stem_is_trained_beside_a_frozen_backbone():
    network = rgb(stem_frames=2)
    freeze(network, choosing(RgbSection(), "backbone"))
    trained = [name for name, value in network.named_parameters() if value.requires_grad]
    assert any("difference_stem" in name for name in trained)
    assert {name for name in trained if not in_staa(name)} == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(
    ("choice", "stays"),
    [
        ("backbone", ("data_norm", "blocks")),
        ("linear-probe", ("data_norm", "blocks")),
        ("stages:1", ("data_norm", "blocks.0.", "blocks.1.")),
        ("stages:2", ("data_norm", "blocks")),
    ],
)
def test_a_skeleton_network_keeps_what_is_frozen(choice, stays):
    network, section = skeleton()
    frozen = freeze(network, choosing(section, choice))
    changed = one_step(network, frozen, torch.randn(3, 3, 8, 17, 1))
    assert not any(name.startswith(stays) for name in changed)
    assert {"classify.weight", "classify.bias"} <= changed
    if choice == "stages:1":
        assert any(name.startswith("blocks.2.") for name in changed)


def test_more_stages_than_there_are_are_refused():
    with pytest.raises(UsageError, match="freeze=stages:5, and the network has 4 stages") as caught:
        freeze(rgb(), choosing(RgbSection(), "stages:5"))
    assert caught.value.code == "CFG-051"
    network, section = skeleton()
    with pytest.raises(UsageError, match="has 2 stages.*use stages:1 to stages:2, or backbone"):
        freeze(network, choosing(section, "stages:3"))


def test_evaluation_and_training_do_not_wake_what_is_frozen():
    network = rgb()
    frozen = freeze(network, choosing(RgbSection(), "backbone"))
    for _ in range(2):
        network.eval()
        network.train()
        hold(frozen)
        assert not network.backbone.training
        assert network.fc.training
        assert not network.backbone.bn1.training
