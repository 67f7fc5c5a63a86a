"""Bootstrap intervals of an accuracy, and of the difference between two streams.

Resampling clips with replacement only changes how often each (class, right or wrong) cell occurs,
so the cells are drawn instead of the clips: the same distribution, and cost free of ``n``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.stats import beta, norm
from scipy.stats import t as student

from poselens.errors import UsageError
from poselens.fusion.scores import align, present
from poselens.types import Scores

Metric = Literal["top1", "mean_class"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Coverage aimed at.
        unit: What was resampled: ``clip``, or ``subject``, ``source``, ``group`` when clips of one
            subject or video stay together.
        units: How many of them there are.
    """

    low: float
    high: float
    level: float
    unit: str
    units: int | None = None


@dataclass(frozen=True)
class Difference:
    """How much better one stream is than another on the same clips.

    Attributes:
        value: Metric of the first minus metric of the second.
        interval: Paired bootstrap interval of ``value``.
        n: Clips compared.
        only_first: Clips that the first alone has right.
        only_second: Clips that the second alone has right.
    """

    value: float
    interval: Interval
    n: int
    only_first: int
    only_second: int


def bootstrap_interval(
    scores: Scores,
    metric: Metric = "top1",
    *,
    groups: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of a metric over clips, or over groups of clips.

    Args:
        scores: Scores of labelled clips; clips without label or score are left out.
        metric: Top-1 or mean-class accuracy.
        groups: Group of each clip (subject, source video). Whole groups are then drawn, which is
            honest when clips of one group resemble each other.
        level: Coverage aimed at.
        resamples: Number of resamples.
        seed: Seed of the draw.

    Departure: where every clip is right, or every clip wrong, the bootstrap has no spread at all;
    the exact binomial (Clopper-Pearson) bound over the units takes its place.

    Raises:
        UsageError: ``EVAL-001`` without a labelled clip, ``EVAL-002`` when ``groups`` does not
            fit.
    """
    labels, correct, members = _judged(scores, groups)
    return accuracy_interval(
        labels, correct, metric, members, level=level, resamples=resamples, seed=seed
    )


def accuracy_interval(
    labels: Int[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    metric: Metric,
    members: Int[np.ndarray, " n"] | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the interval of :func:`bootstrap_interval` for clips of which it is known.

    Args:
        labels: Class of each clip.
        correct: Whether it is right.
        metric: Top-1 or mean-class accuracy.
        members: Number of the group of each clip, from 0; None draws clips.
        level: Coverage aimed at.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """
    cells = 2 * (int(labels.max()) + 1)
    drawn = _resample(labels * 2 + correct, cells, members, resamples=resamples, seed=seed).reshape(
        resamples, -1, 2
    )
    unit = "clip" if members is None else "group"
    units = len(labels) if members is None else int(members.max()) + 1
    if correct.all() or not correct.any():
        return Interval(*certain(bool(correct.all()), units, level), level, unit, units)
    values = accuracies(drawn[..., 1], drawn.sum(axis=-1), metric)
    value = _accuracy(labels, correct, metric)
    return Interval(*around_share(value, values, level, units), level, unit, units)


def paired_difference(
    first: Scores,
    second: Scores,
    metric: Metric = "top1",
    *,
    groups: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return metric(first) - metric(second) on the clips both know, with a paired interval.

    Args:
        first: Scores of one stream.
        second: Scores of the other; clips are matched by id.
        metric: Top-1 or mean-class accuracy.
        groups: Group of each clip of ``first``, in its order.
        level: Coverage aimed at.
        resamples: Number of resamples.
        seed: Seed of the draw.

    Raises:
        UsageError: ``EVAL-001`` when no labelled clip is common to both, ``EVAL-002`` when
            ``groups`` does not fit, ``FUS-002`` when the classes differ.
        AnnotationError: ``FUS-003`` when the labels contradict each other.
    """
    if groups is not None and len(groups) != len(first.ids):
        raise unfit_groups(groups, first)
    ours, theirs = align([_renamed(first, "first"), _renamed(second, "second")])
    both = present(ours) & present(theirs) & (np.asarray(ours.labels) >= 0)
    rows = np.flatnonzero(both)
    if len(rows) == 0:
        raise UsageError("EVAL-001", "no labelled clip is common to both streams")
    labels = np.asarray(ours.labels)[rows]
    right = [
        (stream.logits[rows].argmax(axis=1) == labels).astype(int) for stream in (ours, theirs)
    ]
    # rows of `first` come first after aligning, in their own order
    members = None if groups is None else _members([groups[row] for row in rows.tolist()])
    drawn = _resample(
        labels * 4 + right[0] * 2 + right[1],
        4 * len(first.classes),
        members,
        resamples=resamples,
        seed=seed,
    ).reshape(resamples, -1, 2, 2)
    support = drawn.sum(axis=(2, 3))
    gain = accuracies(drawn[:, :, 1].sum(axis=-1), support, metric) - accuracies(
        drawn[:, :, :, 1].sum(axis=-1), support, metric
    )
    units = len(rows) if members is None else int(members.max()) + 1
    low, high = percentiles(gain, level, units)
    value = _accuracy(labels, right[0], metric) - _accuracy(labels, right[1], metric)
    return Difference(
        value,
        Interval(low, high, level, "clip" if groups is None else "group", units),
        len(rows),
        int((right[0] > right[1]).sum()),
        int((right[0] < right[1]).sum()),
    )


def _renamed(scores: Scores, stream: str) -> Scores:
    return Scores(scores.logits, scores.ids, scores.labels, scores.classes, stream)


def judged_rows(scores: Scores) -> Int[np.ndarray, " judged"]:
    """Return the rows that can be judged: label known, scores present.

    Raises:
        UsageError: ``EVAL-001`` without any, ``EVAL-003`` for a label outside the classes.
    """
    labels = np.asarray(scores.labels)
    if len(labels) and labels.max() >= len(scores.classes):
        raise UsageError(
            "EVAL-003",
            f"found label {int(labels.max())}, expected -1 to {len(scores.classes) - 1}",
            mend="score the clips with the classes they were labelled with",
        )
    rows = np.flatnonzero(present(scores) & (labels >= 0))
    if len(rows) == 0:
        raise UsageError(
            "EVAL-001",
            f"none of {len(labels)} clips has both a label and scores",
            mend="evaluate on a split with labels",
        )
    return rows


def _judged(
    scores: Scores, groups: Sequence[str] | None
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"], Int[np.ndarray, " n"] | None]:
    if groups is not None and len(groups) != len(scores.ids):
        raise unfit_groups(groups, scores)
    rows = judged_rows(scores)
    labels = np.asarray(scores.labels)[rows]
    correct = scores.logits[rows].argmax(axis=1) == labels
    return labels, correct, None if groups is None else _members([groups[row] for row in rows])


def unfit_groups(groups: Sequence[str], scores: Scores) -> UsageError:
    """Return ``EVAL-002``."""
    return UsageError(
        "EVAL-002",
        f"found {len(groups)} groups for {len(scores.ids)} clips of stream {scores.stream!r}",
        mend="give one group per clip",
    )


def _members(groups: Sequence[str]) -> Int[np.ndarray, " n"]:
    members: Int[np.ndarray, " n"] = np.unique(np.array(groups), return_inverse=True)[1]
    return members


def _resample(
    cells: Int[np.ndarray, " n"],
    count: int,
    members: Int[np.ndarray, " n"] | None,
    *,
    resamples: int,
    seed: int,
) -> Int[np.ndarray, "resamples cells"]:
    """Return how often each cell occurs in each resample of clips, or of whole groups."""
    generator = np.random.default_rng(seed)
    if members is None:
        shares = np.bincount(cells, minlength=count) / len(cells)
        return generator.multinomial(len(cells), shares, size=resamples)
    units = int(members.max()) + 1
    table = np.zeros((units, count), dtype=np.int64)
    np.add.at(table, (members, cells), 1)
    return generator.multinomial(units, np.full(units, 1 / units), size=resamples) @ table


def accuracies(
    right: Num[np.ndarray, "resamples k"], support: Int[np.ndarray, "resamples k"], metric: Metric
) -> Float[np.ndarray, " resamples"]:
    """Return the accuracy of every row of right and of all clips by class."""
    value: Float[np.ndarray, " resamples"]
    if metric == "top1":
        value = right.sum(axis=1) / support.sum(axis=1)
    else:
        # a class that no drawn clip belongs to has no recall and is left out of that mean
        value = (right / np.maximum(support, 1)).sum(axis=1) / (support > 0).sum(axis=1)
    return value


def _accuracy(labels: Int[np.ndarray, " n"], right: Num[np.ndarray, " n"], metric: Metric) -> float:
    support = np.bincount(labels)[None]
    return float(accuracies(np.bincount(labels, weights=right)[None], support, metric)[0])


def certain(right: bool, units: int, level: float) -> tuple[float, float]:
    """Return the exact binomial (Clopper-Pearson) bounds of units all right, or all wrong."""
    tail = (1 - level) / 2
    if right:
        return float(beta.ppf(tail, units, 1)), 1.0
    return 0.0, float(beta.ppf(1 - tail, 1, units))


def around_share(
    value: float, values: Float[np.ndarray, " resamples"], level: float, units: int
) -> tuple[float, float]:
    r"""Return the ends of an interval of a share, or of a mean of shares, from its resamples.

    With the variance :math:`v` of the resamples, the share :math:`p` is known as well as from

    .. math::
        n = \frac{p (1 - p)}{v \, u / (u - 1)}

    clips drawn by themselves (the effective sample size of Korn and Graubard, *Survey Methodology*
    1998), and gets the score interval of Wilson (1927) of that size, with Student's
    :math:`t_{u - 1}` in the place of the normal quantile.

    Departure: plain percentiles end too early near 0 and 1, where good models are: at a Top-1 of
    99 % on 160 clips they covered 78 % in trials, this one 95 %.
    """
    spread = float(values.var()) * units / max(units - 1, 1)
    if units < 2 or spread == 0:
        return percentiles(values, level, units)
    clips = value * (1 - value) / spread
    reach = float(student.ppf((1 + level) / 2, units - 1)) ** 2 / clips
    middle = (value + reach / 2) / (1 + reach)
    half = np.sqrt(reach * value * (1 - value) + reach**2 / 4) / (1 + reach)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def percentiles(
    values: Float[np.ndarray, " resamples"], level: float, units: int
) -> tuple[float, float]:
    r"""Return the ends of a percentile interval, widened for few units.

    .. math::
        \alpha' = \Phi\left(-\sqrt{\tfrac{u}{u - 1}} \; t_{1 - \alpha / 2, u - 1}\right)

    takes the place of :math:`\alpha / 2` (the expanded percentile interval of Hesterberg, *What
    teachers should know about the bootstrap*, The American Statistician 2015, 5.3).

    Departure: a plain 95 % percentile interval over 5 groups covered 83 % in trials, this one
    91 %; over 8 groups 88 and 94 %. With 200 clips the two differ by a hundredth of their width.
    """
    if units < 2:
        return float(values.min()), float(values.max())
    reach = student.ppf((1 + level) / 2, units - 1) * np.sqrt(units / (units - 1))
    tail = float(norm.cdf(-reach))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
