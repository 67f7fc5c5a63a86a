"""An order of classes that puts those side by side that are taken for each other."""

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

_MOST_OPTIMAL = 600
"""Classes up to which leaves are ordered optimally, which costs the square of their number."""


def confusion_rates(confusion: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    r"""Return how readily two classes are taken for each other, whichever way.

    .. math::
        r_{ij} = \frac{1}{2} \left( \frac{c_{ij}}{\sum_l c_{il}} + \frac{c_{ji}}{\sum_l c_{jl}}
        \right), \qquad r_{ii} = 0
    """
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    rates: Float[np.ndarray, "k k"] = (shares + shares.T) / 2
    np.fill_diagonal(rates, 0.0)
    return rates


def similarity_order(confusion: Int[np.ndarray, "k k"]) -> list[int]:
    """Return the classes in an order that brings those confused with each other together.

    Average linkage on one minus :func:`confusion_rates`, with optimally ordered leaves (Bar-Joseph
    et al., 2001). Classes that are never confused keep their order behind the others.

    Args:
        confusion: Clip counts, rows are labels, columns predictions.
    """
    rates = confusion_rates(confusion)
    involved = np.flatnonzero(rates.sum(axis=1) > 0)
    alone = np.flatnonzero(rates.sum(axis=1) == 0)
    if len(involved) < 3:
        return [*involved.tolist(), *alone.tolist()]
    distance = 1.0 - rates[np.ix_(involved, involved)]
    np.fill_diagonal(distance, 0.0)
    tree = linkage(
        squareform(distance, checks=False),
        "average",
        optimal_ordering=len(involved) <= _MOST_OPTIMAL,
    )
    return [*involved[leaves_list(tree)].tolist(), *alone.tolist()]
