"""The one place where a layout and plain values become a skeleton network."""

from collections.abc import Sequence

import torch

from poselens.pose.layouts import Layout
from poselens.skeleton.graph import spatial_partition
from poselens.skeleton.network import CtrGcn


def build_skeleton_network(
    *,
    layout: Layout,
    num_classes: int,
    dimensions: int = 3,
    people: int = 1,
    width: int = 64,
    blocks: Sequence[int] = (4, 3, 3),
    dropout: float = 0.0,
) -> CtrGcn:
    """Wire a CTR-GCN for one joint layout.

    The defaults are the published network: ten blocks of 64, 128 and 256 channels, time halved at
    the fifth and eighth. ``blocks=(1, 1, 1), width=16`` makes a small one.
    """
    return CtrGcn(
        adjacency=torch.from_numpy(spatial_partition(layout)),
        dimensions=dimensions,
        people=people,
        num_classes=num_classes,
        width=width,
        blocks=blocks,
        dropout=dropout,
    )
