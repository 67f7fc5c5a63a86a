"""What a training was contrasted with: classes that look alike, and negatives by class.

Takes arrays, whoever counted them. Rows are classes of anchors, columns classes in the bank; the
axis ``e`` is epochs, ``k`` classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

PREFERRED = "class-aware"
"""The sampler that is shown where it was used."""


@dataclass(frozen=True, eq=False)
class ContrastHistory:
    """What one stream was contrasted with, epoch by epoch.

    Attributes:
        stream: Name of the stream.
        classes: Class names.
        epochs: Numbers of the epochs, ascending; one or more.
        similarity: ``(e, k, k)`` mean cosine of a class's anchors with each class, h of Eq. (10);
            NaN where nothing was compared.
        taken: ``(e, k, k)`` negatives taken, by sampler.
    """

    stream: str
    classes: Sequence[str]
    epochs: Sequence[int]
    similarity: Float[np.ndarray, "e k k"]
    taken: Mapping[str, Int[np.ndarray, "e k k"]]

    @property
    def sampler(self) -> str:
        """The sampler to look at: ``class-aware``, or the first where that was not used."""
        return PREFERRED if PREFERRED in self.taken else next(iter(self.taken))

    @property
    def shares(self) -> Float[np.ndarray, "e k k"]:
        """Share of the sampler's negatives from each class; NaN for a class without anchors."""
        counts = self.taken[self.sampler].astype(np.float64)
        total = counts.sum(axis=2, keepdims=True)
        shares = np.full(counts.shape, np.nan)
        np.divide(counts, total, out=shares, where=total > 0)
        return shares


@dataclass(frozen=True)
class Rival:
    """A class that another was contrasted with.

    Attributes:
        name: Of the class.
        share: Share of the negatives that came from it.
        similarity: h of Eq. (10); None where it was never compared.
    """

    name: str
    share: float
    similarity: float | None


def symmetric(matrix: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """Return the mean of both directions, of the one that is known, or NaN; NaN on the diagonal."""
    known = np.isfinite(matrix).astype(np.int64) + np.isfinite(matrix.T)
    total = np.nan_to_num(matrix) + np.nan_to_num(matrix.T)
    mean = np.full(matrix.shape, np.nan)
    np.divide(total, known, out=mean, where=known > 0)
    np.fill_diagonal(mean, np.nan)
    return mean


def similar_together(similarity: Float[np.ndarray, "k k"]) -> list[int]:
    """Return the classes in an order that brings those that look alike together.

    Average linkage on the symmetric similarity, with optimally ordered leaves. Classes that were
    compared with none keep their order behind the others.
    """
    closeness = symmetric(similarity)
    known = np.isfinite(closeness).any(axis=1)
    involved, alone = np.flatnonzero(known), np.flatnonzero(~known)
    if len(involved) < 3:
        return [*involved.tolist(), *alone.tolist()]
    closeness = closeness[np.ix_(involved, involved)]
    distance = np.nanmax(closeness) - closeness
    # two classes that never met are as far apart as any that did
    distance = np.where(np.isnan(distance), np.nanmax(distance), distance)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return [*involved[leaves_list(tree)].tolist(), *alone.tolist()]


def rivals(history: ContrastHistory, top: int = 3) -> dict[str, list[Rival]]:
    """Return the classes that each class was contrasted with most in the last epoch.

    By negatives taken, and by similarity among classes whose shares differ by less than a tenth: a
    cap makes shares nearly equal. A class without anchors has none.
    """
    found = {}
    for row, name in enumerate(history.classes):
        shares, similarity = history.shares[-1][row], history.similarity[-1][row]
        found[name] = [
            Rival(
                history.classes[column],
                float(shares[column]),
                float(similarity[column]) if np.isfinite(similarity[column]) else None,
            )
            for column in _most_taken(shares, similarity)[:top]
        ]
    return found


def _most_taken(shares: Float[np.ndarray, " k"], similarity: Float[np.ndarray, " k"]) -> list[int]:
    taken = np.nan_to_num(shares)
    group, largest = 0, np.inf
    groups: dict[int, tuple[int, float]] = {}
    for column in np.argsort(-taken, kind="stable").tolist():
        if taken[column] == 0:
            break
        if taken[column] <= 0.9 * largest:
            group, largest = group + 1, taken[column]
        groups[column] = (group, -float(np.nan_to_num(similarity[column], nan=-np.inf)))
    return sorted(groups, key=lambda column: groups[column])


def strongest_pairs(history: ContrastHistory, top: int = 6) -> list[tuple[int, int]]:
    """Return the pairs of classes that look most alike: at the end, and a third at the start.

    Pairs are in the order of the last epoch, the most similar first.
    """
    last, first = (symmetric(history.similarity[epoch]) for epoch in (-1, 0))
    late, early = _most_similar(last), _most_similar(first)
    chosen = late[: top - top // 3]
    chosen += [pair for pair in early if pair not in chosen][: top // 3]
    chosen += [pair for pair in late if pair not in chosen][: top - len(chosen)]
    rank = {pair: place for place, pair in enumerate(late)}
    return sorted(chosen, key=lambda pair: rank.get(pair, len(rank)))


def _most_similar(closeness: Float[np.ndarray, "k k"]) -> list[tuple[int, int]]:
    rows, columns = np.triu_indices(len(closeness), 1)
    values = closeness[rows, columns]
    order = np.argsort(-values, kind="stable")
    order = order[np.isfinite(values[order])]
    return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))
