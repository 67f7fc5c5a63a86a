"""What fusion gains over single streams, and whether a stream is worth its cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from poselens.errors import UsageError
from poselens.evaluation.intervals import (
    RESAMPLES,
    Difference,
    Metric,
    judged_rows,
    paired_difference,
)
from poselens.types import Scores

Verdict = Literal["worth it", "inside the noise", "harms"]

Fuser = Callable[[Sequence[Scores]], Scores]
"""Fuses some of the streams."""


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test: whether two streams are right equally often on the same clips.

    Attributes:
        only_first: Clips that the first alone has right.
        only_second: Clips that the second alone has right.
        p: Two-sided p: how likely a split at least as uneven is where both are equally good.
    """

    only_first: int
    only_second: int
    p: float

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {"only_first": self.only_first, "only_second": self.only_second, "p": self.p}


@dataclass(frozen=True)
class PairedGain:
    """How much better the first scores are than the second.

    Attributes:
        first: Name of the first.
        second: Name of the second.
        metric: ``top1`` or ``mean_class``.
        difference: The gain, with its paired bootstrap interval.
        test: McNemar's test of Top-1.
    """

    first: str
    second: str
    metric: Metric
    difference: Difference
    test: McNemar

    @property
    def verdict(self) -> Verdict:
        """What the interval says: whether 0 lies inside it, below it or above it."""
        interval = self.difference.interval
        if interval.low > 0:
            return "worth it"
        return "harms" if interval.high < 0 else "inside the noise"

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json`` and a bundle."""
        interval = self.difference.interval
        return {
            "first": self.first,
            "second": self.second,
            "metric": self.metric,
            "gain": self.difference.value,
            "interval": [interval.low, interval.high],
            "interval_level": interval.level,
            "interval_unit": interval.unit,
            "n": self.difference.n,
            "mcnemar": self.test.as_dict(),
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class StreamCost:
    """What a stream asks for one clip; None where it is not known.

    Attributes:
        gmacs: 10^9 multiply-accumulates.
        params: Learned numbers.
        milliseconds: Time on the machine at hand.
    """

    gmacs: float | None = None
    params: int | None = None
    milliseconds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json`` and a bundle."""
        return {"gmacs": self.gmacs, "params": self.params, "milliseconds": self.milliseconds}

    def sentence(self) -> str:
        """Return what is known, in words; empty where nothing is."""
        known = [
            f"{self.gmacs:.2f} GMACs" if self.gmacs is not None else "",
            f"{self.params / 1e6:.2f} M parameters" if self.params is not None else "",
            f"{self.milliseconds:.1f} ms" if self.milliseconds is not None else "",
        ]
        return ", ".join(part for part in known if part)


@dataclass(frozen=True)
class StreamWorth:
    """What a stream adds to the others, and what it costs.

    Attributes:
        stream: Its name.
        gain: All streams against all but this one.
        cost: What it asks for.
    """

    stream: str
    gain: PairedGain
    cost: StreamCost

    def sentence(self) -> str:
        """Return the verdict in words."""
        interval = self.gain.difference.interval
        points = f"{100 * self.gain.difference.value:+.1f} points"
        span = f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
        asked = self.cost.sentence()
        asked = f" for {asked}" if asked else ""
        verdict = {
            "worth it": "it is worth having",
            "inside the noise": f"that is inside the noise of {self.gain.difference.n} clips",
            "harms": "it does harm",
        }[self.gain.verdict]
        return f"{self.stream} adds {points} {span} to the other streams{asked}: {verdict}"

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json`` and a bundle."""
        return {
            "stream": self.stream,
            "gain": self.gain.as_dict(),
            "cost": self.cost.as_dict(),
            "verdict": self.gain.verdict,
            "sentence": self.sentence(),
        }


@dataclass(frozen=True)
class FusionGain:
    """What fusing brought on one list of clips.

    Attributes:
        clips: What the clips are, in the caller's words.
        best: Name of the best single stream on these clips.
        against: Fusion against each stream.
        worth: What each stream adds to the others; empty with one stream.
    """

    clips: str
    best: str
    against: Mapping[str, PairedGain]
    worth: Sequence[StreamWorth]

    @property
    def over_best(self) -> PairedGain:
        """Fusion against the best single stream."""
        return self.against[self.best]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json`` and a bundle."""
        return {
            "clips": self.clips,
            "best": self.best,
            "over_best": self.over_best.as_dict(),
            "against": {name: gain.as_dict() for name, gain in self.against.items()},
            "worth": [entry.as_dict() for entry in self.worth],
        }


