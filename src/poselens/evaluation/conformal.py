"""Sets of labels that hold the right one as often as promised: split conformal prediction.

After Angelopoulos and Bates, *A gentle introduction to conformal prediction*, 2021. The promise
holds on average over calibration and test clips that are exchangeable; clips of other people than
those that calibrated are so only roughly, which is why the coverage on test is measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import softmax
from scipy.stats import beta

from poselens.errors import UsageError
from poselens.evaluation.intervals import RESAMPLES, Interval, judged_rows
from poselens.evaluation.resampling import group_units, judge, ratio_interval
from poselens.evaluation.unknown import ends, needed, require_rate
from poselens.types import Scores

Method = Literal["lac", "aps"]
METHODS: tuple[Method, ...] = ("lac", "aps")


@dataclass(frozen=True, eq=False)
class ConformalRule:
    """Which labels go into a set.

    Attributes:
        method: ``lac``: labels of a probability high enough; ``aps``: the best labels until their
            probabilities add up.
        alpha: Share of sets that may miss the right label.
        thresholds: ``(k,)`` highest nonconformity of each class that goes in; infinite where too
            few clips calibrated it, so that it always goes in.
        counts: ``(k,)`` clips that calibrated each class: all of them, or those of the class.
        per_class: Whether each class has a threshold of its own (Mondrian).
        randomised: Whether ``aps`` draws how much of the last label counts.
        seed: Seed of that draw.
    """

    method: Method
    alpha: float
    thresholds: Float[np.ndarray, " k"]
    counts: Int[np.ndarray, " k"]
    per_class: bool
    randomised: bool
    seed: int

    @property
    def needed(self) -> int:
        """The fewest clips that give a finite threshold."""
        return needed(self.alpha)

    @property
    def open_classes(self) -> Int[np.ndarray, " open"]:
        """Classes that are in every set because too few clips calibrated them."""
        return np.flatnonzero(np.isinf(self.thresholds))


@dataclass(frozen=True, eq=False)
class ConformalEvaluation:
    """What a rule does on clips that did not calibrate it.

    Attributes:
        rule: The rule.
        n: Clips judged.
        n_calibration: Clips that calibrated.
        coverage: Share of sets that hold the right label.
        coverage_interval: Its bootstrap interval.
        expected: Range that 95 % of calibration sets of this size give the coverage of exchangeable
            clips; None with a threshold per class, or without a finite one.
        size: Mean number of labels in a set.
        size_interval: Its bootstrap interval.
        sizes: Sets by their number of labels.
        by_class: Coverage of the clips of each class; None where it does not occur.
        open_classes: Classes in every set because too few clips calibrated them.
    """

    rule: ConformalRule
    n: int
    n_calibration: int
    coverage: float
    coverage_interval: Interval | None
    expected: tuple[float, float] | None
    size: float
    size_interval: Interval | None
    sizes: Sequence[int]
    by_class: Sequence[float | None]
    open_classes: Sequence[str]

    @property
    def told(self) -> list[str]:
        """What a reader of the sets has to know, one sentence each."""
        if not self.open_classes:
            return []
        rule = self.rule
        if not rule.per_class:
            return [
                f"{self.n_calibration} clips are too few to promise {1 - rule.alpha:g}, "
                f"{rule.needed} would do: every set holds every class"
            ]
        return [
            f"{len(self.open_classes)} of {len(rule.counts)} classes have fewer than the "
            f"{rule.needed} clips that promise {1 - rule.alpha:g}: they are in every set"
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        thresholds = [None if math.isinf(each) else float(each) for each in self.rule.thresholds]
        return {
            "method": self.rule.method,
            "alpha": self.rule.alpha,
            "per_class": self.rule.per_class,
            "randomised": self.rule.randomised,
            "n": self.n_calibration,
            "needed": self.rule.needed,
            "threshold": thresholds if self.rule.per_class else thresholds[0],
            "n_judged": self.n,
            "coverage": self.coverage,
            "coverage_interval": ends(self.coverage_interval),
            "expected": None if self.expected is None else list(self.expected),
            "size": self.size,
            "size_interval": ends(self.size_interval),
            "sizes": list(self.sizes),
            "coverage_by_class": list(self.by_class),
            "open_classes": list(self.open_classes),
        }


def require_method(method: str) -> None:
    """Refuse what is no way to make label sets.

    Raises:
        UsageError: ``EVAL-024``.
    """
    if method not in METHODS:
        raise UsageError("EVAL-024", f"found {method!r}, expected {' or '.join(METHODS)}")


def fit_conformal(
    scores: Scores,
    alpha: float,
    method: Method = "lac",
    *,
    per_class: bool = False,
    randomised: bool = False,
    seed: int = 0,
) -> ConformalRule:
    r"""Choose the threshold of the nonconformity on labelled clips that were not trained on.

    Of the nonconformities of the right labels :math:`s_{(1)} \leq \dots \leq s_{(n)}` the threshold
    is :math:`s_{(j)}`, :math:`j = \lceil (n + 1)(1 - \alpha) \rceil`; infinite where
    :math:`j > n`. With ``per_class`` each class has its own, from its own clips.

    Args:
        scores: Scores of the calibration clips.
        alpha: Share of sets that may miss the right label, between 0 and 1.
        method: ``lac`` (Sadinle, Lei and Wasserman, 2019) or ``aps`` (Romano, Sesia and Candes,
            2020).
        per_class: Whether the promise holds for the clips of every class, not only over all.
        randomised: For ``aps``: whether a random part of the last label's probability counts,
            which gives smaller sets that differ from seed to seed.
        seed: Seed of that draw.

    Departure: ``aps`` is not randomised unless it is asked for, so that one clip has one set; sets
    are then larger, and cover more, than promised.

    Raises:
        UsageError: ``EVAL-001`` without a labelled clip, ``EVAL-023`` for an ``alpha`` out of
            range, ``EVAL-024`` for an unknown method.
    """
    require_rate(alpha)
    require_method(method)
    rows = judged_rows(scores)
    labels, k = np.asarray(scores.labels)[rows], len(scores.classes)
    own = _nonconformity(scores, rows, method, randomised, seed)[np.arange(len(rows)), labels]
    if per_class:
        counts = np.bincount(labels, minlength=k)
        thresholds = np.array([_quantile(own[labels == name], alpha) for name in range(k)])
    else:
        counts = np.full(k, len(rows))
        thresholds = np.full(k, _quantile(own, alpha))
    return ConformalRule(method, alpha, thresholds, counts, per_class, randomised, seed)


def _quantile(own: Float[np.ndarray, " n"], alpha: float) -> float:
    spare = math.floor(alpha * (len(own) + 1) + 1e-9)
    return math.inf if spare == 0 else float(np.sort(own)[len(own) - spare])


def label_sets(scores: Scores, rule: ConformalRule) -> Bool[np.ndarray, "n k"]:
    """Return which classes are in the set of each clip; every clip must have scores.

    A set may be empty: no class is as likely as the right ones of the calibration were.
    """
    # another draw than that of the calibration
    all_rows = np.arange(len(scores.ids))
    seed = rule.seed + 1
    return _nonconformity(scores, all_rows, rule.method, rule.randomised, seed) <= rule.thresholds


def _nonconformity(
    scores: Scores, rows: Int[np.ndarray, " n"], method: Method, randomised: bool, seed: int
) -> Float[np.ndarray, "n k"]:
    r"""Return how strange each label would be: :math:`1 - p_k`, or the probability down to it."""
    shares = softmax(np.asarray(scores.logits, dtype=np.float64)[rows], axis=1)
    if method == "lac":
        return np.asarray(1 - shares)
    order = np.argsort(-shares, axis=1, kind="stable")
    ranked = np.take_along_axis(shares, order, axis=1)
    total = ranked.cumsum(axis=1)
    if randomised:
        total -= np.random.default_rng(seed).random((len(rows), 1)) * ranked
    strange = np.empty_like(total)
    np.put_along_axis(strange, order, total, axis=1)
    return strange


def evaluate_conformal(
    scores: Scores,
    rule: ConformalRule,
    *,
    groups: Sequence[str] | None = None,
    unit: str = "group",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ConformalEvaluation:
    """Judge the sets of labelled clips that did not calibrate the rule.

    Args:
        scores: Their scores, with the classes of the calibration.
        rule: The rule.
        groups: Group of each clip, as ``evaluate`` takes them.
        unit: What a group is called.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: As ``poselens.evaluation.metrics.evaluate``.
    """
    judged = judge(scores)
    units = None if groups is None else group_units(judged, groups, scores)
    about: dict[str, Any] = {
        "unit": "clip" if units is None else unit, "resamples": resamples, "seed": seed,
    }  # fmt: skip
    kept = Scores(
        scores.logits[judged.rows],
        [scores.ids[row] for row in judged.rows.tolist()],
        judged.labels,
        scores.classes,
        scores.stream,
    )
    sets = label_sets(kept, rule)
    n, k = sets.shape
    held, size, ones = sets[np.arange(n), judged.labels], sets.sum(axis=1), np.ones(n)
    per_class = [held[judged.labels == name] for name in range(k)]
    return ConformalEvaluation(
        rule=rule,
        n=n,
        n_calibration=int(rule.counts.sum() if rule.per_class else rule.counts[0]),
        coverage=float(held.mean()),
        coverage_interval=ratio_interval(held, ones, units, **about),
        expected=_expected(rule),
        size=float(size.mean()),
        size_interval=ratio_interval(size, ones, units, share=False, **about),
        sizes=np.bincount(size, minlength=k + 1).tolist(),
        by_class=[float(each.mean()) if len(each) else None for each in per_class],
        open_classes=[scores.classes[name] for name in rule.open_classes.tolist()],
    )


def _expected(rule: ConformalRule) -> tuple[float, float] | None:
    """Return the range of the coverage over calibration sets (Angelopoulos and Bates, 3.2)."""
    if rule.per_class or len(rule.open_classes):
        return None
    n = int(rule.counts[0])
    spare = math.floor(rule.alpha * (n + 1) + 1e-9)
    low, high = beta.ppf([0.025, 0.975], n + 1 - spare, spare)
    return float(low), float(high)
