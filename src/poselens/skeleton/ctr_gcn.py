"""One block of CTR-GCN: refined topologies in space, several scales in time.

Inside this file a feature has the axes ``(p, c, v, t)``, one person per row and time last: joints
and topology subsets are then neighbours in memory, and the aggregation is one batched product. A
convolution that a normalisation follows has no bias, which the normalisation would take away.

``counted`` is 1 for people whose statistics count and 0 for absent ones, which a normalisation in
training leaves out; None counts everybody.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poselens.skeleton import fused
from poselens.skeleton.graph import SUBSETS

_BRANCHES = 4
_TAPS = 5
_FIRST_WEIGHT = 1e-6

Counted = Float[Tensor, " p"] | None


class TopologyRefinement(nn.Module):
    r"""Aggregate joints along topologies refined per channel and per person. CTR-GC.

    .. math::
        R_{k,ij} &= A_{k,ij} + \alpha\, W_k \tanh(
            \overline{\theta_k(x)}_i - \overline{\varphi_k(x)}_j) \\
        z_i &= \sum_{k=1}^{3} \sum_j R_{k,ij} \odot (T_k x)_j

    with bars the mean over time, :math:`\theta, \varphi` 1x1 convolutions to an eighth of the
    channels, and :math:`A_k` learned from the spatial partition; then batch normalisation, a
    shortcut and a ReLU. Chen et al., Channel-wise Topology Refinement Graph Convolution, ICCV 2021,
    Section 3.2.

    The normalisation starts with a weight of 1e-6, so that a new network is all shortcut in space
    and lets the topologies in as they become useful.

    Departure: the mean over time is taken before the 1x1 convolutions. Both are linear, so the
    result is the same at a fraction of the cost. The three subsets are one operation.
    """

    def __init__(
        self, *, channels: int, out_channels: int, adjacency: Float[Tensor, "3 v v"]
    ) -> None:
        super().__init__()
        # three coordinates, or a slim network, still need a few relations to tell joints apart
        relations = max(8, channels // 8)
        self.topology = nn.Parameter(adjacency.clone())
        self.strength = nn.Parameter(torch.zeros(1))
        # first what joints receive by, subset by subset, then what they send by
        self.pair = nn.Linear(channels, 2 * SUBSETS * relations)
        nn.init.normal_(self.pair.weight, 0.0, math.sqrt(2.0 / (SUBSETS * relations)))
        nn.init.zeros_(self.pair.bias)
        self.refine = nn.Parameter(torch.empty(SUBSETS, out_channels, relations))
        self.refine_bias = nn.Parameter(torch.zeros(SUBSETS, out_channels, 1))
        nn.init.normal_(self.refine, 0.0, math.sqrt(2.0 / out_channels))
        # the channels of a message are stored channel by channel, subset within
        self.transform = nn.Conv2d(channels, SUBSETS * out_channels, 1, bias=False)
        self.transform_bias = nn.Parameter(torch.zeros(out_channels, SUBSETS))
        self.norm = nn.BatchNorm2d(out_channels)
        nn.init.constant_(self.norm.weight, _FIRST_WEIGHT)
        self.shortcut = (
            None
            if channels == out_channels
            else Shortcut(channels=channels, out_channels=out_channels, stride=1)
        )

    def relate(self, summary: Float[Tensor, "p v c"]) -> Float[Tensor, "p 3 s w"]:
        """Return the terms that topologies are mixed from; see ``fused.relate``."""
        return fused.relate(self.pair(summary), self.topology)

    def graph(self, terms: Float[Tensor, "p 3 s w"]) -> Float[Tensor, "p 3 v v"]:
        r"""Return :math:`W_k\tanh(\cdot)` averaged over channels: what a person adds to each A."""
        weights = self._weights(torch.zeros_like(self.refine_bias), torch.ones_like(self.strength))
        added = fused.aligned(weights.mean(dim=1, keepdim=True), terms) @ terms
        return fused.squares(added.squeeze(2), self.topology.shape[-1])

    def mixture(self) -> Float[Tensor, "3 d r"]:
        """Return the weights whose product with the terms is R, for every channel d."""
        return self._weights(torch.ones_like(self.refine_bias), self.strength)

    def _weights(self, learned: Tensor, strength: Tensor) -> Float[Tensor, "3 d r"]:
        return torch.cat([strength * self.refine, learned, strength * self.refine_bias], dim=2)

    def forward(
        self,
        feature: Float[Tensor, "p c v t"],
        beside: Float[Tensor, "p c v t"],
        summary: Float[Tensor, "p v c"],
        counted: Counted = None,
    ) -> tuple[Float[Tensor, "p d v t"], Float[Tensor, "p 3 s w"]]:
        """Return the aggregated feature, and the terms of the topologies it went along.

        Args:
            feature: What is aggregated.
            beside: The same feature, for the shortcut.
            summary: The same, averaged over time.
            counted: See the head of this file.
        """
        terms = self.relate(summary)
        messages = torch.unflatten(fused.pointwise(feature, self.transform), 1, (-1, SUBSETS))
        gathered = fused.aggregate(messages, self.transform_bias, self.mixture(), terms)
        if self.shortcut is not None:
            beside = self.shortcut(beside, counted)
        return fused.normalise(gathered, self.norm, add=beside, counted=counted), terms


class MultiScaleTemporal(nn.Module):
    r"""Look along time at four scales, a quarter of the channels each. Chen et al., Section 3.3.

    A 1x1 convolution feeds every branch; two go through a temporal convolution of five frames with
    dilation 1 and 2, one through the maximum of three frames, one is left. ``t`` becomes
    ``ceil(t / stride)``. What goes around the block is added before the last ReLU.

    Departure: the four entering convolutions are one, and so are the normalisations.
    """

    def __init__(self, *, channels: int, stride: int) -> None:
        super().__init__()
        quarter = channels // _BRANCHES
        self.stride = stride
        self.enter = nn.Conv2d(channels, channels, 1, bias=False)
        self.enter_norm = nn.BatchNorm2d(channels)
        self.kernels = nn.Parameter(torch.empty(2, _TAPS, quarter, quarter))
        # He's deviation of the outgoing side, for five taps
        nn.init.normal_(self.kernels, 0.0, math.sqrt(2.0 / (quarter * _TAPS)))
        self.leave_norm = nn.BatchNorm2d(channels - quarter)

    def forward(
        self,
        feature: Float[Tensor, "p c v t"],
        *,
        around: Float[Tensor, "p c v s"] | None,
        counted: Counted = None,
    ) -> Float[Tensor, "p c v s"]:
        """Return the four scales, concatenated over channels."""
        entered = fused.normalise(
            fused.pointwise(feature, self.enter),
            self.enter_norm,
            rectified=self.leave_norm.num_features,
            counted=counted,
        )
        looked = fused.look(entered, self.kernels, stride=self.stride)
        return fused.normalise(looked, self.leave_norm, add=around, counted=counted)


class Shortcut(nn.Module):
    """Bring a feature to other channels or fewer frames, beside what is computed."""

    def __init__(self, *, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(channels, out_channels, 1, stride=(1, stride), bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(
        self, feature: Float[Tensor, "p c v t"], counted: Counted = None
    ) -> Float[Tensor, "p d v s"]:
        """Return the feature in its new shape."""
        moved = fused.pointwise(feature, self.convolve)
        return fused.normalise(moved, self.norm, rectified=0, counted=counted)


class Block(nn.Module):
    """Space, then time, then a shortcut around both."""

    def __init__(
        self,
        *,
        channels: int,
        out_channels: int,
        adjacency: Float[Tensor, "3 v v"],
        stride: int = 1,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        self.space = TopologyRefinement(
            channels=channels, out_channels=out_channels, adjacency=adjacency
        )
        self.time = MultiScaleTemporal(channels=out_channels, stride=stride)
        self.around = shortcut
        self.shortcut: nn.Module | None = None
        if shortcut and (channels != out_channels or stride != 1):
            self.shortcut = Shortcut(channels=channels, out_channels=out_channels, stride=stride)

    def forward(
        self, feature: Float[Tensor, "p c v t"], counted: Counted = None
    ) -> tuple[Float[Tensor, "p d v s"], Float[Tensor, "p 3 s w"]]:
        """Return the block's feature, and the terms of its topologies."""
        feature, beside, around, summary = fused.fork(feature)
        gathered, terms = self.space(feature, beside, summary, counted)
        if self.shortcut is not None:
            around = self.shortcut(around, counted)
        looked = self.time(gathered, around=around if self.around else None, counted=counted)
        return looked, terms
