"""Temporal aggregation (TA): Eq. (6)-(8)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.errors import UsageError
from poselens.rgb.memory import Memory

TaOrder = Literal["spatial-temporal", "temporal-spatial"]
"""Order of the two convolutions of Eq. (7)."""
TaSplit = Literal["own", "block"]
"""ChannelSplit of Eq. (6): a 1x1 convolution of its own, or the block's first."""

FRAGMENTS = 4
"""Parts v1..v4 into which Eq. (6) splits the channels."""


class DepthwiseSeparable(nn.Module):
    """Conv_dep of Eq. (7): neighbouring frames per channel, then a pointwise convolution.

    Departure: the kind of the convolution is open in the paper ("1D depthwise separable" in the
    text). It is temporal and starts as the identity. Its kernel is 3, as in TEA (CVPR 2020), and
    beyond the ends of the clip there is zero. ``causal`` ends the kernel at the present frame.

    Args:
        channels: Width, unchanged.
        kernel: Frames seen at once, an odd number.
        causal: See no later frame.

    Raises:
        UsageError: ``CFG-030`` for a kernel without a middle.
    """

    def __init__(self, *, channels: int, kernel: int = 3, causal: bool = False) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise UsageError(
                "CFG-030",
                f"found a temporal kernel of {kernel} frames, expected a positive odd number",
                mend="use 3, or 1, 5, 7 for fewer or more frames",
            )
        self.past = kernel - 1 if causal else 0
        self.depthwise = nn.Conv2d(
            channels,
            channels,
            kernel_size=(kernel, 1),
            padding=(0 if causal else kernel // 2, 0),
            groups=channels,
            bias=False,
        )
        self.pointwise = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.depthwise.weight)
        nn.init.ones_(self.depthwise.weight[:, :, -1 if causal else kernel // 2].detach())
        nn.init.dirac_(self.pointwise.weight)

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c h w"]:
        """Return ``clip`` filtered along time and mixed along channels; shape unchanged."""
        # Time as rows and all positions as columns: in channels_last this is a view, where a 1-d
        # convolution would have to move time to the last axis.
        columns = clip.movedim(2, 1).flatten(3)  # (n, c, t, h * w)
        if self.past:
            columns = self._after_past(columns, memory)
        filtered = torch.unflatten(self.depthwise(columns), 3, clip.shape[3:]).movedim(1, 2)
        frames = self.bn(self.pointwise(filtered.flatten(0, 1)))
        return torch.unflatten(frames, 0, clip.shape[:2])

    def _after_past(
        self, columns: Float[Tensor, "n c t x"], memory: Memory | None
    ) -> Float[Tensor, "n c s x"]:
        """Put the frames before the first one in front: zeros, or what was left."""
        if memory is None:
            return F.pad(columns, (0, 0, self.past, 0))
        # A clip shorter than the kernel leaves frames of before, so this is filled in at the end.
        left = columns.new_empty((*columns.shape[:2], self.past, columns.shape[3]))
        before = memory.exchange(left)
        if before is None:
            joined = F.pad(columns, (0, 0, self.past, 0))
        else:
            joined = torch.cat([before, columns], dim=2)
        left.copy_(joined[:, :, -self.past :])
        return joined


class TemporalAggregation(nn.Module):
    r"""Pass information along time through a chain of channel fragments. Eq. (6)-(8).

    .. math::
        [v_1, v_2, v_3, v_4] = ChannelSplit(M_{map}), \quad q_1 = v_1, \quad
        q_2 = dep(sc(v_2)), \quad q_i = dep(sc(v_i + q_{i-1})), \quad Q = [q_1, q_2, q_3, q_4]

    sc is a 3x3 convolution, dep a `DepthwiseSeparable`; with a kernel of 3, q4 sees seven frames.

    Departure: ChannelSplit, "a 1x1 convolution" that "evenly splits", is a 1x1 convolution with
    normalisation and ReLU followed by an even split. With ``split="block"`` the convolution before
    MA, which a bottleneck has anyway, has to do for it, and M_map is only cut.

    Departure: the output is M_map + scale * Q, one scale per channel, which starts at 0: a
    pretrained block computes at first exactly what it did. ``start="literal"`` is Eq. (8): Q alone,
    without a scale.

    Departure: ``temporal-spatial`` turns Eq. (7) round, sc(dep(v)), the order of TEA.

    Args:
        channels: Of the motion map, a multiple of 4.
        order: Which convolution of Eq. (7) comes first.
        kernel: Frames that dep sees, an odd number.
        split: What plays ChannelSplit.
        start: ``identity`` begins without effect, ``literal`` returns Q.
        causal: No frame looks at a later one.

    Raises:
        UsageError: ``CFG-030`` for an even kernel, ``CFG-031`` for channels that do not part
            evenly.
    """

    def __init__(
        self,
        *,
        channels: int,
        order: TaOrder = "spatial-temporal",
        kernel: int = 3,
        split: TaSplit = "own",
        start: Literal["identity", "literal"] = "identity",
        causal: bool = False,
    ) -> None:
        super().__init__()
        if channels < FRAGMENTS or channels % FRAGMENTS:
            raise UsageError(
                "CFG-031",
                f"found {channels} channels, expected a positive multiple of {FRAGMENTS}",
                mend="temporal aggregation splits its channels into four; change the width",
            )
        part = channels // FRAGMENTS
        self.order: TaOrder = order
        self.split: nn.Module = nn.Identity()
        if split == "own":
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
            DepthwiseSeparable(channels=part, kernel=kernel, causal=causal)
            for _ in range(FRAGMENTS - 1)
        )
        self.scale = nn.Parameter(torch.zeros(channels)) if start == "identity" else None
        for part_of in (self.split, self.spatial):
            for convolution in part_of.modules():
                if isinstance(convolution, nn.Conv2d):
                    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")

    def aggregate(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c h w"]:
        """Return Q of Eq. (8)."""
        size = clip.shape[:2]
        first, *others = self.split(clip.flatten(0, 1)).chunk(FRAGMENTS, dim=1)
        outputs = [first]
        for fragment, spatial, temporal in zip(others, self.spatial, self.temporal, strict=True):
            # q1 = v1 is not fed on: the chain of Eq. (7) starts at v2.
            joined = fragment if len(outputs) == 1 else fragment + outputs[-1]
            if self.order == "spatial-temporal":
                joined = temporal(torch.unflatten(spatial(joined), 0, size), memory).flatten(0, 1)
            else:
                joined = spatial(temporal(torch.unflatten(joined, 0, size), memory).flatten(0, 1))
            outputs.append(joined)
        return torch.unflatten(torch.cat(outputs, dim=1), 0, size)

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c h w"]:
        """Return ``clip`` plus its scaled aggregate, or the aggregate alone; shape unchanged."""
        aggregate = self.aggregate(clip, memory)
        if self.scale is None:
            return aggregate
        return torch.addcmul(clip, aggregate, self.scale.view(-1, 1, 1).to(clip.dtype))

    def extra_repr(self) -> str:
        """Show which convolution comes first, and how it starts."""
        start = "literal" if self.scale is None else "identity"
        return f"order={self.order}, start={start}"
