"""Compare settings that were trained with several seeds: one row each, and paired differences.

Two things vary: which clips came into the test part, and how a network was initialised and fed. The
first is shown by intervals over clips, or over groups of clips; the second by the standard
deviation over seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from poselens.errors import UsageError
from poselens.evaluation.intervals import (
    RESAMPLES,
    Interval,
    Metric,
    accuracies,
    around_share,
    bootstrap_interval,
    percentiles,
)
from poselens.fusion.scores import align, present
from poselens.types import Scores

METRICS: tuple[Metric, ...] = ("top1", "mean_class")
CHUNK_CELLS = 4_000_000
"""Largest table of draws that is held at a time."""

Seeded = Mapping[str, Scores]
"""Scores of one setting, by seed."""


@dataclass(frozen=True)
class Spread:
    """One accuracy of a setting.

    Attributes:
        mean: Mean over the seeds.
        deviation: Sample standard deviation over the seeds; None for one seed.
        each: Accuracy by seed.
        interval: Bootstrap interval of ``mean`` over clips or groups, the seeds being those given.
    """

    mean: float
    deviation: float | None
    each: Mapping[str, float]
    interval: Interval

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "each": dict(self.each),
            "interval": [self.interval.low, self.interval.high],
        }


@dataclass(frozen=True)
class Gain:
    """How much better one setting is than another on the same clips.

    Attributes:
        value: Mean over seeds of the first minus that of the second.
        interval: Paired bootstrap interval of ``value`` over clips or groups.
        p: Two-sided bootstrap probability of a difference of the other sign, or none.
        deviation: Standard deviation of the difference from seed to seed: of the pairs where both
            have the same seeds, else of two independent sets; None where a setting has one seed.
        each: Difference by seed that both have.
        n: Clips compared.
    """

    value: float
    interval: Interval
    p: float
    deviation: float | None
    each: Mapping[str, float]
    n: int

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds zero."""
        return self.interval.low <= 0 <= self.interval.high

    @property
    def verdict(self) -> Literal["within noise", "seeds disagree", "better", "worse"]:
        """``better`` or ``worse`` only where neither the clips nor the seeds leave a doubt."""
        if self.within_noise:
            return "within noise"
        if any(gain * self.value <= 0 for gain in self.each.values()):
            return "seeds disagree"
        return "better" if self.value > 0 else "worse"

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "value": self.value,
            "interval": [self.interval.low, self.interval.high],
            "p": self.p,
            "deviation": self.deviation,
            "each": dict(self.each),
            "n": self.n,
            "within_noise": self.within_noise,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, eq=False)
class _Table:
    """What every seed has right, on the clips that all of them know.

    Attributes:
        seeds: Their names.
        ids: Clips.
        labels: Their classes.
        right: ``(seeds, n)``.
        classes: Number of classes.
    """

    seeds: Sequence[str]
    ids: Sequence[str]
    labels: Int[np.ndarray, " n"]
    right: Bool[np.ndarray, "seeds n"]
    classes: int