def mcnemar(only_first: int, only_second: int) -> McNemar:
    r"""Return McNemar's exact test of two counts of clips that one alone has right.

    .. math::
        p = \Pr(|B - m/2| \geq |b - m/2|), \qquad B \sim \mathrm{Bin}(m, 1/2), \; m = b + c

    Source: McNemar, 1947, *Note on the sampling error of the difference between correlated
    proportions or percentages*, with the binomial in place of its approximation.
    """
    differing = only_first + only_second
    p = float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(only_first, only_second, p)


def paired_gain(
    first: Scores,
    second: Scores,
    metric: Metric = "top1",
    *,
    groups: Mapping[str, str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedGain:
    """Return how much better one stream is than another on the clips both know.

    Args:
        first: Scores of one stream.
        second: Scores of the other; clips are matched by id.
        metric: Top-1 or mean-class accuracy.
        groups: Group of each clip (subject, source video) by id; whole groups are drawn then.
        level: Coverage aimed at.
        resamples: Number of resamples.
        seed: Seed of the draw.

    Departure: McNemar's test counts clips one by one, whatever the groups: with clips of one
    person alike, trust the interval over groups.

    Raises:
        UsageError: ``EVAL-001`` when no labelled clip is common to both, ``EVAL-002`` for a clip
            without a group, ``FUS-002`` when the classes differ.
        AnnotationError: ``FUS-003`` when the labels contradict each other.
    """
    members = None if groups is None else _members(first, groups)
    difference = paired_difference(
        first, second, metric, groups=members, level=level, resamples=resamples, seed=seed
    )
    test = mcnemar(difference.only_first, difference.only_second)
    return PairedGain(first.stream, second.stream, metric, difference, test)


def _members(scores: Scores, groups: Mapping[str, str]) -> list[str]:
    missing = [clip for clip in scores.ids if clip not in groups]
    if missing:
        raise UsageError(
            "EVAL-002",
            f"{len(missing)} of {len(scores.ids)} clips have no group, the first {missing[0]!r}",
            mend="give one group per clip",
        )
    return [groups[clip] for clip in scores.ids]


def fusion_gain(
    scores: Sequence[Scores],
    fuser: Fuser,
    *,
    clips: str,
    costs: Mapping[str, StreamCost] | None = None,
    groups: Mapping[str, str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> FusionGain:
    """Set a fusion against each of its streams, and against itself without each of them.

    Args:
        scores: One entry per stream, of labelled clips.
        fuser: Fuses some of the streams; where weights were fitted on these very clips, it has to
            fuse them out of fold, or the gain flatters the fusion.
        clips: What the clips are, such as ``validation``.
        costs: What each stream asks for, by name.
        groups: Group of each clip by id, or None for clips of their own.
        level: Coverage aimed at.
        resamples: Number of resamples.

    Departure: the best stream is the one with the highest Top-1 on these clips, which makes the
    gain over it, if anything, too small.

    Raises:
        UsageError: As :func:`paired_gain` and ``fuser``.
        AnnotationError: As :func:`paired_gain`.
    """
    options: dict[str, Any] = {"groups": groups, "level": level, "resamples": resamples}
    fused = fuser(scores)
    against = {each.stream: paired_gain(fused, each, **options) for each in scores}
    best = max(scores, key=_top1).stream
    known = costs or {}
    worth = []
    for left_out in scores if len(scores) > 1 else ():
        rest = [each for each in scores if each is not left_out]
        without = fuser(rest)
        renamed = Scores(
            without.logits, without.ids, without.labels, without.classes,
            f"without {left_out.stream}", without.views,
        )  # fmt: skip
        gain = paired_gain(fused, renamed, **options)
        worth.append(StreamWorth(left_out.stream, gain, known.get(left_out.stream, StreamCost())))
    return FusionGain(clips, best, against, worth)


def _top1(scores: Scores) -> float:
    rows = judged_rows(scores)
    right = scores.logits[rows].argmax(axis=1) == np.asarray(scores.labels)[rows]
    return float(right.mean())
