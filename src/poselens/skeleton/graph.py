"""The fixed part of the graph: how a joint layout becomes three adjacency matrices."""

import numpy as np
from jaxtyping import Float

from poselens.pose.layouts import Layout

SUBSETS = 3
"""Neighbours of a joint come in three kinds: itself, nearer to the centre, farther from it."""


def spatial_partition(layout: Layout) -> Float[np.ndarray, "3 v v"]:
    """Return the adjacency of a layout, split by direction, each row a mean.

    ``A[0]`` links a joint with itself, ``A[1]`` with the joint one step nearer to the centre, and
    ``A[2]`` with the joints one step farther away. Row i lists what joint i gathers; a row sums to
    one, or to zero where a joint has no such neighbour. The spatial configuration partitioning of
    ST-GCN (Yan et al., AAAI 2018), on which CTR-GCN starts its topologies.

    Departure: rows are normalised rather than columns, so that every joint gathers a mean of its
    neighbours whatever their own degree. The matrices are learned from this start.
    """
    inward = np.zeros((len(layout), len(layout)), dtype=np.float32)
    for joint, parent in layout.edges:
        inward[joint, parent] = 1.0
    own = np.eye(len(layout), dtype=np.float32)
    return np.stack([_rows_to_means(part) for part in (own, inward, inward.T)])


def _rows_to_means(adjacency: Float[np.ndarray, "v v"]) -> Float[np.ndarray, "v v"]:
    means: Float[np.ndarray, "v v"] = adjacency / np.maximum(
        adjacency.sum(axis=1, keepdims=True), 1
    )
    return means
