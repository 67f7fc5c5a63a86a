"""Compare two sets of scores on the clips both have: figures, classes, and clips, pair by pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from poselens.errors import UsageError
from poselens.evaluation.gain import mcnemar
from poselens.evaluation.intervals import RESAMPLES, Interval, certain, percentiles
from poselens.evaluation.resampling import (
    FIGURES,
    SHARES,
    Drawn,
    Figure,
    Judged,
    figures,
    group_units,
    hull,
    judge,
    resampled,
)
from poselens.fusion.scores import align, present
from poselens.types import Scores


@dataclass(frozen=True)
class FigureDifference:
    """One figure of both.

    Attributes:
        first: Figure of the first.
        second: Figure of the second.
        interval: Paired bootstrap interval of ``value``.
    """

    first: float
    second: float
    interval: Interval

    @property
    def value(self) -> float:
        """First minus second."""
        return self.first - self.second

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds zero."""
        return self.interval.low <= 0 <= self.interval.high

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.value,
            "interval": [self.interval.low, self.interval.high],
            "within_noise": self.within_noise,
        }


@dataclass(frozen=True)
class ClassMove:
    """One class of both.

    Attributes:
        name: The class.
        support: Its clips.
        first: Share of them the first has right.
        second: Share of them the second has right.
        only_first: Clips that the first alone has right.
        only_second: Clips that the second alone has right.
        p: McNemar's exact p of the two.
        corrected: The same after Holm's correction for the number of classes that occur.
    """

    name: str
    support: int
    first: float
    second: float
    only_first: int
    only_second: int
    p: float
    corrected: float


@dataclass(frozen=True, eq=False)
class PairedComparison:
    """How two sets of scores differ.

    Attributes:
        n: Clips that both have scores of, with a label.
        left_out: Labelled clips that one of them has no scores of.
        differences: Each figure of both, by its name.
        both: Clips both have right.
        only_first: Ids of the clips that the first alone has right.
        only_second: Ids of the clips that the second alone has right.
        neither: Clips neither has right.
        p: McNemar's exact p of Top-1.
        classes: The classes that occur, those that move most first.
    """

    n: int
    left_out: int
    differences: Mapping[Figure, FigureDifference]
    both: int
    only_first: Sequence[str]
    only_second: Sequence[str]
    neither: int
    p: float
    classes: Sequence[ClassMove]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        interval = self.differences["top1"].interval
        return {
            "n": self.n,
            "left_out": self.left_out,
            "interval_level": interval.level,
            "interval_unit": interval.unit,
            "interval_units": interval.units,
            "figures": {name: each.as_dict() for name, each in self.differences.items()},
            "both_right": self.both,
            "neither_right": self.neither,
            "only_first": list(self.only_first),
            "only_second": list(self.only_second),
            "mcnemar_p": self.p,
            "classes": [
                {
                    "class": each.name,
                    "support": each.support,
                    "first": each.first,
                    "second": each.second,
                    "only_first": each.only_first,
                    "only_second": each.only_second,
                    "p": each.p,
                    "p_holm": each.corrected,
                }
                for each in self.classes
            ],
        }


