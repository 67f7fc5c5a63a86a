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


class Staa(nn.Module):
    """Take the place of a block's 3x3 convolution: MA then TA, Figure 2 and section 3.2.

    Departure: the paper does not say where the module sits. It stands inside a residual block, and
    phi of Eq. (5) is the block's own convolution and normalisation, which are pretrained. The
    block's activation follows it, and none stands between MA and TA.
    """

    def __init__(self, *, attention: nn.Module, aggregation: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.aggregation = aggregation

    def forward(
        self,
        clip: Float[Tensor, "n t c h w"],
        phi: Callable[[Float[Tensor, "m c h w"]], Float[Tensor, "m c i j"]],
        memory: Memory | None = None,
    ) -> Float[Tensor, "n t c i j"]:
        """Return what stands for ``phi(clip)``, phi being the block's convolution of frames."""
        context = torch.unflatten(phi(clip.flatten(0, 1)), 0, clip.shape[:2])
        attends = isinstance(self.attention, MotionAttention)
        motion_map = self.attention(clip, context, memory) if attends else context
        aggregates = isinstance(self.aggregation, TemporalAggregation)
        return self.aggregation(motion_map, memory) if aggregates else motion_map


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
