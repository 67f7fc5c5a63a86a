"""Parts of a network that are not trained: weights stay, and so do running statistics."""

from collections.abc import Iterator, Sequence

from torch import nn

from poselens.errors import UsageError
from poselens.rgb.difference_stem import DifferenceStem
from poselens.rgb.mobilenetv2 import STAGES, MobileNetV2
from poselens.rgb.network import RgbNetwork
from poselens.rgb.resnet import ResNet
from poselens.rgb.staa import Staa
from poselens.skeleton.network import CtrGcn
from poselens.training.config import RgbSection, SkeletonSection

_ADDED = (Staa, DifferenceStem)
"""What no pretrained weights hold."""


def freeze(network: nn.Module, section: RgbSection | SkeletonSection) -> tuple[nn.Module, ...]:
    """Take what ``training.freeze`` says out of training; returns the modules.

    The modules have to be kept in evaluation mode, so that normalisations use the statistics they
    came with, and dropout does nothing.

    Departure: STAA and difference stems, which pretrained weights do not hold, go on being trained
    wherever they stand, unless the choice is ``linear-probe``.

    Args:
        network: Of either branch; its parameters lose their gradient.
        section: The resolved settings. ``stages:N`` is the first N stages and what comes before.

    Raises:
        UsageError: ``CFG-051`` for more stages than the network has.
    """
    choice = section.training.freeze
    if choice == "none":
        return ()
    assert isinstance(network, RgbNetwork | CtrGcn)
    blocks = section.network.blocks if isinstance(section, SkeletonSection) else ()
    roots = _roots(network, choice, blocks)
    spared = () if choice == "linear-probe" else _ADDED
    frozen = tuple(module for root in roots for module in _below(root, spared))
    for module in frozen:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    return frozen


def hold(frozen: Sequence[nn.Module]) -> None:
    """Put frozen modules into evaluation mode, and none that stand inside them."""
    for module in frozen:
        module.training = False


def counted(network: nn.Module) -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are."""
    sizes = [(each.numel(), each.requires_grad) for each in network.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def _roots(network: RgbNetwork | CtrGcn, choice: str, blocks: Sequence[int]) -> list[nn.Module]:
    if not choice.startswith("stages:"):
        if isinstance(network, CtrGcn):
            return [network.data_norm, network.blocks]
        return [network.backbone]
    stages = _stages(network, blocks)
    wanted = int(choice.removeprefix("stages:"))
    if wanted >= len(stages):
        raise UsageError(
            "CFG-051",
            f"found training.freeze={choice}, and the network has {len(stages) - 1} stages",
            mend=f"use stages:1 to stages:{len(stages) - 1}, or backbone",
        )
    return [module for stage in stages[: wanted + 1] for module in stage]


def _stages(network: RgbNetwork | CtrGcn, blocks: Sequence[int]) -> list[list[nn.Module]]:
    """Return what comes before the first stage, then the modules of each stage."""
    if isinstance(network, CtrGcn):
        return [[network.data_norm], *_split(list(network.blocks), blocks)]
    backbone = network.backbone
    if isinstance(backbone, MobileNetV2):
        stem, *others = backbone.features
        return [[stem], *_split(others, [depth for _, _, depth, _ in STAGES])]
    assert isinstance(backbone, ResNet)
    stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    return [[backbone.conv1, backbone.bn1], *_split(list(stages), [1] * len(stages))]


def _split(modules: list[nn.Module], depths: Sequence[int]) -> list[list[nn.Module]]:
    stages, first = [], 0
    for depth in depths:
        stages.append(modules[first : first + depth])
        first += depth
    return stages


def _below(module: nn.Module, spared: tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    if isinstance(module, spared):
        return
    yield module
    for child in module.children():
        yield from _below(child, spared)
