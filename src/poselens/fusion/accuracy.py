"""Weights of Eq. 14 under which most validation clips are right.

The number of right clips is flat between jumps, so no slope leads anywhere. But along a line every
clip is right on one interval, whose ends are known exactly: a search along lines misses nothing
there, and a line is all that two streams have.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.fusion.calibration import ROWS

LATTICE_POINTS = 150
STARTS = 4
ROUNDS = 8
WIDE_PAIRS = 20_000
"""Pairs of clip and rival class that the wide search sees; its best result goes on with more."""

MOST_PAIRS = 150_000
"""Pairs that any search sees."""

Weights = Float[np.ndarray, " streams"]


@dataclass(frozen=True, eq=False)
class Contest:
    """The clips whose answer depends on the weights.

    Attributes:
        margins: ``(pairs, s)`` how much more probable than a rival each stream finds the true class
            of a clip; 0 for an absent stream. A clip is right where its pairs are all above 0.
        starts: Place of the first pair of each clip.
        always: Clips that are right under any weights.
    """

    margins: NDArray[np.float32]
    starts: Int[np.ndarray, " clips"]
    always: int

    def right(self, weights: Float[np.ndarray, "streams some"]) -> Int[np.ndarray, " some"]:
        """Return how many clips are right under each column of weights."""
        if not len(self.starts):
            return np.full(weights.shape[1], self.always)
        held = np.minimum.reduceat(self.margins @ weights.astype(np.float32), self.starts, axis=0)
        right: Int[np.ndarray, " some"] = self.always + (held > 0).sum(axis=0)
        return right

    def thinned(self, most: int) -> "Contest":
        """Return every so many clips, so that there are about ``most`` pairs, or fewer."""
        every = -(-len(self.margins) // most)
        if every <= 1:
            return self
        ends = np.append(self.starts[1:], len(self.margins))
        lengths = (ends - self.starts)[::every]
        first = np.cumsum(lengths) - lengths
        pairs = np.repeat(self.starts[::every] - first, lengths) + np.arange(lengths.sum())
        return Contest(self.margins[pairs], first, 0)


def contest(probabilities: NDArray[np.float32], labels: Int[np.ndarray, " n"]) -> Contest:
    """Return the clips and rivals that matter, of ``(s, n, k)`` probabilities.

    A rival that no stream prefers to the true class never wins; a clip with a rival that every
    stream prefers is never right. Both are left out, which changes no count.
    """
    margins: list[NDArray[np.float32]] = []
    lengths: list[NDArray[np.int64]] = []
    always = 0
    for start in range(0, len(labels), ROWS):
        block = probabilities[:, start : start + ROWS]
        known = labels[start : start + ROWS]
        rows = np.arange(len(known))
        ahead = block[:, rows, known][:, :, None] - block  # (s, n, k)
        there = np.asarray(block.any(axis=2))
        behind: NDArray[np.bool_] = np.where(there[:, :, None], ahead, np.float32(1)) <= 0
        rival: NDArray[np.bool_] = np.asarray(behind.any(axis=0))
        rival[rows, known] = False
        hopeless = (rival & (ahead <= 0).all(axis=0)).any(axis=1)
        always += int((~rival.any(axis=1)).sum())
        rival[hopeless] = False
        clip, column = np.nonzero(rival)
        margins.append(ahead[:, clip, column].T)
        counts = rival.sum(axis=1)
        lengths.append(counts[counts > 0])
    count = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
    table = np.concatenate(margins)
    return Contest(table, np.cumsum(count) - count, always)


def most_right(found: Contest, likely: Weights) -> Weights:
    """Return weights under which most clips are right.

    Searched are lines towards each stream and from one stream to another, from the likeliest
    weights, equal ones and the best points of a lattice, until nothing gets better. The result is
    the best possible for two streams, and depends on nothing but the scores.

    Args:
        found: The clips in question.
        likely: The weights of highest likelihood.

    Departure: many weights are equally right on a small slice. Those on the straight way to the
    likeliest weights are taken that lie nearest to these, in the middle of their stretch. Of more
    than 150,000 pairs of clip and rival class, every so many clips are looked at.
    """
    streams = len(likely)
    if streams == 1 or not len(found.starts):
        return likely
    found = found.thinned(MOST_PAIRS)
    thin = found.thinned(WIDE_PAIRS)
    ends: list[Weights] = []
    for start in _starts(thin, likely):
        weights = _climb(thin, start)
        if not any(np.allclose(weights, other, atol=1e-6) for other in ends):
            ends.append(weights)
    if thin is not found:
        ends.sort(key=lambda weights: -_count(thin, weights))
        ends = [_climb(found, ends[0])]
    best = max(ends, key=lambda weights: _count(found, weights))
    way = likely - best
    places, counts = stretches(found, best, way, 0.0, 1.0)
    top = np.flatnonzero(counts == counts.max())
    if counts.max() <= _count(found, likely):
        return likely
    middle = best + float(places[top[-1]]) * way
    return middle if _count(found, middle) >= _count(found, best) else best


def stretches(
    found: Contest, weights: Weights, way: Weights, low: float, high: float
) -> tuple[Float[np.ndarray, " some"], Int[np.ndarray, " some"]]:
    """Return the middle of each stretch of ``weights + t * way``, and how many clips are right.

    Args:
        found: The clips in question.
        weights: Where t is 0.
        way: Direction.
        low: Smallest t.
        high: Largest t.
    """
    at = found.margins @ weights.astype(np.float32)
    rise = found.margins @ way.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -at / rise
    lower = np.where(rise > 0, crossing, -np.inf)
    lower[(rise == 0) & (at <= 0)] = np.inf
    upper = np.where(rise < 0, crossing, np.inf)
    begin = np.maximum.reduceat(lower, found.starts).astype(np.float64)
    end = np.minimum.reduceat(upper, found.starts).astype(np.float64)
    lasting = np.maximum(begin, low) < np.minimum(end, high)
    begin, end = np.maximum(begin[lasting], low), np.minimum(end[lasting], high)
    edges = np.unique(np.concatenate([begin, end, [low, high]]))
    middle = (edges[:-1] + edges[1:]) / 2
    right = np.searchsorted(np.sort(begin), middle) - np.searchsorted(np.sort(end), middle)
    return middle, right + found.always


def _count(found: Contest, weights: Weights) -> int:
    return int(found.right(weights[:, None])[0])


def _climb(found: Contest, weights: Weights) -> Weights:
    """Return where lines from ``weights`` lead, each taken where it makes more clips right."""
    now = _count(found, weights)
    for _ in range(ROUNDS):
        before = now
        for way in _ways(weights):
            # as far as every weight stays at 0 or above
            with np.errstate(divide="ignore", invalid="ignore"):
                limits = -weights / way
            low = float(np.max(limits[way > 0], initial=-1.0))
            high = float(np.min(limits[way < 0], initial=1.0))
            if high - low < 1e-9:
                continue
            middle, counts = stretches(found, weights, way, low, high)
            if counts.max(initial=0) <= now:
                continue
            top = np.flatnonzero(counts == counts.max())
            edges = np.diff(np.concatenate([[low], (middle[1:] + middle[:-1]) / 2, [high]]))
            moved = np.maximum(weights + middle[top[np.argmax(edges[top])]] * way, 0.0)
            moved /= moved.sum()
            reached = _count(found, moved)
            if reached > now:
                weights, now = moved, reached
        if now == before:
            break
    return weights


def _ways(weights: Weights) -> Iterator[Weights]:
    corners = np.eye(len(weights))
    for corner in corners:
        if not np.allclose(corner, weights):
            yield corner - weights
    for first, second in combinations(range(len(weights)), 2):
        yield corners[first] - corners[second]


def _starts(found: Contest, likely: Weights) -> list[Weights]:
    streams = len(likely)
    points = _lattice(streams)
    counts = found.right(points.T)
    # of equally good ones the first, so that the same scores give the same weights
    best = np.argsort(-counts, kind="stable")[:STARTS]
    return [likely, np.full(streams, 1 / streams), *points[best]]


def _lattice(streams: int) -> Float[np.ndarray, "points streams"]:
    """Return evenly spaced points of the simplex, about as many as ``LATTICE_POINTS``."""
    steps = 1
    while comb(steps + streams, streams - 1) <= LATTICE_POINTS and steps < LATTICE_POINTS:
        steps += 1
    bars = np.array(list(combinations(range(steps + streams - 1), streams - 1)))
    bars = bars.reshape(-1, streams - 1)
    edge = np.full((len(bars), 1), -1)
    whole = np.concatenate([edge, bars, edge + steps + streams], axis=1)
    points: Float[np.ndarray, "points streams"] = (np.diff(whole, axis=1) - 1) / steps
    return points
