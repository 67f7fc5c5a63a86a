"""Say ``unknown`` below a confidence: which threshold, what it costs, what it keeps out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from poselens.errors import UsageError
from poselens.evaluation.intervals import RESAMPLES, Interval, percentiles
from poselens.evaluation.resampling import Judged, draws, group_units, judge, ratio_interval
from poselens.fusion.scores import present
from poselens.types import Scores

UNKNOWN = "unknown"
"""What is said instead of a class."""

BLOCKS = 2000
"""Of more clips than this, neighbours in confidence are drawn together for the area's interval."""

KEPT = 0.95
"""Share of known clips that is answered where false positives are counted (FPR95)."""


@dataclass(frozen=True)
class Threshold:
    """Below which confidence no class is named.

    Attributes:
        value: Least highest probability, in [0, 1], at which a class is named.
        rate: Share of clips of known classes that may be called unknown.
        n: Clips it was chosen on.
    """

    value: float
    rate: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return {"threshold": self.value, "rate": self.rate, "n": self.n}


@dataclass(frozen=True)
class OutsideEvaluation:
    """How clips of classes that the model does not know are told from the others.

    Attributes:
        n: Clips of other classes.
        detected: Share of them called unknown.
        detected_interval: Its bootstrap interval over clips.
        auroc: Area under the ROC curve of the confidence: the chance that a known clip is more
            confident than one from outside.
        fpr95: Share of the clips from outside that are as confident as the 95 % most confident
            known clips.
    """

    n: int
    detected: float
    detected_interval: Interval
    auroc: float
    fpr95: float


@dataclass(frozen=True)
class UnknownEvaluation:
    """What a threshold does to clips of known classes.

    Attributes:
        threshold: The threshold.
        n: Clips of known classes.
        false_alarms: Share of them called unknown.
        false_alarms_interval: Its bootstrap interval.
        accuracy: Share of the clips with a named class whose class is right; None where none has.
        accuracy_interval: Its bootstrap interval.
        without: Accuracy if every clip is answered.
        caught: Share of the wrong answers that are called unknown; None without a wrong answer.
        caught_interval: Its bootstrap interval.
        outside: Clips of other classes, where some were given.
    """

    threshold: Threshold
    n: int
    false_alarms: float
    false_alarms_interval: Interval | None
    accuracy: float | None
    accuracy_interval: Interval | None
    without: float
    caught: float | None
    caught_interval: Interval | None
    outside: OutsideEvaluation | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        facts = {
            **self.threshold.as_dict(),
            "n_judged": self.n,
            "coverage": 1 - self.false_alarms,
            "false_alarms": self.false_alarms,
            "false_alarms_interval": ends(self.false_alarms_interval),
            "accuracy": self.accuracy,
            "accuracy_interval": ends(self.accuracy_interval),
            "accuracy_without": self.without,
            "caught": self.caught,
            "caught_interval": ends(self.caught_interval),
            "outside": None,
        }
        if self.outside is not None:
            facts["outside"] = {
                "n": self.outside.n,
                "detected": self.outside.detected,
                "detected_interval": ends(self.outside.detected_interval),
                "auroc": self.outside.auroc,
                "fpr95": self.outside.fpr95,
            }
        return facts


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """How often answers are wrong where only the most confident ones are given.

    Attributes:
        coverage: ``(n,)`` share of clips that are answered, ascending.
        risk: ``(n,)`` share of these answers that is wrong.
        aurc: Mean of ``risk``: the area under the curve.
        aurc_interval: Its bootstrap interval.
        aurc_best: The area if every wrong answer were less confident than every right one.
    """

    coverage: Float[np.ndarray, " n"]
    risk: Float[np.ndarray, " n"]
    aurc: float
    aurc_interval: Interval
    aurc_best: float

    def accuracy_at(self, coverage: float) -> float:
        """Return the accuracy of the most confident clips, at least this share of them."""
        place = min(int(np.searchsorted(self.coverage, coverage - 1e-12)), len(self.risk) - 1)
        return float(1 - self.risk[place])

    def as_dict(self, points: int = 20) -> dict[str, Any]:
        """Return the facts for ``--json``, with the curve at some coverages."""
        shares = [round(place / points, 6) for place in range(1, points + 1)]
        return {
            "aurc": self.aurc,
            "aurc_interval": ends(self.aurc_interval),
            "aurc_best": self.aurc_best,
            "curve": [{"coverage": c, "accuracy": self.accuracy_at(c)} for c in shares],
        }


