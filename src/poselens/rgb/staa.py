"""Spatio-temporal attention and aggregation (STAA): MA then TA, and where they sit."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poselens.rgb.memory import Memory
from poselens.rgb.motion_attention import MotionAttention
from poselens.rgb.temporal_aggregation import TemporalAggregation

StaaBlocks = Literal["once", "last-of-stage", "every-second", "all"]
"""Which residual blocks carry STAA; see `staa_sites`."""
Start = Literal["identity", "literal"]
"""Whether STAA starts without effect, or as the equations stand."""


class DepthwisePhi(nn.Module):
    """phi of Eq. (5) as a depthwise 3x3 convolution of STAA's own.

    Departure: kind and normalisation of phi are open in the paper. This one starts as the identity
    and has no normalisation, which would divide by sqrt(1 + eps) and so not start as one.
    ``start="literal"`` is drawn at random, and normalised.

    Args:
        channels: Width, unchanged.
        start: Identity or random.
    """

    def __init__(self, *, channels: int, start: Start = "identity") -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.Identity() if start == "identity" else nn.BatchNorm2d(channels)
        if start == "identity":
            nn.init.dirac_(self.conv.weight, groups=channels)
        else:
            nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="linear")

    def forward(self, frames: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
        """Return the context of frames."""
        context: Tensor = self.bn(self.conv(frames))
        return context


class Staa(nn.Module):
    """Take the place of a block's 3x3 convolution, or stand before it: MA then TA, section 3.2.

    ::

        phi own         TA(MA(clip, phi(clip)))            phi is the block's convolution
        phi depthwise   block(TA(MA(clip, phi(clip))))     phi is STAA's, the block's follows

    Departure: the paper does not say where the module sits. It stands inside a residual block, and
    phi of Eq. (5) is the block's own convolution and normalisation, which are pretrained. The
    block's activation follows it, and none stands between MA and TA.

    Departure: with a depthwise phi the block's convolution has no part in Eq. (5), and follows
    STAA: it keeps its stride, STAA sees the positions before it, and no activation stands between.

    Args:
        attention: MA, or an identity.
        aggregation: TA, or an identity.
        phi: None for the block's; otherwise a module on frames that keeps their shape, an identity
            where MA is absent.
    """

    def __init__(
        self, *, attention: nn.Module, aggregation: nn.Module, phi: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.phi = phi
        self.attention = attention
        self.aggregation = aggregation

    def forward(
        self,
        clip: Float[Tensor, "n t c h w"],
        phi: Callable[[Float[Tensor, "m c h w"]], Float[Tensor, "m c i j"]],
        memory: Memory | None = None,
    ) -> Float[Tensor, "n t c i j"]:
        """Return what stands for ``phi(clip)``, phi being the block's convolution of frames."""
        size = clip.shape[:2]
        around = phi if self.phi is None else self.phi
        context = torch.unflatten(around(clip.flatten(0, 1)), 0, size)
        attends = isinstance(self.attention, MotionAttention)
        motion_map = self.attention(clip, context, memory) if attends else context
        aggregates = isinstance(self.aggregation, TemporalAggregation)
        out: Tensor = self.aggregation(motion_map, memory) if aggregates else motion_map
        return out if self.phi is None else torch.unflatten(phi(out.flatten(0, 1)), 0, size)


def staa_sites(depths: Sequence[int], blocks: StaaBlocks) -> frozenset[int]:
    """Number the residual blocks that carry STAA, counted from 0 through the whole network.

    Args:
        depths: Blocks in each stage.
        blocks: ``once`` in the last block of the last but one stage, ``last-of-stage``,
            ``every-second`` (1, 3, 5, ...) or ``all``.
    """
    ends = [end - 1 for end in accumulate(depths)]
    sites: dict[StaaBlocks, Sequence[int]] = {
        "once": ends[-2:-1],
        "last-of-stage": ends,
        "every-second": range(1, sum(depths), 2),
        "all": range(sum(depths)),
    }
    return frozenset(sites[blocks])
