"""Put an RGB network together: every ablation is an argument, every absent part an identity."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypedDict, Unpack

import torch
from torch import nn

from poselens.rgb.difference_stem import DifferenceStem
from poselens.rgb.mobilenetv2 import STAGES, MobileNetV2
from poselens.rgb.motion_attention import Mask, Motion, MotionAttention, Phi
from poselens.rgb.network import RgbNetwork
from poselens.rgb.resnet import RESNETS, ResNet
from poselens.rgb.staa import DepthwisePhi, Staa, StaaBlocks, Start, staa_sites
from poselens.rgb.temporal_aggregation import TaOrder, TaSplit, TemporalAggregation
from poselens.rgb.temporal_shift import TemporalShift

Backbone = Literal["resnet18", "resnet34", "resnet50", "mobilenetv2"]


class StaaOptions(TypedDict, total=False):
    """How STAA reads the paper: arguments of `build_staa`, which has the defaults.

    The choice of each default, and what the others cost, is in docs/decisions (0002 and 0011).

    Attributes:
        attend: Motion attention, Eq. (3)-(5).
        aggregate: Temporal aggregation, Eq. (6)-(8).
        mask: What Eq. (4) makes of the differences.
        motion: Differences with their sign, or their size alone.
        phi: The convolution of Eq. (5): the block's own, or one before it.
        ta_order: Order of the two convolutions of Eq. (7).
        ta_kernel: Frames that Conv_dep of Eq. (7) sees, an odd number.
        ta_split: What plays ChannelSplit of Eq. (6).
        start: Whether STAA starts without effect, so that weights from before keep working, or as
            the equations stand.
    """

    attend: bool
    aggregate: bool
    mask: Mask
    motion: Motion
    phi: Phi
    ta_order: TaOrder
    ta_kernel: int
    ta_split: TaSplit
    start: Start


class RgbOptions(StaaOptions, total=False):
    """Arguments of `build_rgb_network` that a variant sets."""

    backbone: Backbone
    shift: bool
    causal: bool
    staa_blocks: StaaBlocks
    stem_frames: int
    width: float
    dropout: float


VARIANTS: dict[str, RgbOptions] = {
    "paper": {"backbone": "resnet50", "staa_blocks": "once"},
    "best": {"backbone": "resnet50", "staa_blocks": "every-second"},
    "mobile": {"backbone": "mobilenetv2", "staa_blocks": "every-second", "aggregate": False},
    "tiny": {"backbone": "resnet18", "staa_blocks": "once", "width": 0.25},
}
"""``paper`` fits the published 35.1 GMACs, ``best`` does not (decision 0002).

``mobile`` has no TA, whose full convolutions on the wide inner channels would cost more than the
network.
"""


def build_staa(
    channels: int,
    stride: int,
    *,
    attend: bool = True,
    aggregate: bool = True,
    mask: Mask = "global",
    motion: Motion = "signed",
    phi: Phi = "own",
    ta_order: TaOrder = "spatial-temporal",
    ta_kernel: int = 3,
    ta_split: TaSplit = "own",
    start: Start = "identity",
    causal: bool = False,
) -> Staa:
    """Put one STAA together, for a block whose 3x3 convolution has these channels and this stride.

    `StaaOptions` says what the other arguments are.

    Raises:
        UsageError: ``CFG-030`` for an even ``ta_kernel``, ``CFG-031`` for channels that do not
            part evenly.
    """
    own = phi == "own"
    attention: nn.Module = nn.Identity()
    aggregation: nn.Module = nn.Identity()
    if attend:
        attention = MotionAttention(
            channels=channels,
            stride=stride if own else 1,
            mask=mask,
            motion=motion,
            start=start,
            causal=causal,
        )
    if aggregate:
        aggregation = TemporalAggregation(
            channels=channels,
            order=ta_order,
            kernel=ta_kernel,
            split=ta_split,
            start=start,
            causal=causal,
        )
    if own:
        return Staa(attention=attention, aggregation=aggregation)
    context = DepthwisePhi(channels=channels, start=start) if attend else nn.Identity()
    return Staa(attention=attention, aggregation=aggregation, phi=context)


def _build_backbone(
    backbone: Backbone,
    *,
    width: float,
    shift: Callable[[], nn.Module],
    staa: Callable[[int, int], nn.Module],
    staa_blocks: StaaBlocks | None,
    stem: Callable[[int, int], nn.Module],
) -> MobileNetV2 | ResNet:
    """Build a backbone whose blocks have been given what to shift and attend with."""
    if backbone == "mobilenetv2":
        sites = _sites(tuple(depth for _, _, depth, _ in STAGES), staa_blocks)
        return MobileNetV2(width=width, shift=shift, staa=staa, sites=sites, stem=stem)
    kind, depths = RESNETS[backbone]
    sites = _sites(depths, staa_blocks)
    return ResNet(
        kind=kind, depths=depths, width=width, shift=shift, staa=staa, sites=sites, stem=stem
    )


def _sites(depths: Sequence[int], blocks: StaaBlocks | None) -> frozenset[int]:
    return frozenset() if blocks is None else staa_sites(depths, blocks)


def build_rgb_network(
    *,
    backbone: Backbone,
    num_classes: int,
    shift: bool = True,
    causal: bool = False,
    staa_blocks: StaaBlocks = "every-second",
    stem_frames: int = 1,
    width: float = 1.0,
    dropout: float = 0.5,
    **staa: Unpack[StaaOptions],
) -> RgbNetwork:
    """Build the RGB branch; the rows of Table 4 are four calls.

    Args:
        backbone: Which network; its parameters have torchvision's names.
        num_classes: Length of the logits.
        shift: Temporal shift; without it the frames meet only in the mean.
        causal: Nothing looks at later frames, so that a clip may arrive frame by frame.
        staa_blocks: Which residual blocks carry STAA.
        stem_frames: Frames of each snippet that reach the network.
        width: Multiple of the published numbers of channels.
        dropout: Share of pooled features dropped before the classifier.
        **staa: Every reading of the paper; see `StaaOptions`.

    Raises:
        UsageError: ``CFG-030`` for an even ``ta_kernel``.
    """

    def make_shift() -> nn.Module:
        return TemporalShift(causal=causal) if shift else nn.Identity()

    def make_stem(channels: int, stride: int) -> nn.Module:
        if stem_frames == 1:
            return nn.Identity()
        return DifferenceStem(frames=stem_frames, channels=channels, stride=stride)

    trunk = _build_backbone(
        backbone,
        width=width,
        shift=make_shift,
        staa=partial(build_staa, causal=causal, **staa),
        # without either part there is nothing to stand anywhere
        staa_blocks=staa_blocks
        if staa.get("attend", True) or staa.get("aggregate", True)
        else None,
        stem=make_stem,
    )
    network = RgbNetwork(
        backbone=trunk,
        channels=trunk.channels,
        num_classes=num_classes,
        dropout=dropout,
        causal=causal,
    )
    # The first convolution then turns any clip to channels_last, and every later part keeps it.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub
    return network