def choose_threshold(scores: Scores, rate: float) -> Threshold:
    r"""Choose the threshold at which at most ``rate`` of known clips are called unknown.

    The confidence of a clip is its highest probability (Hendrycks and Gimpel, *A baseline for
    detecting misclassified and out-of-distribution examples*, ICLR 2017). Of the confidences
    :math:`c_{(1)} \leq \dots \leq c_{(n)}`, the threshold is :math:`c_{(j)}` with
    :math:`j = \lfloor r (n + 1) \rfloor`: a further clip of the same kind lies below it with
    probability :math:`r` at most.

    Args:
        scores: Scores of labelled clips that were not trained on; right and wrong answers count.
        rate: Share of known clips that may be called unknown, between 0 and 1.

    Raises:
        UsageError: ``EVAL-001`` without a labelled clip, ``EVAL-022`` for too few clips,
            ``EVAL-023`` for a rate out of range.
    """
    judged = judge(scores)
    require_enough(len(judged.labels), rate)
    place = math.floor(rate * (len(judged.labels) + 1) + 1e-9)
    value = np.partition(judged.confidence, place - 1)[place - 1]
    return Threshold(float(value), rate, len(judged.labels))


def require_enough(n: int, rate: float) -> None:
    """Refuse a rate that is none, or that so few clips cannot show; cheap, so ask before scoring.

    Raises:
        UsageError: ``EVAL-022``, ``EVAL-023`` as :func:`choose_threshold`.
    """
    require_rate(rate)
    if math.floor(rate * (n + 1) + 1e-9) < 1:
        raise UsageError(
            "EVAL-022",
            f"{n} clips cannot show a false-alarm rate of {rate:g}, expected {needed(rate)} or "
            "more",
            mend="ask for a higher rate, or give more validation clips",
        )


def require_rate(rate: float) -> None:
    """Refuse what is no rate between 0 and 1.

    Raises:
        UsageError: ``EVAL-023``.
    """
    if not 0 < rate < 1:
        raise UsageError("EVAL-023", f"found rate {rate:g}, expected a number between 0 and 1")


def needed(rate: float) -> int:
    """Return the fewest clips of which one more lies outside with probability ``rate``."""
    return math.ceil(1 / rate - 1 - 1e-9)


