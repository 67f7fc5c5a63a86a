"""CTR-GCN written straight from the equations: a loop over subsets, a loop over branches.

The slow side of benchmarks: single precision, one step queued after the other, the mean over time
after the 1x1 convolutions, every topology kept for the way back. Chen et al., ICCV 2021, Section 3.
"""

import torch
from torch import Tensor, nn


class NaiveSpace(nn.Module):
    """CTR-GC with one module per subset, and a residual."""

    def __init__(self, channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        relations = max(8, channels // 8)
        self.topology = nn.Parameter(adjacency.clone())
        self.strength = nn.Parameter(torch.zeros(1))
        self.receive, self.send, self.transform, self.refine = (
            nn.ModuleList(nn.Conv2d(a, b, 1) for _ in range(3))
            for a, b in (
                (channels, relations),
                (channels, relations),
                (channels, out_channels),
                (relations, out_channels),
            )
        )
        self.norm = nn.BatchNorm2d(out_channels)
        nn.init.constant_(self.norm.weight, 1e-6)
        self.residual = (
            nn.Identity()
            if channels == out_channels
            else nn.Sequential(nn.Conv2d(channels, out_channels, 1), nn.BatchNorm2d(out_channels))
        )

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature ``(p, d, t, v)`` and the graph ``(p, 3, v, v)``."""
        total, graphs = torch.zeros(()), []
        for subset in range(3):
            receive = self.receive[subset](feature).mean(2).unsqueeze(-1)
            send = self.send[subset](feature).mean(2).unsqueeze(-2)
            graph = self.refine[subset](torch.tanh(receive - send))  # (p, d, v, v)
            topology = self.topology[subset] + self.strength * graph
            message = self.transform[subset](feature)
            total = total + torch.einsum("pdij,pdtj->pdti", topology, message)
            graphs.append(graph.mean(1))
        return torch.relu(self.norm(total) + self.residual(feature)), torch.stack(graphs, 1)


class NaiveTime(nn.Module):
    """Four branches, each with its own 1x1 convolution and normalisations."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        quarter = channels // 4

        def entering() -> list[nn.Module]:
            return [nn.Conv2d(channels, quarter, 1), nn.BatchNorm2d(quarter)]

        self.branches = nn.ModuleList(
            nn.Sequential(
                *entering(),
                nn.ReLU(),
                nn.Conv2d(quarter, quarter, (5, 1), (stride, 1), (2 * dilation, 0), (dilation, 1)),
                nn.BatchNorm2d(quarter),
            )
            for dilation in (1, 2)
        )
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        self.branches.append(nn.Sequential(*entering(), nn.ReLU(), pool, nn.BatchNorm2d(quarter)))
        self.branches.append(
            nn.Sequential(
                nn.Conv2d(channels, quarter, 1, stride=(stride, 1)), nn.BatchNorm2d(quarter)
            )
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Return the four branches, concatenated."""
        return torch.cat([branch(feature) for branch in self.branches], dim=1)


class NaiveBlock(nn.Module):
    """Space, then time, and a residual around both."""

    def __init__(
        self, channels: int, out_channels: int, adjacency: Tensor, stride: int, first: bool
    ) -> None:
        super().__init__()
        self.space = NaiveSpace(channels, out_channels, adjacency)
        self.time = NaiveTime(out_channels, stride)
        self.first = first
        self.residual = (
            nn.Identity()
            if channels == out_channels and stride == 1
            else nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride=(stride, 1)),
                nn.BatchNorm2d(out_channels),
            )
        )

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature and the graph."""
        spaced, graph = self.space(feature)
        out = self.time(spaced)
        return torch.relu(out if self.first else out + self.residual(feature)), graph


class NaiveCtrGcn(nn.Module):
    """Ten blocks of 64, 128 and 256 channels; people are averaged, present or not."""

    def __init__(self, *, adjacency: Tensor, people: int, num_classes: int) -> None:
        super().__init__()
        widths = [64] * 4 + [128] * 3 + [256] * 3
        self.norm = nn.BatchNorm1d(people * adjacency.shape[-1] * 3)
        self.blocks = nn.ModuleList(
            NaiveBlock(
                3 if place == 0 else widths[place - 1],
                width,
                adjacency,
                stride=2 if place in (4, 7) else 1,
                first=place == 0,
            )
            for place, width in enumerate(widths)
        )
        self.classify = nn.Linear(256, num_classes)

    def forward(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and graphs of ``(n, c, t, v, m)``."""
        n, c, t, v, m = joints.shape
        normal = self.norm(joints.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t))
        feature = normal.view(n, m, v, c, t).permute(0, 1, 3, 4, 2).reshape(n * m, c, t, v)
        graph = feature
        for block in self.blocks:
            feature, graph = block(feature)
        pooled = feature.mean((2, 3)).view(n, m, -1).mean(1)
        return self.classify(pooled), graph.view(n, m, 3, v, v).mean(1)
