"""Every figure of an evaluation, and the same figures of resampled clips or groups, in one pass.

A figure needs of a set of clips no more than sums: of clips right by class, of log-likelihoods, of
confidences by bin. So each unit that is drawn, a clip or a whole group, is a row of such sums, and
a resample is a row of counts times that table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.sparse import csr_array

from poselens.errors import UsageError
from poselens.evaluation.intervals import (
    RESAMPLES,
    Interval,
    around_share,
    certain,
    judged_rows,
    percentiles,
    unfit_groups,
)
from poselens.types import Scores

Figure = Literal["top1", "top5", "mean_class", "macro_f1", "nll", "brier", "ece"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
SHARES: tuple[Figure, ...] = ("top1", "top5", "mean_class", "macro_f1")
"""Figures that are shares of clips or means of such; more is better."""

CALIBRATION_BINS = 15
CHUNK_CELLS = 4_000_000
"""Largest table of draws that is held at a time, in counts."""
_ROWS = 8192
_SUMS = 4

Drawn = Mapping[Figure, Float[np.ndarray, " resamples"]]


@dataclass(frozen=True, eq=False)
class Judged:
    """What the figures need to know of each clip that can be judged.

    Attributes:
        rows: Where the clips lie in the scores.
        labels: ``(n,)`` class of each clip.
        predicted: ``(n,)`` class of the highest score.
        among_five: ``(n,)`` whether the label is among the five highest.
        nll: ``(n,)`` negative log-likelihood of the label, in nats.
        brier: ``(n,)`` squared distance of the probabilities from the label's, in [0, 2].
        confidence: ``(n,)`` highest probability.
        classes: Number of classes.
    """

    rows: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    among_five: Bool[np.ndarray, " n"]
    nll: Float[np.ndarray, " n"]
    brier: Float[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    classes: int

    @property
    def right(self) -> Bool[np.ndarray, " n"]:
        """Which clips have the right class."""
        return np.asarray(self.predicted == self.labels)


def judge(scores: Scores) -> Judged:
    r"""Return what is needed of every clip with a label and scores, in the order of the scores.

    With :math:`p = \mathrm{softmax}(z)` the Brier score of a clip is
    :math:`\sum_k (p_k - [k = y])^2 = \sum_k p_k^2 - 2 p_y + 1`.

    Raises:
        UsageError: ``EVAL-001`` without a labelled clip, ``EVAL-003`` for a label outside the
            classes.
        InputError: ``FUS-004`` for logits that are neither finite nor wholly NaN.
    """
    rows = judged_rows(scores)
    labels = np.asarray(scores.labels)[rows]
    n, k = len(rows), len(scores.classes)
    predicted = np.empty(n, np.int64)
    among = np.empty(n, np.bool_)
    nll, brier, confidence = np.empty((3, n))
    # all at once would hold several copies of the logits in double precision
    for start in range(0, n, _ROWS):
        part = slice(start, min(start + _ROWS, n))
        logits = np.asarray(scores.logits[rows[part]], dtype=np.float64)
        label = labels[part]
        predicted[part] = logits.argmax(axis=1)
        among[part] = among_best(logits, label, 5)
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[np.arange(len(label)), label]
        powers = np.exp(logits)
        total = powers.sum(axis=1)
        nll[part] = np.log(total) - own
        squares = np.einsum("nk,nk->n", powers, powers) / total**2
        brier[part] = squares - 2 * np.exp(own) / total + 1
        confidence[part] = 1 / total
    return Judged(rows, labels, predicted, among, nll, np.maximum(brier, 0), confidence, k)


def among_best(
    logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], best: int
) -> Bool[np.ndarray, " n"]:
    """Return whether each label is among the ``best`` highest scores.

    Of equal scores the later class counts as higher, as in scikit-learn.
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    above = (logits > own).sum(axis=1)
    tied = logits == own
    tied &= np.arange(logits.shape[1]) > labels[:, None]
    found: Bool[np.ndarray, " n"] = above + tied.sum(axis=1) < best
    return found


