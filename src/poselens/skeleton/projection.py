"""The projection head g of Eq. (9), which the contrast compares graphs with."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.skeleton.graph import SUBSETS


class GraphProjection(nn.Module):
    r"""Project a graph to a feature of unit length: head g of Eq. (9).

    .. math:: z = g(G) / \lVert g(G) \rVert

    with g one linear layer, or two with a ReLU between. Computed in float32, also under autocast.
    It serves the contrast alone: a trained network recognises without it.

    Departure: the paper says neither what g is nor how it learns. The public code of its relatives
    never hands the head to the optimiser, so theirs stays a random projection; ours is trained.
    Layers carry no bias: a graph is small beside it, and a vector common to all clips would make
    every pair similar. The feature then does not depend on the size of the graph, and the graph of
    a clip without anybody is the zero feature.

    Args:
        joints: Joints of the layout, v.
        dimensions: Length of the feature.
        kind: One layer, or two.
    """

    def __init__(
        self, *, joints: int, dimensions: int = 256, kind: Literal["linear", "mlp"] = "linear"
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(SUBSETS * joints**2, dimensions, bias=False)
        self.leave = nn.Linear(dimensions, dimensions, bias=False) if kind == "mlp" else None

    def forward(self, graph: Float[Tensor, "n 3 v v"]) -> Float[Tensor, "n d"]:
        """Return one feature of unit length per graph."""
        with torch.autocast(graph.device.type, enabled=False):
            feature: Tensor = self.enter(graph.float().flatten(1))
            if self.leave is not None:
                feature = self.leave(F.relu(feature))
            return F.normalize(feature, dim=1)
