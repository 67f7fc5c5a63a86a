"""Spatio-temporal attention and aggregation (STAA): MA then TA, and where they sit."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from poselens.rgb.motion_attention import MotionAttention
from poselens.rgb.temporal_aggregation import TemporalAggregation

StaaBlocks = Literal["once", "last-of-stage", "every-second", "all"]
"""Which residual blocks carry STAA; see `staa_sites`."""


class Staa(nn.Module):
    """Take the place of a block's 3x3 convolution: MA then TA, Figure 2 and section 3.2.

    Departure: the paper does not say where the module sits. It stands inside a residual block, and
    phi of Eq. (5) is the block's own convolution and normalisation, which are pretrained. The
    block's activation follows it, and none stands between MA and TA.
    """

    def __init__(self, *, channels: int, stride: int, attend: bool, aggregate: bool) -> None:
        super().__init__()
        self.attention = (
            MotionAttention(channels=channels, stride=stride) if attend else nn.Identity()
        )
        self.aggregation = TemporalAggregation(channels=channels) if aggregate else nn.Identity()

    def forward(
        self, clip: Float[Tensor, "n t c h w"], context: Float[Tensor, "n t c i j"]
    ) -> Float[Tensor, "n t c i j"]:
        """Return the aggregated motion map of ``clip``, given ``context`` = phi(clip)."""
        attends = isinstance(self.attention, MotionAttention)
        motion_map = self.attention(clip, context) if attends else context
        aggregated: Tensor = self.aggregation(motion_map)
        return aggregated


def staa_or_identity(
    *, present: bool, channels: int, stride: int, attend: bool, aggregate: bool
) -> nn.Module:
    """Return `Staa` where a block has any part of it, the identity elsewhere."""
    if present and (attend or aggregate):
        return Staa(channels=channels, stride=stride, attend=attend, aggregate=aggregate)
    return nn.Identity()


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
