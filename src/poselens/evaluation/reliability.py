"""Whether a stated confidence can be trusted: how often clips of a confidence are right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import log_softmax
from scipy.stats import binomtest

from poselens.errors import UsageError
from poselens.evaluation.intervals import judged_rows
from poselens.evaluation.resampling import CALIBRATION_BINS
from poselens.types import Scores


@dataclass(frozen=True)
class ReliabilityBin:
    """Clips whose confidence lies in ``(low, high]``.

    Attributes:
        low: Lower edge of the confidence.
        high: Upper edge.
        clips: Clips in it, at least one.
        confidence: Their mean confidence.
        accuracy: Share of them that is right.
        interval: 95 % Wilson interval of ``accuracy``.
    """

    low: float
    high: float
    clips: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Reliability:
    """The reliability curve of one stream.

    Attributes:
        stream: Name of the stream.
        bins: Bins that hold a clip, by rising confidence.
        ece: Expected calibration error over these bins.
        n: Clips judged.
        adaptive: Whether bins hold equally many clips, rather than being equally wide.
        temperature: What the logits were divided by.
    """

    stream: str
    bins: Sequence[ReliabilityBin]
    ece: float
    n: int
    adaptive: bool = False
    temperature: float = 1.0


@dataclass(frozen=True)
class Calibration:
    """A stream as it is, and after its temperature where it has one.

    Attributes:
        before: At temperature 1.
        after: At the temperature of the fusion; None where that is 1 too.
    """

    before: Reliability
    after: Reliability | None = None


def reliability(
    scores: Scores,
    *,
    bins: int = CALIBRATION_BINS,
    adaptive: bool = False,
    temperature: float = 1.0,
    level: float = 0.95,
) -> Reliability:
    r"""Return how often clips are right, by the confidence they were given (Guo et al., 2017).

    .. math::
        \mathrm{ECE} = \sum_b \frac{n_b}{n} \, |\mathrm{acc}(b) - \mathrm{conf}(b)|

    Args:
        scores: Scores of one stream; clips without label or scores are left out.
        bins: Number of bins.
        adaptive: Put the edges at quantiles of the confidence, so that bins are equally full
            (Nixon et al., 2019); else they are equally wide.
        temperature: What logits are divided by.
        level: Coverage of the Wilson intervals.

    Raises:
        UsageError: ``EVAL-080`` for fewer than one bin or a temperature that is not above 0,
            ``EVAL-001`` without a labelled clip, ``EVAL-003`` for a label outside the classes.
        InputError: ``FUS-004`` for logits that are neither finite nor wholly NaN.
    """
    if bins < 1 or not 0 < temperature < np.inf:
        raise UsageError(
            "EVAL-080",
            f"found {bins} bins at temperature {temperature}, expected at least 1 bin and a "
            "temperature above 0",
            mend=f"use {CALIBRATION_BINS} bins and the temperature that was fitted",
        )
    rows = judged_rows(scores)
    logits = np.asarray(scores.logits, dtype=np.float64)[rows] / temperature
    confidence = np.exp(log_softmax(logits, axis=1).max(axis=1)).clip(0.0, 1.0)
    correct = logits.argmax(axis=1) == np.asarray(scores.labels)[rows]
    even = np.linspace(0.0, 1.0, bins + 1)
    edges = np.percentile(confidence, 100 * even) if adaptive else even
    found = _binned(confidence, correct, edges, level)
    gaps = [entry.clips * abs(entry.accuracy - entry.confidence) for entry in found]
    return Reliability(
        scores.stream, found, float(sum(gaps) / len(rows)), len(rows), adaptive, temperature
    )


def _binned(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    edges: Float[np.ndarray, " edges"],
    level: float,
) -> list[ReliabilityBin]:
    cell = np.searchsorted(edges[1:-1], confidence)
    bins = []
    for index in np.unique(cell).tolist():
        inside = cell == index
        clips, right = int(inside.sum()), int(correct[inside].sum())
        wilson = binomtest(right, clips).proportion_ci(level, method="wilson")
        bins.append(
            ReliabilityBin(
                float(edges[index]),
                float(edges[index + 1]),
                clips,
                float(confidence[inside].mean()),
                right / clips,
                (float(wilson.low), float(wilson.high)),
            )
        )
    return bins