def figures(judged: Judged) -> dict[Figure, float]:
    """Return the figures of the clips as they are."""
    whole = np.zeros(len(judged.labels), np.int64)
    return {name: float(value[0]) for name, value in _figures(_sums(judged, whole), judged).items()}


def resampled(
    judged: Judged,
    units: Int[np.ndarray, " n"] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Figure, Float[np.ndarray, " resamples"]]:
    """Return the figures of resamples of the clips, or of whole groups of them.

    Two streams judged on the same clips, with the same units and seed, see the same resamples: the
    difference of what comes back is paired.

    Args:
        judged: The clips.
        units: Number of the group of each clip, from 0; None draws clips.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """
    table = _sums(judged, np.arange(len(judged.labels)) if units is None else units)
    drawn = [
        _figures((table.T @ counts).T, judged) for counts in draws(table.shape[0], resamples, seed)
    ]
    return {name: np.concatenate([each[name] for each in drawn]) for name in FIGURES}


def draws(units: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "units some"]]:
    """Yield how often each unit is drawn in each resample, a chunk of resamples at a time."""
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK_CELLS // units)
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        counts = np.empty((count, units))
        for row in counts:
            row[:] = np.bincount(generator.integers(0, units, units), minlength=units)
        yield np.ascontiguousarray(counts.T)


def _sums(judged: Judged, units: Int[np.ndarray, " n"]) -> csr_array:
    """Return the table of sums: clips, Top-5, NLL, Brier, then classes three times, then bins."""
    n, k = len(judged.labels), judged.classes
    bins = np.ceil(judged.confidence * CALIBRATION_BINS).astype(int) - 1
    bins = np.clip(bins, 0, CALIBRATION_BINS - 1)
    ones, right = np.ones(n), judged.right.astype(float)
    columns = [
        *(np.full(n, place) for place in range(_SUMS)),
        _SUMS + judged.labels,
        _SUMS + k + judged.predicted,
        _SUMS + 2 * k + judged.labels,
        _SUMS + 3 * k + bins,
    ]
    values = [ones, judged.among_five, judged.nll, judged.brier, ones, ones, right,
              right - judged.confidence]  # fmt: skip
    shape = (int(units.max()) + 1, _SUMS + 3 * k + CALIBRATION_BINS)
    placed = (np.tile(units, len(columns)), np.concatenate(columns))
    return csr_array((np.concatenate(values), placed), shape=shape)


def _figures(
    sums: csr_array | Float[np.ndarray, "resamples columns"], judged: Judged
) -> dict[Figure, Float[np.ndarray, " resamples"]]:
    table = sums.toarray() if isinstance(sums, csr_array) else sums
    k = judged.classes
    clips, five, nll, brier = table[:, :_SUMS].T
    support, called, right = np.moveaxis(table[:, _SUMS : _SUMS + 3 * k].reshape(-1, 3, k), 1, 0)
    occurs, named = support > 0, support + called > 0
    recall = np.divide(right, support, out=np.zeros_like(right), where=occurs)
    f1 = np.divide(2 * right, support + called, out=np.zeros_like(right), where=named)
    return {
        "top1": right.sum(axis=1) / clips,
        "top5": five / clips,
        # a class that no drawn clip belongs to has no recall and is left out of that mean
        "mean_class": recall.sum(axis=1) / occurs.sum(axis=1),
        "macro_f1": f1.sum(axis=1) / named.sum(axis=1),
        "nll": nll / clips,
        "brier": brier / clips,
        "ece": np.abs(table[:, -CALIBRATION_BINS:]).sum(axis=1) / clips,
    }


def group_units(judged: Judged, groups: Sequence[str], scores: Scores) -> Int[np.ndarray, " n"]:
    """Return the number of the group of each judged clip; a clip without one stands alone.

    Raises:
        UsageError: ``EVAL-002`` when there is not one group per clip, ``EVAL-020`` when there is
            one group only, so that nothing would vary.
    """
    if len(groups) != len(scores.ids):
        raise unfit_groups(groups, scores)
    named = [
        (str(groups[row]), "") if groups[row] else ("", str(row)) for row in judged.rows.tolist()
    ]
    numbers = {name: number for number, name in enumerate(sorted(set(named)))}
    if len(numbers) < 2 and len(named) > 1:
        raise UsageError(
            "EVAL-020",
            f"all {len(named)} clips are of one group, expected 2 or more: nothing would vary",
            mend="draw clips, or groups of another kind",
        )
    return np.array([numbers[name] for name in named])


