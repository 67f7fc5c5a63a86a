"""Put an RGB network together: every ablation is an argument, every absent part an identity."""

from typing import Literal, TypedDict

import torch
from torch import nn

from poselens.rgb.difference_stem import DifferenceStem
from poselens.rgb.mobilenetv2 import STAGES, MobileNetV2
from poselens.rgb.motion_attention import Mask, Motion, MotionAttention, Phi
from poselens.rgb.network import RgbNetwork
from poselens.rgb.resnet import RESNETS, ResNet
from poselens.rgb.staa import Staa, StaaBlocks, Start, staa_sites
from poselens.rgb.temporal_aggregation import TaOrder, TaSplit, TemporalAggregation
from poselens.rgb.temporal_shift import TemporalShift

Backbone = Literal["resnet18", "resnet34", "resnet50", "mobilenetv2"]


class RgbOptions(TypedDict, total=False):
    """Arguments of `build_rgb_network` that a variant sets."""

    backbone: Backbone
    shift: bool
    causal: bool
    attend: bool
    aggregate: bool
    staa_blocks: StaaBlocks
    mask: Mask
    motion: Motion
    phi: Phi
    ta_order: TaOrder
    ta_kernel: int
    ta_split: TaSplit
    start: Start
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


def build_rgb_network(
    *,
    backbone: Backbone,
    num_classes: int,
    shift: bool = True,
    causal: bool = False,
    attend: bool = True,
    aggregate: bool = True,
    staa_blocks: StaaBlocks = "every-second",
    mask: Mask = "global",
    motion: Motion = "signed",
    phi: Phi = "own",
    ta_order: TaOrder = "spatial-temporal",
    ta_kernel: int = 3,
    ta_split: TaSplit = "own",
    start: Start = "identity",
    stem_frames: int = 1,
    width: float = 1.0,
    dropout: float = 0.5,
) -> RgbNetwork:
    """Build the RGB branch; the rows of Table 4 are four calls.

    Args:
        backbone: Which network; its parameters have torchvision's names.
        num_classes: Length of the logits.
        shift: Temporal shift; without it the frames meet only in the mean.
        causal: Nothing looks at later frames, so that a clip may arrive frame by frame.
        attend: Motion attention, Eq. (3)-(5).
        aggregate: Temporal aggregation, Eq. (6)-(8).
        staa_blocks: Which residual blocks carry the two.
        mask: What Eq. (4) makes of the differences.
        motion: Differences with their sign, or their size alone.
        phi: The convolution of Eq. (5).
        ta_order: Order of the two convolutions of Eq. (7).
        ta_kernel: Frames that Conv_dep of Eq. (7) sees, an odd number.
        ta_split: What plays ChannelSplit of Eq. (6).
        start: Whether STAA starts without effect.
        stem_frames: Frames of each snippet that reach the network.
        width: Multiple of the published numbers of channels.
        dropout: Share of pooled features dropped before the classifier.
    """

    def make_shift() -> nn.Module:
        return TemporalShift(causal=causal) if shift else nn.Identity()

    def make_staa(channels: int, stride: int) -> nn.Module:
        return Staa(
            attention=MotionAttention(channels=channels, stride=stride)
            if attend
            else nn.Identity(),
            aggregation=TemporalAggregation(channels=channels) if aggregate else nn.Identity(),
        )

    def make_stem(channels: int, stride: int) -> nn.Module:
        if stem_frames == 1:
            return nn.Identity()
        return DifferenceStem(frames=stem_frames, channels=channels, stride=stride)

    # without either part there is nothing to stand anywhere
    trunk: MobileNetV2 | ResNet
    if backbone == "mobilenetv2":
        depths: tuple[int, ...] = tuple(depth for _, _, depth, _ in STAGES)
        sites = staa_sites(depths, staa_blocks) if attend or aggregate else frozenset()
        trunk = MobileNetV2(
            width=width, shift=make_shift, staa=make_staa, sites=sites, stem=make_stem
        )
    else:
        kind, stages = RESNETS[backbone]
        sites = staa_sites(stages, staa_blocks) if attend or aggregate else frozenset()
        trunk = ResNet(
            kind=kind,
            depths=stages,
            width=width,
            shift=make_shift,
            staa=make_staa,
            sites=sites,
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