def compare_pair(
    first: Scores,
    second: Scores,
    *,
    groups: Mapping[str, str] | None = None,
    unit: str = "group",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedComparison:
    """Compare two sets of scores on the labelled clips that both have.

    Args:
        first: Scores of one.
        second: Scores of the other; clips are matched by id.
        groups: Group of each clip by its id, whole groups of which are drawn; a clip without one
            stands alone.
        unit: What a group is called.
        level: Coverage aimed at.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Departure: where both have the same clips right, the interval of a share is that of a difference
    that occurred in none of the units (exact binomial), not a point. McNemar's test takes clips as
    independent; where groups are drawn, the interval is the one to trust.

    Raises:
        UsageError: ``EVAL-001`` when no labelled clip is common to both, ``EVAL-020`` for a single
            group, ``FUS-002`` when the classes differ.
        AnnotationError: ``FUS-003`` when the labels contradict each other.
        InputError: ``FUS-004`` for logits that are neither finite nor wholly NaN.
    """
    ours, theirs, left_out = _common(first, second)
    judged = judge(ours), judge(theirs)
    members = None if groups is None else [groups.get(clip, "") for clip in ours.ids]
    units = None if members is None else group_units(judged[0], members, ours)
    # the same units and seed give both the same resamples
    drawn = [resampled(each, units, resamples=resamples, seed=seed) for each in judged]
    count = len(ours.ids) if units is None else int(units.max()) + 1
    right = judged[0].right, judged[1].right
    name = "clip" if units is None else unit
    differences = _differences(judged, drawn, Interval(0.0, 0.0, level, name, count))
    alone = right[0] & ~right[1], right[1] & ~right[0]
    return PairedComparison(
        len(ours.ids),
        left_out,
        differences,
        int((right[0] & right[1]).sum()),
        [ours.ids[row] for row in np.flatnonzero(alone[0]).tolist()],
        [ours.ids[row] for row in np.flatnonzero(alone[1]).tolist()],
        int((~right[0] & ~right[1]).sum()),
        mcnemar(int(alone[0].sum()), int(alone[1].sum())).p,
        _moves(ours, right, alone),
    )


def _differences(
    judged: tuple[Judged, Judged], drawn: Sequence[Drawn], blank: Interval
) -> dict[Figure, FigureDifference]:
    """Return the difference of every figure, with an interval like ``blank``."""
    values = [figures(each) for each in judged]
    units = blank.units or 1
    alike = bool((judged[0].right == judged[1].right).all())
    differences = {}
    for name in FIGURES:
        low, high = percentiles(drawn[0][name] - drawn[1][name], blank.level, units)
        if name == "ece":
            low, high = hull(values[0][name] - values[1][name], low, high)
        if low == high == 0 and alike and name in SHARES:
            high = certain(False, units, blank.level)[1]
            low = -high
        interval = replace(blank, low=low, high=high)
        differences[name] = FigureDifference(values[0][name], values[1][name], interval)
    return differences


def _common(first: Scores, second: Scores) -> tuple[Scores, Scores, int]:
    """Return both on the labelled clips that both have, in the order of the first."""
    ours, theirs = align([replace(first, stream="first"), replace(second, stream="second")])
    labelled = np.asarray(ours.labels) >= 0
    rows = np.flatnonzero(present(ours) & present(theirs) & labelled)
    if len(rows) == 0:
        raise UsageError("EVAL-001", "no labelled clip is common to both")
    ids = [ours.ids[row] for row in rows.tolist()]
    labels = np.asarray(ours.labels)[rows]
    kept = [
        Scores(each.logits[rows], ids, labels, each.classes, each.stream) for each in (ours, theirs)
    ]
    return kept[0], kept[1], int(labelled.sum()) - len(rows)


def _moves(
    scores: Scores,
    right: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]],
    alone: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]],
) -> list[ClassMove]:
    k = len(scores.classes)
    counts = [
        np.bincount(scores.labels, weights=each, minlength=k)
        for each in (np.ones(len(scores.ids)), *right, *alone)
    ]
    found = [
        (name, *(int(each[name]) for each in counts)) for name in np.flatnonzero(counts[0]).tolist()
    ]
    chances = [mcnemar(ours, theirs).p for *_, ours, theirs in found]
    moves = [
        ClassMove(
            scores.classes[name], support, mine / support, other / support, ours, theirs, p, fixed
        )
        for (name, support, mine, other, ours, theirs), p, fixed in zip(
            found, chances, holm(chances).tolist(), strict=True
        )
    ]
    return sorted(moves, key=lambda each: (-abs(each.only_first - each.only_second), each.p))


def holm(chances: Sequence[float]) -> Float[np.ndarray, " n"]:
    r"""Return p values corrected for their number (Holm, 1979).

    .. math::
        \tilde p_{(i)} = \max_{j \leq i} \min\left(1, (n - j + 1) \, p_{(j)}\right)
    """
    values = np.asarray(chances, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, steps * values[order]))
    return corrected
