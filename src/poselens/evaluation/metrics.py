"""Judge scores against labels: accuracies, per-class figures, confusion, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from poselens.evaluation.intervals import RESAMPLES, Interval
from poselens.evaluation.resampling import (
    CALIBRATION_BINS,
    Figure,
    among_best,
    figures,
    group_units,
    intervals,
    judge,
)
from poselens.types import Scores


@dataclass(frozen=True)
class ClassMetrics:
    """One class among the judged clips; shares in [0, 1], 0 where undefined."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well one stream, or the fusion, does on a list of clips.

    Attributes:
        stream: Name of the stream.
        classes: Class names.
        n: Clips judged.
        unlabelled: Clips left out because their label is unknown.
        unscored: Labelled clips left out because the stream has no scores for them.
        top1: Share of clips whose best class is right.
        top5: Share of clips whose label is among the five best; 1 with five classes or fewer.
        mean_class: Mean recall over the classes that occur.
        macro_f1: Mean F1 over the classes that occur among labels or predictions.
        nll: Mean negative log-likelihood in nats.
        brier: Mean Brier score, summed over the classes: 0 is best, 2 worst.
        ece: Expected calibration error over 15 equal bins of confidence.
        intervals: 95 % bootstrap interval of each of these figures, by its name.
        per_class: One entry per class.
        confusion: ``(k, k)`` clip counts, rows are labels, columns predictions.
        selection: How the weights were chosen, in the caller's words.
        data_fingerprint: Fingerprint of the data set folder.
    """

    stream: str
    classes: Sequence[str]
    n: int
    unlabelled: int
    unscored: int
    top1: float
    top5: float
    mean_class: float
    macro_f1: float
    nll: float
    brier: float
    ece: float
    intervals: Mapping[Figure, Interval]
    per_class: Sequence[ClassMetrics]
    confusion: Int[np.ndarray, "k k"]
    selection: str | None = None
    data_fingerprint: str | None = None

    @property
    def top1_interval(self) -> Interval:
        """Interval of ``top1``."""
        return self.intervals["top1"]

    @property
    def mean_class_interval(self) -> Interval:
        """Interval of ``mean_class``."""
        return self.intervals["mean_class"]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``; ``interval`` is that of ``top1``, [low, high]."""
        return {
            "stream": self.stream,
            "top1": self.top1,
            "mean_class": self.mean_class,
            "n": self.n,
            "interval": [self.top1_interval.low, self.top1_interval.high],
            "mean_class_interval": [self.mean_class_interval.low, self.mean_class_interval.high],
            "interval_level": self.top1_interval.level,
            "interval_unit": self.top1_interval.unit,
            "interval_units": self.top1_interval.units,
            "intervals": {name: [each.low, each.high] for name, each in self.intervals.items()},
            "selection": self.selection,
            "data_fingerprint": self.data_fingerprint,
            "top5": self.top5,
            "macro_f1": self.macro_f1,
            "nll": self.nll,
            "brier": self.brier,
            "ece": self.ece,
            "unlabelled": self.unlabelled,
            "unscored": self.unscored,
            "classes": list(self.classes),
            "per_class": [
                {
                    "class": entry.name,
                    "precision": entry.precision,
                    "recall": entry.recall,
                    "f1": entry.f1,
                    "support": entry.support,
                }
                for entry in self.per_class
            ],
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    scores: Scores,
    *,
    groups: Sequence[str] | None = None,
    unit: str = "group",
    selection: str | None = None,
    data_fingerprint: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Judge scores against their labels.

    Args:
        scores: Scores of one stream; clips labelled -1 are left out and counted.
        groups: Group (subject, source video) of each clip, whole groups of which are drawn for the
            intervals: honest when clips of one group resemble each other. A clip whose group is
            empty stands alone.
        unit: What a group is called.
        selection: How the weights were chosen; passed on.
        data_fingerprint: Fingerprint of the data; passed on.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: ``EVAL-001`` without a labelled clip, ``EVAL-002`` when ``groups`` does not
            fit, ``EVAL-003`` for a label outside the classes, ``EVAL-020`` for a single group.
        InputError: ``FUS-004`` for logits that are neither finite nor wholly NaN.
    """
    judged = judge(scores)
    units = None if groups is None else group_units(judged, groups, scores)
    unlabelled = int((np.asarray(scores.labels) < 0).sum())
    found = figures(judged)
    return Evaluation(
        stream=scores.stream,
        classes=list(scores.classes),
        n=len(judged.rows),
        unlabelled=unlabelled,
        unscored=len(scores.ids) - unlabelled - len(judged.rows),
        **found,
        intervals=intervals(
            judged,
            units,
            unit="clip" if units is None else unit,
            resamples=resamples,
            seed=seed,
        ),
        per_class=_per_class(judged.labels, judged.predicted, scores.classes),
        confusion=confusion_matrix(
            judged.labels, judged.predicted, labels=range(len(scores.classes))
        ),
        selection=selection,
        data_fingerprint=data_fingerprint,
    )


def _per_class(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], classes: Sequence[str]
) -> list[ClassMetrics]:
    columns = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), zero_division=0
    )
    return [
        ClassMetrics(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(classes, *columns, strict=True)
    ]


def top_accuracy(
    logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], best: int
) -> float:
    """Return the share of clips whose label is among the ``best`` highest scores."""
    return float(among_best(logits, labels, best).mean())


def negative_log_likelihood(
    logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> float:
    """Return the mean of -log p(label), in nats."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def calibration_error(
    logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], bins: int = CALIBRATION_BINS
) -> float:
    r"""Return the expected calibration error (Guo et al., 2017, Eq. 3).

    .. math::
        \mathrm{ECE} = \sum_b \frac{n_b}{n} \, |\mathrm{acc}(b) - \mathrm{conf}(b)|

    over equal bins ``(i / bins, (i + 1) / bins]`` of the confidence.
    """
    confidence = np.exp(log_softmax(logits, axis=1).max(axis=1))
    correct = logits.argmax(axis=1) == labels
    cell = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(cell, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))
