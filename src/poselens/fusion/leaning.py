"""Weights per class under which most validation clips are right: classes lean towards a stream."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

FURTHEST = 0.9
"""How far a class may lean: at 1 the other streams would have no say in it."""

SMALLEST = 1e-6
ROUNDS = 2


@dataclass(frozen=True, eq=False)
class _Fit:
    """What a search over one class after the other reads and writes.

    Attributes:
        by_class: ``(k, s, n)`` probabilities; zeros where a stream is absent.
        present: ``(s, n)`` 1 where a stream has scores, else 0.
        labels: True classes.
        shared: Weights of all classes together.
        fused: ``(n, k)`` fused scores under the weights so far.
        highest: ``(k, n)`` largest probability that any stream gives.
        prior_clips: Price of leaning, in clips.
    """

    by_class: NDArray[np.float32]
    present: NDArray[np.float32]
    labels: Int[np.ndarray, " n"]
    shared: NDArray[np.float32]
    fused: NDArray[np.float32]
    highest: NDArray[np.float32]
    prior_clips: float


def lean(
    probabilities: NDArray[np.float32],
    mask: Bool[np.ndarray, "streams n"],
    labels: Int[np.ndarray, " n"],
    shared: Float[np.ndarray, " streams"],
    prior_clips: float,
) -> Float[np.ndarray, "streams k"]:
    r"""Return weights per stream and class, each class leaning towards at most one stream.

    .. math::
        \lambda_{\cdot k} = (1 - t_k) \lambda + t_k e_{s_k}, \qquad
        (t, s) = \arg\max \; \#\text{right} - c \sum_k \mathrm{KL}(\lambda \| \lambda_{\cdot k})

    One class after the other, twice round. For one class and stream every clip is right on one side
    of one :math:`t`, so that the best is found exactly.

    Args:
        probabilities: ``(s, n, k)`` class probabilities; zeros where a stream has no scores.
        mask: Which stream has scores for which clip.
        labels: True classes.
        shared: :math:`\lambda`, the weights of all classes together.
        prior_clips: :math:`c`.

    Departure: free weights for every class would be as many as clips. A class may lean towards one
    stream, and has to make up in right clips for how far it leans.
    """
    streams, _, classes = probabilities.shape
    weights = np.repeat(shared[:, None], classes, axis=1)
    if streams == 1:
        return weights
    present = mask.astype(np.float32)
    centre = np.maximum(shared, SMALLEST)
    single = (centre / centre.sum()).astype(np.float32)
    total = single @ present
    fused = np.einsum("s,snk->nk", single, probabilities, optimize=True) / total[:, None]
    # one class after the other is read: its numbers have to lie together
    by_class = np.ascontiguousarray(probabilities.transpose(2, 0, 1))
    highest = by_class.max(axis=1)
    fit = _Fit(by_class, present, labels, single, fused, highest, prior_clips)
    chosen = [(0.0, 0)] * classes
    for _ in range(ROUNDS):
        before = list(chosen)
        for column in np.unique(labels).tolist():
            found = _best_of(fit, column)
            if found != chosen[column]:
                _apply(fit, column, *found)
                chosen[column] = found
        if chosen == before:
            break
    for column, (reach, stream) in enumerate(chosen):
        if reach:
            weights[:, column] = (1 - reach) * single
            weights[stream, column] += reach
    normalised: Float[np.ndarray, "streams k"] = weights / weights.sum(axis=0)
    return normalised


def _best_of(fit: _Fit, column: int) -> tuple[float, int]:
    """Return how far one class leans, and where to, all other classes as they are."""
    true = fit.fused[np.arange(len(fit.labels)), fit.labels]
    # a class whose score stays below that of the true one takes nothing from it
    rows = np.flatnonzero((fit.labels == column) | (fit.highest[column] >= true))
    own, others = fit.labels[rows] == column, fit.fused[rows]
    others[:, column] = -1.0
    best_other = others.max(axis=1)
    # the score to beat, or not to reach; where another class wins anyway, nothing is to be decided
    undecided = own | (true[rows] >= best_other)
    rows, own = rows[undecided], own[undecided]
    rival = np.where(own, best_other[undecided], true[rows])
    side = np.where(own, 1.0, -1.0)
    scores, present = fit.by_class[column][:, rows], fit.present[:, rows]
    here = side * (fit.shared @ scores - rival * (fit.shared @ present))
    found = (0.0, 0)
    highest = float((here > 0).sum())
    for stream, share in enumerate(fit.shared.tolist()):
        there = side * (scores[stream] - rival * present[stream])
        reach, value = _along(here, there, share, fit.prior_clips)
        if value > highest + 1e-9:
            found, highest = (reach, stream), value
    return found


def _along(
    here: Float[np.ndarray, " n"],
    there: Float[np.ndarray, " n"],
    share: float,
    prior_clips: float,
) -> tuple[float, float]:
    """Return the best t of ``(1 - t) * here + t * there > 0`` and its value, less the price."""
    turns = (here > 0) != (there > 0)
    first, last = here[turns], there[turns]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.nan_to_num(first / (first - last), nan=0.0, posinf=1.0, neginf=0.0)
    order = np.argsort(crossing, kind="stable")
    places = np.append(crossing[order], 1.0)
    count = (here > 0).sum() + np.cumsum(np.where(last > 0, 1, -1)[order])
    # a little beyond a turn, where it is told apart from the next: further costs more
    gap = np.diff(places)
    beyond = places[:-1] + gap / 4
    usable = (beyond <= FURTHEST) & (gap > 1e-6)
    if not usable.any():
        return 0.0, -np.inf
    reach = beyond[usable]
    price = -(1 - share) * np.log1p(-reach) - share * np.log(1 - reach + reach / share)
    value = count[usable] - prior_clips * price
    best = int(np.argmax(value))
    return float(reach[best]), float(value[best])


def _apply(fit: _Fit, column: int, reach: float, stream: int) -> None:
    """Write one class's fused scores under its weights."""
    scores, share = fit.by_class[column], (1 - reach) * fit.shared
    share[stream] += np.float32(reach)
    fit.fused[:, column] = (share @ scores) / (share @ fit.present)
