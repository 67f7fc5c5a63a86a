"""Temporal aggregation (TA): Eq. (6)-(8)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poselens.rgb.memory import Memory

TaOrder = Literal["spatial-temporal", "temporal-spatial"]
"""Order of the two convolutions of Eq. (7)."""
TaSplit = Literal["own", "block"]
"""ChannelSplit of Eq. (6): a 1x1 convolution of its own, or the block's first."""

FRAGMENTS = 4
"""Parts v1..v4 into which Eq. (6) splits the channels."""


class DepthwiseSeparable(nn.Module):
    """Conv_dep of Eq. (7): three frames per channel, then a pointwise convolution.

    Departure: the kind of the convolution is open in the paper ("1D depthwise separable" in the
    text). It is temporal, has kernel 3 and zero padding, and starts as the identity.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size=(3, 1), padding=(1, 0), groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        nn.init.dirac_(self.depthwise.weight, groups=channels)
        nn.init.dirac_(self.pointwise.weight)

    def forward(self, clip: Float[Tensor, "n t c h w"]) -> Float[Tensor, "n t c h w"]:
        """Return ``clip`` filtered along time and mixed along channels; shape unchanged."""
        # Time as rows and all positions as columns: in channels_last this is a view, where a 1-d
        # convolution would have to move time to the last axis.
        columns = self.depthwise(clip.movedim(2, 1).flatten(3))  # (n, c, t, h * w)
        filtered = torch.unflatten(columns, 3, clip.shape[3:]).movedim(1, 2)
        frames = self.bn(self.pointwise(filtered.flatten(0, 1)))
        return torch.unflatten(frames, 0, clip.shape[:2])


class TemporalAggregation(nn.Module):
    r"""Pass information along time through a chain of channel fragments. Eq. (6)-(8).

    .. math::
        [v_1, v_2, v_3, v_4] = ChannelSplit(M_{map}), \quad q_1 = v_1, \quad
        q_2 = dep(sc(v_2)), \quad q_i = dep(sc(v_i + q_{i-1})), \quad Q = [q_1, q_2, q_3, q_4]

    sc is a 3x3 convolution, dep a `DepthwiseSeparable`; q4 sees seven frames.

    Departure: ChannelSplit, "a 1x1 convolution" that "evenly splits", is a 1x1 convolution with
    normalisation and ReLU followed by an even split. The output is M_map + scale * Q, one scale per
    channel, which starts at 0: a pretrained block computes at first exactly what it did.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        part = channels // FRAGMENTS
        self.split = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.spatial = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(part, part, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(part),
                nn.ReLU(inplace=True),
            )
            for _ in range(FRAGMENTS - 1)
        )
        self.temporal = nn.ModuleList(
            DepthwiseSeparable(channels=part) for _ in range(FRAGMENTS - 1)
        )
        self.scale = nn.Parameter(torch.zeros(channels))
        for part_of in (self.split, self.spatial):
            for convolution in part_of.modules():
                if isinstance(convolution, nn.Conv2d):
                    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")

    def aggregate(self, clip: Float[Tensor, "n t c h w"]) -> Float[Tensor, "n t c h w"]:
        """Return Q of Eq. (8)."""
        size = clip.shape[:2]
        first, *others = self.split(clip.flatten(0, 1)).chunk(FRAGMENTS, dim=1)
        outputs = [first]
        for fragment, spatial, temporal in zip(others, self.spatial, self.temporal, strict=True):
            # q1 = v1 is not fed on: the chain of Eq. (7) starts at v2.
            joined = fragment if len(outputs) == 1 else fragment + outputs[-1]
            outputs.append(temporal(torch.unflatten(spatial(joined), 0, size)).flatten(0, 1))
        return torch.unflatten(torch.cat(outputs, dim=1), 0, size)

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c h w"]:
        """Return ``clip`` plus its scaled aggregate; shape unchanged."""
        aggregate = self.aggregate(clip)
        return torch.addcmul(clip, aggregate, self.scale.view(-1, 1, 1).to(clip.dtype))