def summarise(
    scores: Seeded,
    *,
    groups: Mapping[str, str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[int, dict[Metric, Spread]]:
    r"""Return the number of clips, and mean, deviation and interval of each accuracy.

    The interval is that of the mean over seeds: clips are drawn with replacement, and of each clip
    its share of seeds that have it right,

    .. math::
        \bar c_i = \frac{1}{S} \sum_s [\arg\max_k z_{sik} = y_i] .

    Args:
        scores: Scores by seed; clips that one seed lacks, or without label, are left out.
        groups: Group (subject, source) by clip; whole groups are drawn.
        level: Coverage aimed at.
        resamples: Number of resamples.
        seed: Seed of the draw.

    Departure: where every seed has every clip right, or every clip wrong, the exact binomial bound
    takes the place of the bootstrap, as in ``intervals.bootstrap_interval``.

    Raises:
        UsageError: ``EVAL-001`` when no labelled clip is common to all seeds, ``EVAL-002`` for a
            clip without a group; ``FUS-001``, ``FUS-002`` as ``fusion.scores.align``.
        AnnotationError: ``FUS-003`` as ``fusion.scores.align``.
    """
    table = _table(scores)
    units = _units(table.ids, groups)
    share, support = _by_unit(table, units, table.right.mean(axis=0))
    unit = "clip" if groups is None else "group"
    spreads: dict[Metric, Spread] = {}
    for metric in METRICS:
        each = _each(table, metric)
        if table.right.all() or not table.right.any():
            interval = _exact(scores, table, metric, groups, level)
        else:
            drawn = [
                accuracies(draws @ share, draws @ support, metric)
                for draws in _draws(len(share), resamples, seed)
            ]
            ends = around_share(
                float(np.mean(list(each.values()))), np.concatenate(drawn), level, len(share)
            )
            interval = Interval(*ends, level, unit, len(share))
        values = list(each.values())
        spreads[metric] = Spread(float(np.mean(values)), _deviation(values), each, interval)
    return len(table.ids), spreads


def compare(
    first: Seeded,
    second: Seeded,
    metric: Metric = "top1",
    *,
    groups: Mapping[str, str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Gain:
    r"""Return how much better one setting is than another, paired by clip.

    With :math:`\bar c_i` as in :func:`summarise`, resamples of the clips give differences
    :math:`d^*` of the two means, and

    .. math::
        p = \min\left(1, 2 \min\left(\frac{1 + \#[d^* \le 0]}{B + 1},
        \frac{1 + \#[d^* \ge 0]}{B + 1}\right)\right) .

    Interval and p speak of other clips and the seeds at hand; ``deviation`` speaks of other seeds.

    Raises:
        UsageError: ``EVAL-001`` when no labelled clip is common to both, ``EVAL-002`` for a clip
            without a group; ``FUS-002`` when the classes differ.
        AnnotationError: ``FUS-003`` when the labels contradict each other.
    """
    named = {f"first {name}": scores for name, scores in first.items()}
    named |= {f"second {name}": scores for name, scores in second.items()}
    table = _table(named)
    halves = table.right[: len(first)], table.right[len(first) :]
    units = _units(table.ids, groups)
    (ours, support), (theirs, _) = (_by_unit(table, units, half.mean(axis=0)) for half in halves)
    drawn = np.concatenate(
        [
            accuracies(draws @ ours, draws @ support, metric)
            - accuracies(draws @ theirs, draws @ support, metric)
            for draws in _draws(len(ours), resamples, seed)
        ]
    )
    each = _each(table, metric)
    own = [each[f"first {name}"] for name in first]
    other = [each[f"second {name}"] for name in second]
    paired = {
        name: each[f"first {name}"] - each[f"second {name}"] for name in first if name in second
    }
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return Gain(
        float(np.mean(own) - np.mean(other)),
        _percentiles(drawn, level, "clip" if groups is None else "group", len(ours)),
        min(1.0, 2 * (1 + min(below, above)) / (resamples + 1)),
        _deviation_of_difference(own, other, paired),
        paired,
        len(table.ids),
    )


def _table(scores: Seeded) -> _Table:
    aligned = align(
        [
            Scores(each.logits, each.ids, each.labels, each.classes, name)
            for name, each in scores.items()
        ]
    )
    labels = np.asarray(aligned[0].labels)
    known = labels >= 0
    for each in aligned:
        known &= present(each)
    rows = np.flatnonzero(known)
    if len(rows) == 0:
        raise UsageError("EVAL-001", f"no labelled clip is common to {', '.join(scores)}")
    right = np.stack([each.logits[rows].argmax(axis=1) == labels[rows] for each in aligned])
    ids = [aligned[0].ids[row] for row in rows.tolist()]
    return _Table(list(scores), ids, labels[rows], right, len(aligned[0].classes))


def _units(ids: Sequence[str], groups: Mapping[str, str] | None) -> Int[np.ndarray, " n"]:
    """Return which unit of the bootstrap each clip belongs to: its own, or its group."""
    if groups is None:
        return np.arange(len(ids))
    missing = [clip for clip in ids if clip not in groups]
    if missing:
        raise UsageError(
            "EVAL-002",
            f"{len(missing)} of {len(ids)} clips have no group, the first {missing[0]!r}",
            mend="give one group per clip",
        )
    members: Int[np.ndarray, " n"] = np.unique(
        np.array([groups[clip] for clip in ids]), return_inverse=True
    )[1]
    return members


def _by_unit(
    table: _Table, units: Int[np.ndarray, " n"], share: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "units k"], Float[np.ndarray, "units k"]]:
    """Return the sum of ``share`` and the number of clips, by unit and class."""
    right = np.zeros((int(units.max()) + 1, table.classes))
    support = np.zeros_like(right)
    np.add.at(right, (units, table.labels), share)
    np.add.at(support, (units, table.labels), 1.0)
    return right, support


def _draws(units: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "some units"]]:
    """Yield how often each unit is drawn in each resample, a chunk of resamples at a time."""
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK_CELLS // units)
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        yield generator.multinomial(units, np.full(units, 1 / units), size=count).astype(float)


def _each(table: _Table, metric: Metric) -> dict[str, float]:
    """Return the accuracy of every seed."""
    right, support = np.zeros((2, len(table.seeds), table.classes))
    for row, seed in enumerate(table.right):
        np.add.at(right[row], table.labels, seed)
        np.add.at(support[row], table.labels, 1.0)
    return dict(zip(table.seeds, accuracies(right, support, metric).tolist(), strict=True))


def _exact(
    scores: Seeded,
    table: _Table,
    metric: Metric,
    groups: Mapping[str, str] | None,
    level: float,
) -> Interval:
    """Return the exact bound of clips that every seed has right, or every seed wrong."""
    first = next(iter(scores.values()))
    rows = [first.ids.index(clip) for clip in table.ids]
    judged = Scores(first.logits[rows], table.ids, table.labels, first.classes, first.stream)
    members = None if groups is None else [groups[clip] for clip in table.ids]
    return bootstrap_interval(judged, metric, groups=members, level=level, resamples=1)


def _percentiles(
    drawn: Float[np.ndarray, " resamples"], level: float, unit: str, units: int
) -> Interval:
    return Interval(*percentiles(drawn, level, units), level, unit, units)


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _deviation_of_difference(
    ours: Sequence[float], theirs: Sequence[float], paired: Mapping[str, float]
) -> float | None:
    if len(paired) == len(ours) == len(theirs):
        return _deviation(list(paired.values()))
    mine, other = _deviation(ours), _deviation(theirs)
    return None if mine is None or other is None else float(np.hypot(mine, other))
