"""Put an RGB network together: every ablation is an argument, every absent part an identity."""

from typing import Literal, TypedDict

import torch

from poselens.rgb.mobilenetv2 import STAGES, MobileNetV2
from poselens.rgb.network import RgbNetwork
from poselens.rgb.resnet import RESNETS, ResNet
from poselens.rgb.staa import StaaBlocks, staa_sites

Backbone = Literal["resnet18", "resnet34", "resnet50", "mobilenetv2"]


class RgbOptions(TypedDict, total=False):
    """Arguments of `build_rgb_network` that a variant sets."""

    backbone: Backbone
    shift: bool
    attend: bool
    aggregate: bool
    staa_blocks: StaaBlocks
    width: float
    dropout: float


VARIANTS: dict[str, RgbOptions] = {
    "paper": {"backbone": "resnet50", "staa_blocks": "once"},
    "best": {"backbone": "resnet50", "staa_blocks": "every-second"},
    "mobile": {"backbone": "mobilenetv2", "staa_blocks": "every-second", "aggregate": False},
    "tiny": {"backbone": "resnet18", "staa_blocks": "every-second", "width": 0.25},
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
    attend: bool = True,
    aggregate: bool = True,
    staa_blocks: StaaBlocks = "every-second",
    width: float = 1.0,
    dropout: float = 0.5,
) -> RgbNetwork:
    """Build the RGB branch; the rows of Table 4 are four calls.

    Args:
        backbone: Which network; its parameters have torchvision's names.
        num_classes: Length of the logits.
        shift: Temporal shift; without it the frames meet only in the mean.
        attend: Motion attention, Eq. (3)-(5).
        aggregate: Temporal aggregation, Eq. (6)-(8).
        staa_blocks: Which residual blocks carry the two.
        width: Multiple of the published numbers of channels.
        dropout: Share of pooled features dropped before the classifier.
    """
    if backbone == "mobilenetv2":
        depths: tuple[int, ...] = tuple(depth for _, _, depth, _ in STAGES)
        trunk: MobileNetV2 | ResNet = MobileNetV2(
            width=width,
            shift=shift,
            attend=attend,
            aggregate=aggregate,
            sites=staa_sites(depths, staa_blocks),
        )
    else:
        kind, stages = RESNETS[backbone]
        trunk = ResNet(
            kind=kind,
            depths=stages,
            width=width,
            shift=shift,
            attend=attend,
            aggregate=aggregate,
            sites=staa_sites(stages, staa_blocks),
        )
    network = RgbNetwork(
        backbone=trunk, channels=trunk.channels, num_classes=num_classes, dropout=dropout
    )
    # The first convolution then turns any clip to channels_last, and every later part keeps it.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub
    return network
