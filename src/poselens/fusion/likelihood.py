"""Weights of Eq. 14 that make the true classes of validation clips most likely."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.optimize import minimize

LARGEST = 10.0
"""Bound of a weight's logarithm, so that no logarithm is taken of zero."""


def maximise(
    true: Float[np.ndarray, "streams n"], mask: Bool[np.ndarray, "streams n"], prior_clips: float
) -> Float[np.ndarray, " streams"]:
    r"""Return the simplex point of highest likelihood, through a softmax of free numbers.

    .. math::
        \lambda = \arg\max_{\lambda \in \Delta} \; \sum_i \log \sum_s \lambda_{si} \, p_{s i y_i}
        + \frac{c}{S} \sum_s \log \lambda_s

    where :math:`\lambda_{si}` is :math:`\lambda_s` renormalised over the streams clip i has.

    Args:
        true: Probability that each stream gives to the true class.
        mask: Which stream has scores for which clip.
        prior_clips: :math:`c`.
    """
    streams = len(true)
    if streams == 1:
        return np.ones(1)
    true = np.where(mask, np.maximum(true, 1e-300), 0.0)
    there = None if mask.all() else mask.astype(np.float64)

    def loss(free: Float[np.ndarray, " streams"]) -> tuple[float, Float[np.ndarray, " streams"]]:
        weights = np.exp(free - free.max())
        weights /= weights.sum()
        fused = weights @ true  # (n,)
        value = np.log(fused).sum() + prior_clips / streams * np.log(weights).sum()
        slope = true @ (1 / fused) + prior_clips / streams / weights
        if there is None:
            slope -= true.shape[1]
        else:
            shown = weights @ there
            value -= np.log(shown).sum()
            slope -= there @ (1 / shown)
        gradient = weights * (slope - weights @ slope)
        return float(-value / true.shape[1]), -gradient / true.shape[1]

    found = minimize(
        loss,
        np.zeros(streams),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-LARGEST, LARGEST)] * streams,
        options={"ftol": 1e-12, "gtol": 1e-9},
    )
    weights: Float[np.ndarray, " streams"] = np.exp(found.x - found.x.max())
    weights /= weights.sum()
    return weights


@dataclass(frozen=True, eq=False)
class _Pattern:
    """The clips that the same streams know.

    Attributes:
        streams: Positions of these streams.
        shares: ``(s, n, k)`` class probabilities.
        true: ``(s, n)`` those of the true class.
        labels: True classes.
    """

    streams: Int[np.ndarray, " some"]
    shares: NDArray[np.float32]
    true: NDArray[np.float32]
    labels: Int[np.ndarray, " n"]


def maximise_per_class(
    probabilities: NDArray[np.float32],
    mask: Bool[np.ndarray, "streams n"],
    labels: Int[np.ndarray, " n"],
    shared: Float[np.ndarray, " streams"],
    prior_clips: float,
) -> Float[np.ndarray, "streams k"]:
    r"""Return weights per stream and class of highest likelihood, held near the shared ones.

    .. math::
        \lambda = \arg\max \; \sum_i \log \frac{\sum_s \lambda_{s i y_i} p_{s i y_i}}
        {\sum_k \sum_s \lambda_{sik} p_{sik}}
        + c \sum_k \sum_s \lambda_s \log \lambda_{sk}, \qquad \sum_s \lambda_{sk} = 1

    where :math:`\lambda_{sik}` is renormalised over the streams clip i has. Without the second term
    nothing would hold the weights of a rare class; it is c clips a class that speak for the shared
    weights :math:`\lambda_s`, which are the answer as c grows.

    Args:
        probabilities: ``(s, n, k)`` class probabilities; rows of absent streams are not read.
        mask: Which stream has scores for which clip.
        labels: True classes.
        shared: :math:`\lambda_s`, the weights of all classes together.
        prior_clips: :math:`c`.
    """
    streams, clips, classes = probabilities.shape
    if streams == 1:
        return np.ones((1, classes))
    patterns = list(_patterns(probabilities, mask, labels))
    centre = np.maximum(shared, np.exp(-LARGEST))[:, None]
    centre = centre / centre.sum()

    def loss(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = _columns(free.reshape(streams, classes))
        value = prior_clips * float((centre * np.log(weights)).sum())
        slope = prior_clips * centre / weights
        for pattern in patterns:
            more, part = _pattern_value(pattern, weights[pattern.streams])
            value += more
            slope[pattern.streams] += part
        gradient = weights * (slope - (weights * slope).sum(axis=0))
        return -value / clips, -gradient.ravel() / clips

    start = np.repeat(np.log(centre) - np.log(centre).max(), classes, axis=1)
    found = minimize(
        loss,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(value - LARGEST, value + LARGEST) for value in start.ravel()],
        options={"maxiter": 60, "ftol": 1e-10},
    )
    return _columns(found.x.reshape(streams, classes))


def _columns(free: Float[np.ndarray, "streams k"]) -> Float[np.ndarray, "streams k"]:
    """Return weights that sum to one over the streams of each class."""
    weights = np.exp(free - free.max(axis=0))
    columns: Float[np.ndarray, "streams k"] = weights / weights.sum(axis=0)
    return columns


def _patterns(
    probabilities: NDArray[np.float32],
    mask: Bool[np.ndarray, "streams n"],
    labels: Int[np.ndarray, " n"],
) -> Iterator[_Pattern]:
    """Yield the clips by which streams they have; nothing is copied where every clip has all."""
    patterns, member = np.unique(mask.T, axis=0, return_inverse=True)
    for number, present in enumerate(patterns):
        streams = np.flatnonzero(present)
        rows = np.flatnonzero(member.ravel() == number)
        shares = probabilities if len(patterns) == 1 else probabilities[np.ix_(streams, rows)]
        known = labels[rows]
        yield _Pattern(streams, shares, shares[:, np.arange(len(rows)), known], known)


def _pattern_value(
    pattern: _Pattern, weights: Float[np.ndarray, "some k"]
) -> tuple[float, Float[np.ndarray, "some k"]]:
    """Return the log-likelihood of a pattern's clips, and its slope by the weights."""
    total = weights.sum(axis=0)
    portion = weights / total  # of each class, over the streams that are there
    single = portion.astype(np.float32)
    # one product of a matrix and a vector per stream: it reads the probabilities once
    whole = sum(shares @ row for shares, row in zip(pattern.shares, single, strict=True))
    fused = (single[:, pattern.labels] * pattern.true).sum(axis=0)
    fused = np.maximum(fused, np.finfo(np.float32).tiny)
    value = np.log(fused, dtype=np.float64).sum() - np.log(whole, dtype=np.float64).sum()
    inverse = (1 / whole).astype(np.float32)
    classes = weights.shape[1]
    slope = np.stack(
        [
            np.bincount(pattern.labels, weights=true / fused, minlength=classes) - inverse @ shares
            for true, shares in zip(pattern.true, pattern.shares, strict=True)
        ]
    )
    return float(value), (slope - (slope * portion).sum(axis=0)) / total
