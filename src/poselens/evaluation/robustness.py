"""How much accuracy a model loses under disturbances, by kind and severity."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from poselens.evaluation.intervals import Difference, Interval, paired_difference
from poselens.evaluation.metrics import evaluate
from poselens.types import Scores

LOSS = 0.05
"""Share of the clips whose loss counts: five points of Top-1."""

Word = Literal["steady", "sensitive", "fragile", "chance"]


@dataclass(frozen=True)
class Point:
    """One stream, or the fusion, at one severity.

    Attributes:
        level: The severity.
        top1: Share of the judged clips that are right.
        interval: Its 95 % bootstrap interval.
        mean_class: Mean recall of the classes.
        mean_class_interval: Its interval.
        n: Clips judged.
        skipped: Clips that could not be read.
        change: Top-1 here minus undisturbed on the same clips; None for the undisturbed itself.
        mean_class_change: The same of the mean recall.
    """

    level: float
    top1: float
    interval: Interval
    mean_class: float
    mean_class_interval: Interval
    n: int
    skipped: int
    change: Difference | None = None
    mean_class_change: Difference | None = None


@dataclass(frozen=True)
class Curve:
    """A stream over the severities of one kind, the undisturbed point first."""

    stream: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Trial:
    """One kind of disturbance.

    Attributes:
        name: Key of the kind.
        title: For people.
        unit: What a severity counts; one that begins with ``%`` counts shares in [0, 1].
        phrase: A clause with ``{}`` in the place of the severity.
        curves: Of the streams that it reaches, and of the fusion last where there is one.
    """

    name: str
    title: str
    unit: str
    phrase: str
    curves: Sequence[Curve]

    def curve(self, stream: str) -> Curve | None:
        """Return the curve of a stream, or None where the kind does not reach it."""
        return next((curve for curve in self.curves if curve.stream == stream), None)


@dataclass(frozen=True)
class Verdict:
    """What a curve comes to.

    Attributes:
        word: ``steady``: no severity tried costs five points; ``fragile``: the mildest does;
            ``sensitive``: a harder one does; ``chance``: undisturbed it may be guessing, so that it
            has nothing to lose.
        sure: Whether the clips are many enough to say so: the paired interval excludes no loss at
            all (``sensitive``, ``fragile``), or excludes five points (``steady``).
        half_level: Severity at which five points are lost, between those tried; None if never.
        worst: The point with the greatest loss.
    """

    word: Word
    sure: bool
    half_level: float | None
    worst: Point


@dataclass(frozen=True)
class RobustnessCard:
    """Everything the card shows.

    Attributes:
        dataset: Name of the data set.
        protocol: Name of the split.
        part: Part of the split.
        clips: Clips that were looked at.
        of: Labelled clips of the part; more than ``clips`` where a subset was drawn.
        chance: Accuracy of guessing.
        undisturbed: Each stream, and the fusion last where there is one.
        without: The fusion without a stream: name and result.
        trials: One per kind.
        notes: What makes the numbers less than they seem.
        facts: Lines of the header.
        command: What was typed.
    """

    dataset: str
    protocol: str
    part: str
    clips: int
    of: int
    chance: float
    undisturbed: Sequence[tuple[str, Point]]
    without: Sequence[tuple[str, Point]]
    trials: Sequence[Trial]
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def streams(self) -> list[str]:
        """Names of the streams, and of the fusion last where there is one."""
        return [stream for stream, _ in self.undisturbed]

    @property
    def main(self) -> str:
        """The stream that the card is about: the fusion, or the only one."""
        return self.streams[-1]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "dataset": self.dataset,
            "protocol": self.protocol,
            "part": self.part,
            "clips": self.clips,
            "of": self.of,
            "subset": self.clips < self.of,
            "chance": self.chance,
            "loss_that_counts": LOSS,
            "undisturbed": {name: asdict(point) for name, point in self.undisturbed},
            "without": {name: asdict(point) for name, point in self.without},
            "kinds": {trial.name: _facts(trial, self.chance) for trial in self.trials},
            "notes": list(self.notes),
            "facts": dict(self.facts),
            "command": self.command,
        }


def _facts(trial: Trial, chance: float) -> dict[str, Any]:
    return {
        "title": trial.title,
        "unit": trial.unit,
        "phrase": trial.phrase,
        "streams": {
            curve.stream: {
                **{k: v for k, v in asdict(verdict(curve, chance)).items() if k != "worst"},
                "area": area(curve),
                "points": [asdict(point) for point in curve.points],
            }
            for curve in trial.curves
        },
    }


def judge(scores: Scores, *, level: float, skipped: int, undisturbed: Scores | None) -> Point:
    """Judge scores, and set them beside the undisturbed ones of the same clips.

    Args:
        scores: Under a disturbance, or the undisturbed ones themselves.
        level: The severity.
        skipped: Clips that could not be read.
        undisturbed: To compare with; None for the undisturbed themselves.

    Raises:
        UsageError: ``EVAL-001`` without a labelled clip.
    """
    found = evaluate(scores)
    change = mean_class = None
    if undisturbed is not None:
        change = paired_difference(scores, undisturbed)
        mean_class = paired_difference(scores, undisturbed, "mean_class")
    return Point(
        level,
        found.top1,
        found.top1_interval,
        found.mean_class,
        found.mean_class_interval,
        found.n,
        skipped,
        change,
        mean_class,
    )


def _change(point: Point) -> float:
    return 0.0 if point.change is None else point.change.value


def half_level(curve: Curve, loss: float = LOSS) -> float | None:
    """Return the first severity at which Top-1 is ``loss`` lower, to two digits, or None if never.

    Between two severities the loss is taken to grow in a straight line.
    """
    for mild, hard in pairwise(curve.points):
        before, after = -_change(mild), -_change(hard)
        if after >= loss:
            share = (loss - before) / (after - before)
            return float(f"{mild.level + share * (hard.level - mild.level):.2g}")
    return None


def area(curve: Curve) -> float | None:
    """Return the mean Top-1 from rest to the hardest severity, by trapezoids; None for one point.

    A disturbance that costs nothing has the undisturbed Top-1.
    """
    points = curve.points
    span = points[-1].level - points[0].level
    if span <= 0:
        return None
    pairs = pairwise(points)
    return sum((b.level - a.level) * (a.top1 + b.top1) / 2 for a, b in pairs) / span


def verdict(curve: Curve, chance: float) -> Verdict:
    """Say in a word what a curve comes to, where guessing is right in ``chance`` of the clips."""
    tried = curve.points[1:]
    worst = min(curve.points, key=_change)
    if curve.points[0].interval.low <= chance:
        return Verdict("chance", True, None, worst)
    deciding = next((point for point in tried if -_change(point) >= LOSS), None)
    if deciding is None:
        lows = [point.change.interval.low for point in tried if point.change]
        return Verdict("steady", all(low > -LOSS for low in lows), None, worst)
    word: Word = "fragile" if deciding is tried[0] else "sensitive"
    sure = deciding.change is not None and deciding.change.interval.high < 0
    return Verdict(word, sure, half_level(curve), worst)


def level_text(trial: Trial, level: float) -> str:
    """Write a severity as people say it: ``20 %``, ``2.5``."""
    return f"{100 * level:.4g} %" if trial.unit.startswith("%") else f"{level:.4g}"


def with_unit(trial: Trial, level: float) -> str:
    """Write a severity with what it counts, where that is not a share: ``2.5 stops``."""
    unit = "" if trial.unit.startswith("%") else f" {trial.unit.partition(' (')[0]}"
    return level_text(trial, level) + unit


def sentences(card: RobustnessCard) -> list[str]:
    """Return the outcome in plain sentences: undisturbed, where it breaks, where it holds."""
    whole = dict(card.undisturbed)[card.main]
    told = [
        f"Undisturbed, {card.main} is right in {100 * whole.top1:.1f} % of {whole.n} clips "
        f"({100 * whole.interval.low:.1f} to {100 * whole.interval.high:.1f}); "
        f"guessing is right in {100 * card.chance:.1f} %."
    ]
    if whole.interval.low <= card.chance:
        return [*told, "It may be guessing, so it has nothing to lose."]
    breaks, steady = [], []
    for trial in card.trials:
        curve = trial.curve(card.main)
        if curve is None or len(curve.points) < 2:
            continue
        found = verdict(curve, card.chance)
        unsure = "" if found.sure else ", not sure"
        if found.half_level is None:
            highest = with_unit(trial, curve.points[-1].level)
            steady.append(f"{trial.title.lower()} (tried up to {highest}{unsure})")
        else:
            phrase = trial.phrase.format(level_text(trial, found.half_level))
            breaks.append(f"when {phrase}{unsure}")
    if breaks:
        told.append(f"It loses 5 points {'; '.join(breaks)}.")
    if steady:
        told.append(f"It does not lose 5 points by: {'; '.join(steady)}.")
    for stream, point in card.without:
        told.append(
            f"Without {stream} it is right in {100 * point.top1:.1f} %: "
            f"{_signed(point.change)} points."
        )
    return told


def _signed(change: Difference | None) -> str:
    if change is None:
        return "0.0"
    low, high = 100 * change.interval.low, 100 * change.interval.high
    return f"{100 * change.value:+.1f} ({low:+.1f} to {high:+.1f})".replace("-", "−")