def evaluate_unknown(
    scores: Scores,
    threshold: Threshold,
    *,
    outside: Scores | None = None,
    groups: Sequence[str] | None = None,
    unit: str = "group",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> UnknownEvaluation:
    """Judge a threshold on labelled clips, and on clips of classes that the model does not know.

    Args:
        scores: Scores of clips of known classes, other than those it was chosen on.
        threshold: The threshold.
        outside: Scores of clips of other classes; their labels do not matter.
        groups: Group of each clip of ``scores``, as ``evaluate`` takes them.
        unit: What a group is called.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: As ``poselens.evaluation.metrics.evaluate``; ``EVAL-004`` when ``outside`` has
            no clip with scores.
    """
    judged = judge(scores)
    units = None if groups is None else group_units(judged, groups, scores)
    about: dict[str, Any] = {
        "unit": "clip" if units is None else unit, "resamples": resamples, "seed": seed,
    }  # fmt: skip
    unknown, right = judged.confidence < threshold.value, judged.right
    answered, every = ~unknown, np.ones(len(right))
    return UnknownEvaluation(
        threshold,
        len(right),
        float(unknown.mean()),
        ratio_interval(unknown, every, units, **about),
        _share(right & answered, answered),
        ratio_interval(right & answered, answered, units, **about),
        float(right.mean()),
        _share(~right & unknown, ~right),
        ratio_interval(~right & unknown, ~right, units, **about),
        None if outside is None else _outside(judged, outside, threshold, resamples, seed),
    )


def _outside(
    judged: Judged, outside: Scores, threshold: Threshold, resamples: int, seed: int
) -> OutsideEvaluation:
    confidence = confidences(outside)
    if len(confidence) == 0:
        raise UsageError("EVAL-004", "no clip of another class has scores")
    unknown = confidence < threshold.value
    interval = ratio_interval(unknown, np.ones(len(unknown)), resamples=resamples, seed=seed)
    assert interval is not None  # there is at least one clip
    known = np.concatenate([np.ones(len(judged.labels)), np.zeros(len(confidence))])
    auroc = roc_auc_score(known, np.concatenate([judged.confidence, confidence]))
    # the highest threshold that keeps 95 % of the known clips
    spare = math.floor((1 - KEPT) * len(judged.labels) + 1e-9)
    least = np.sort(judged.confidence)[spare]
    return OutsideEvaluation(
        len(confidence),
        float(unknown.mean()),
        interval,
        float(auroc),
        float((confidence >= least).mean()),
    )


def confidences(scores: Scores) -> Float[np.ndarray, " n"]:
    """Return the highest probability of every clip that has scores, whatever its label."""
    logits = scores.logits[present(scores)].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(1 / np.exp(logits).sum(axis=1))


def risk_coverage(
    scores: Scores,
    *,
    groups: Sequence[str] | None = None,
    unit: str = "group",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RiskCoverage:
    r"""Return the risk-coverage curve (Geifman and El-Yaniv, *Selective classification*, 2017).

    .. math::
        \mathrm{risk}_i = \frac{1}{i} \sum_{j \leq i} [\hat y_{(j)} \neq y_{(j)}], \qquad
        \mathrm{AURC} = \frac{1}{n} \sum_i \mathrm{risk}_i

    over the clips in descending confidence.

    Departure: clips of one confidence count as in the mean over their orders.

    Raises:
        UsageError: As ``poselens.evaluation.metrics.evaluate``.
    """
    judged = judge(scores)
    units = None if groups is None else group_units(judged, groups, scores)
    order = np.argsort(-judged.confidence, kind="stable")
    wrong = _levelled((~judged.right)[order].astype(float), judged.confidence[order])
    clips = np.arange(1, len(wrong) + 1)
    risk = wrong.cumsum() / clips
    best = np.sort(~judged.right).cumsum() / clips
    members = order if units is None else units[order]
    count = int(members.max()) + 1
    low, high = percentiles(_areas(wrong, members, resamples, seed), level, count)
    interval = Interval(low, high, level, "clip" if units is None else unit, count)
    return RiskCoverage(clips / len(clips), risk, float(risk.mean()), interval, float(best.mean()))


def _areas(
    wrong: Float[np.ndarray, " n"], members: Int[np.ndarray, " n"], resamples: int, seed: int
) -> Float[np.ndarray, " resamples"]:
    """Return the area of resamples, of many clips in blocks of neighbours in confidence."""
    n = len(wrong)
    blocks = min(n, BLOCKS)
    block = np.arange(n) * blocks // n
    shape = (int(members.max()) + 1, 2 * blocks)
    values = np.concatenate([np.ones(n), wrong])
    places = (np.tile(members, 2), np.concatenate([block, blocks + block]))
    table = csr_array((values, places), shape=shape)
    areas = []
    for counts in draws(shape[0], resamples, seed):
        clips, missed = (table.T @ counts).reshape(2, blocks, -1)
        risk = missed.cumsum(axis=0) / np.maximum(clips.cumsum(axis=0), 1)
        areas.append((clips * risk).sum(axis=0) / clips.sum(axis=0))
    return np.concatenate(areas)


def _levelled(
    wrong: Float[np.ndarray, " n"], confidence: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Spread the wrong clips evenly over neighbours of one confidence."""
    block = np.concatenate([[0], np.cumsum(np.diff(confidence) != 0)]).astype(int)
    mean: Float[np.ndarray, " n"] = (np.bincount(block, weights=wrong) / np.bincount(block))[block]
    return mean


def _share(part: Bool[np.ndarray, " n"], whole: Bool[np.ndarray, " n"]) -> float | None:
    total = int(whole.sum())
    return float(part.sum() / total) if total else None


def ends(interval: Interval | None) -> list[float] | None:
    """Return an interval for JSON."""
    return None if interval is None else [interval.low, interval.high]