def intervals(
    judged: Judged,
    units: Int[np.ndarray, " n"] | None = None,
    *,
    unit: str = "clip",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Figure, Interval]:
    r"""Return the bootstrap interval of every figure.

    Shares have the interval of :func:`poselens.evaluation.intervals.around_share`, NLL, Brier score
    and calibration error percentiles, widened for few units
    (:func:`poselens.evaluation.intervals.percentiles`).

    Departure: a calibration error is an absolute value: that of few clips is too large, and that of
    a resample larger again, so percentiles alone covered 7 to 95 % in trials. Its interval is the
    hull of the percentile and the basic one, :math:`[2e - q_{hi}, 2e - q_{lo}]` (Davison and
    Hinkley, 1997, 5.2), which covered 87 to 100 %. Where every clip is right, or every clip wrong,
    the exact binomial bound over the units takes the place of the bootstrap. Five classes or fewer
    have a Top-5 of 1, and nothing to doubt.

    Args:
        judged: The clips.
        units: Number of the group of each clip; None draws clips.
        unit: What a unit is called.
        level: Coverage aimed at.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """
    count = len(judged.labels) if units is None else int(units.max()) + 1
    drawn = resampled(judged, units, resamples=resamples, seed=seed)
    values = figures(judged)
    found: dict[Figure, Interval] = {}
    for name in FIGURES:
        hits = judged.among_five if name == "top5" else judged.right
        if name == "top5" and judged.classes <= 5:
            low = high = 1.0
        elif name in SHARES and (hits.all() or not hits.any()):
            low, high = certain(bool(hits.all()), count, level)
        elif name in SHARES:
            low, high = around_share(values[name], drawn[name], level, count)
        else:
            low, high = percentiles(drawn[name], level, count)
        if name == "ece":
            low, high = np.clip(hull(values[name], low, high), 0.0, 1.0).tolist()
        found[name] = Interval(low, high, level, unit, count)
    return found


def hull(value: float, low: float, high: float) -> tuple[float, float]:
    """Return the hull of a percentile interval and the basic one, which mirrors it at the value."""
    return min(low, 2 * value - high), max(high, 2 * value - low)


def ratio_interval(
    part: Num[np.ndarray, " n"],
    whole: Num[np.ndarray, " n"],
    units: Int[np.ndarray, " n"] | None = None,
    *,
    unit: str = "clip",
    share: bool = True,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Return the bootstrap interval of ``part.sum() / whole.sum()``, None where ``whole`` is 0.

    Resamples without anything in ``whole`` are left out.

    Args:
        part: What is counted, or added, of each clip.
        whole: Of how much.
        units: Number of the group of each clip; None draws clips.
        unit: What a unit is called.
        share: Whether the ratio is a share: the exact binomial bound over the units that have
            something in ``whole`` then takes the place of an interval without width at 0 or 1.
        level: Coverage aimed at.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """
    members = np.arange(len(part)) if units is None else units
    sums = np.stack([np.bincount(members, weights=each) for each in (part, whole)])
    top, bottom = sums.sum(axis=1)
    if bottom == 0:
        return None
    count = int((sums[1] > 0).sum())
    # units with the same sums are one kind: how many of each are drawn says it all
    kinds, often = np.unique(sums, axis=1, return_counts=True)
    if share and top in (0, bottom):
        return Interval(*certain(top > 0, count, level), level, unit, count)
    generator = np.random.default_rng(seed)
    drawn = kinds @ generator.multinomial(sums.shape[1], often / often.sum(), size=resamples).T
    some = drawn[1] > 0
    ratios = drawn[0][some] / drawn[1][some]
    if share:
        low, high = around_share(top / bottom, ratios, level, count)
    else:
        low, high = percentiles(ratios, level, count)
    return Interval(low, high, level, unit, count)
