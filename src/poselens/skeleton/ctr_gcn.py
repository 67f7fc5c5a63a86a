"""One block of CTR-GCN: refined topologies in space, several scales in time.

Inside this file a feature has the axes ``(n, c, v, t)``, one person per row and time last: joints
and topology subsets are then neighbours in memory, and the aggregation is one batched product.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.skeleton.graph import SUBSETS

_BRANCHES = 4
_KERNEL = 5


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
        self.receive = nn.Conv1d(channels, SUBSETS * relations, 1)
        self.send = nn.Conv1d(channels, SUBSETS * relations, 1)
        self.refine = nn.Parameter(torch.empty(SUBSETS, out_channels, relations))
        self.refine_bias = nn.Parameter(torch.zeros(SUBSETS, out_channels, 1))
        nn.init.normal_(self.refine, 0.0, math.sqrt(2.0 / out_channels))
        self.transform = nn.Conv2d(channels, SUBSETS * out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = (
            nn.Identity()
            if channels == out_channels
            else nn.Sequential(nn.Conv2d(channels, out_channels, 1), nn.BatchNorm2d(out_channels))
        )

    def relate(self, feature: Float[Tensor, "n c v t"]) -> Float[Tensor, "n 3 r vv"]:
        """Return the tanh of receiving joint i minus sending joint j, at place i v + j."""
        summary = feature.mean(dim=-1)
        receive, send = self.receive(summary).unsqueeze(-1), self.send(summary).unsqueeze(-2)
        return torch.tanh(receive - send).reshape(
            feature.shape[0], SUBSETS, -1, feature.shape[2] ** 2
        )

    def graph(self, relation: Float[Tensor, "n 3 r vv"]) -> Float[Tensor, "n 3 v v"]:
        r"""Return :math:`W_k\tanh(\cdot)` averaged over channels: what a person adds to each A."""
        joints = self.topology.shape[-1]
        added = self.refine.mean(dim=1, keepdim=True) @ relation  # (n, 3, 1, vv)
        bias = self.refine_bias.mean(dim=1, keepdim=True)
        return (added + bias).reshape(relation.shape[0], SUBSETS, joints, joints)

    def refined(self, relation: Float[Tensor, "n 3 r vv"]) -> Float[Tensor, "n 3 d vv"]:
        """Return R, for every channel d."""
        # the learned topology and the bias ride along as two more relations: R is by far the
        # largest tensor here, and this writes it once
        learned = self.topology.flatten(1)[:, None].expand(relation.shape[0], -1, -1, -1)
        terms = torch.cat([relation, learned, torch.ones_like(learned)], dim=2)
        weights = torch.cat(
            [
                self.strength * self.refine,
                torch.ones_like(self.refine_bias),
                self.strength * self.refine_bias,
            ],
            dim=2,
        )
        return weights @ terms

    def aggregate(
        self, feature: Float[Tensor, "n c v t"], relation: Float[Tensor, "n 3 r vv"]
    ) -> Float[Tensor, "n d v t"]:
        """Return z."""
        people, _, joints, frames = feature.shape
        topologies = self.refined(relation).reshape(people, SUBSETS, -1, joints, joints)
        # the transform's channels are stored channel by channel, subset within
        messages = self.transform(feature).reshape(people, -1, SUBSETS * joints, frames)
        gathered: Tensor = topologies.permute(0, 2, 3, 1, 4).flatten(3) @ messages
        return gathered

    def forward(
        self, feature: Float[Tensor, "n c v t"]
    ) -> tuple[Float[Tensor, "n d v t"], Float[Tensor, "n 3 r vv"]]:
        """Return the aggregated feature, and the relations it was aggregated with."""
        relation = self.relate(feature)
        gathered = self.norm(self.aggregate(feature, relation))
        return F.relu(gathered + self.shortcut(feature)), relation


class MultiScaleTemporal(nn.Module):
    r"""Look along time at four scales, a quarter of the channels each. Chen et al., Section 3.3.

    A 1x1 convolution feeds every branch; two go through a temporal convolution of five frames with
    dilation 1 and 2, one through the maximum of three frames, one is left. ``t`` becomes
    ``ceil(t / stride)``.

    Departure: the four entering convolutions are one, and so are the normalisations.
    """

    def __init__(self, *, channels: int, stride: int) -> None:
        super().__init__()
        quarter = channels // _BRANCHES
        self.stride = stride
        self.enter = nn.Conv2d(channels, channels, 1)
        self.enter_norm = nn.BatchNorm2d(channels)
        self.near, self.far = (
            nn.Conv2d(
                quarter,
                quarter,
                (1, _KERNEL),
                stride=(1, stride),
                padding=(0, dilation * (_KERNEL // 2)),
                dilation=(1, dilation),
            )
            for dilation in (1, 2)
        )
        self.leave_norm = nn.BatchNorm2d(channels - quarter)

    def forward(self, feature: Float[Tensor, "n c v t"]) -> Float[Tensor, "n c v s"]:
        """Return the four scales, concatenated over channels."""
        entered = self.enter_norm(self.enter(feature))
        quarter = entered.shape[1] // _BRANCHES
        near, far, peak = F.relu(entered[:, :-quarter]).chunk(_BRANCHES - 1, dim=1)
        looked = [
            self.near(near),
            self.far(far),
            F.max_pool2d(peak, (1, 3), stride=(1, self.stride), padding=(0, 1)),
        ]
        plain = entered[:, -quarter:, :, :: self.stride]
        return torch.cat([self.leave_norm(torch.cat(looked, dim=1)), plain], dim=1)


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
        self.shortcut: nn.Module | None = None
        if shortcut and channels == out_channels and stride == 1:
            self.shortcut = nn.Identity()
        elif shortcut:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride=(1, stride)),
                nn.BatchNorm2d(out_channels),
            )

    def forward(
        self, feature: Float[Tensor, "n c v t"]
    ) -> tuple[Float[Tensor, "n d v s"], Float[Tensor, "n 3 r vv"]]:
        """Return the block's feature, and the relations between its joints."""
        gathered, relation = self.space(feature)
        looked: Tensor = self.time(gathered)
        if self.shortcut is not None:
            looked = looked + self.shortcut(feature)
        return F.relu(looked), relation
