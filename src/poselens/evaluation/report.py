"""One self-contained HTML file that says what was run, on what, and how well it went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup

from poselens.checkpoint import write_bytes
from poselens.evaluation.contrast_figure import contrast_figure
from poselens.evaluation.contrasted import ContrastHistory, Rival, rivals
from poselens.evaluation.figures import (
    ACCENT,
    confusion_figure,
    css_colour,
    curves_figure,
    recall_figure,
    stream_colour,
)
from poselens.evaluation.intervals import Difference, Interval
from poselens.evaluation.metrics import Evaluation
from poselens.evaluation.page import (
    THIN_SPACE,
    count_text,
    page_environment,
    page_style,
    percent,
)
from poselens.fusion.weights import FusionWeights


@dataclass(frozen=True, eq=False)
class FrameStrip:
    """Frames of one clip side by side.

    Attributes:
        pixels: ``(h, w, 3)`` RGB.
        caption: What the clip is and what was said about it.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    caption: str


@dataclass(frozen=True, eq=False)
class ConfusedPair:
    """A class taken for another, with pictures.

    Attributes:
        label: The true class.
        predicted: The class it was taken for.
        count: Clips of ``label`` called ``predicted`` by the fusion.
        strips: Clips to look at.
    """

    label: str
    predicted: str
    count: int
    strips: Sequence[FrameStrip] = ()


@dataclass(frozen=True, eq=False)
class StreamResult:
    """One row of the results table.

    Attributes:
        evaluation: Figures on the evaluated split, with the selection rule.
        views: Views (segments times crops) averaged for each clip; none for the fusion.
        selected_epoch: Epoch whose weights are used.
        last_epoch: Last epoch trained.
        last_top1: Top-1 of the last epoch on the same split.
        history: Rows of the training log: ``epoch``, ``split``, ``loss``, ``top1``, ``lr``.
    """

    evaluation: Evaluation
    views: int | None = None
    selected_epoch: int | None = None
    last_epoch: int | None = None
    last_top1: float | None = None
    history: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class CostRow:
    """What one stream costs for one clip.

    Attributes:
        stream: Name of the stream.
        gmacs: Multiply-adds of one view, in 10^9.
        params: Parameters.
        milliseconds: Median time of one clip on the hardware named, where measured.
    """

    stream: str
    gmacs: float
    params: int
    milliseconds: float | None = None


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything the report shows.

    Attributes:
        dataset: Name of the data set.
        protocol: Name of the protocol.
        split: Part that was evaluated, such as ``test``.
        fingerprint: Fingerprint of the data set folder.
        code_version: Version of poselens, with the commit where known.
        hardware: Where it ran.
        date: Day of the run.
        streams: One result per stream.
        fused: Result of the fusion; left out with a single stream.
        fusion: Weights and temperatures.
        gain: Fused against the best single stream, on the same clips.
        pairs: Most confused pairs (:func:`most_confused` names them).
        contrasted: What each stream that was trained with contrast was contrasted with.
        costs: One row per stream.
        notes: Clips skipped and other things a reader must know.
        commands: The commands that made these numbers.
    """

    dataset: str
    protocol: str
    split: str
    fingerprint: str
    code_version: str
    hardware: str
    date: str
    streams: Sequence[StreamResult]
    fused: StreamResult | None = None
    fusion: FusionWeights | None = None
    gain: Difference | None = None
    pairs: Sequence[ConfusedPair] = ()
    contrasted: Sequence[ContrastHistory] = ()
    costs: Sequence[CostRow] = ()
    notes: Sequence[str] = ()
    commands: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """Further lines of the header, such as seeds."""


def most_confused(evaluation: Evaluation, top: int = 6) -> list[tuple[str, str, int]]:
    """Return the pairs (true class, predicted class, clips) with most confusions, worst first."""
    wrong = evaluation.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:top]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        (evaluation.classes[row], evaluation.classes[column], int(wrong[row, column]))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[row, column]
    ]


def write_report(path: Path, report: ReportData) -> None:
    """Write the report as one HTML file, atomically.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when the file cannot be written.
    """
    write_bytes(path, render_report(report).encode())


def render_report(report: ReportData) -> str:
    """Return the report as HTML: styles, figures and pictures inside, nothing fetched."""
    environment = page_environment()
    environment.filters.update(signed=signed, points=_points)
    best = report.fused or report.streams[0]
    colours = {
        result.evaluation.stream: css_colour(stream_colour(position))
        for position, result in enumerate(report.streams)
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        best=best.evaluation,
        results=[*report.streams, *([report.fused] if report.fused else [])],
        colours={**colours, "fused": css_colour(ACCENT)},
        style=page_style(),
        summary=summary(report),
        scale=_scale(report),
        confusion=Markup(confusion_figure(best.evaluation)),
        recall=Markup(
            recall_figure(
                best.evaluation,
                [result.evaluation for result in report.streams] if report.fused else [],
                ACCENT if report.fused else stream_colour(0),
            )
        ),
        curves=_curves(report),
        taken_for=_taken_for(report),
        contrasts=_contrasts(report),
    )


def summary(report: ReportData) -> list[str]:
    """Return the outcome in two to four plain sentences."""
    best = (report.fused or report.streams[0]).evaluation
    who = "Fused, the streams name" if report.fused else f"The {best.stream} stream names"
    sentences = [
        f"{who} the action correctly in {percent(best.top1)} of {count_text(best.n)} "
        f"{report.split} clips ({_range(best.top1_interval)}). "
        f"A random guess among {len(best.classes)} classes would be right in "
        f"{percent(1 / len(best.classes))}."
    ]
    if report.fused and report.gain and report.streams:
        single = max(report.streams, key=lambda result: result.evaluation.top1).evaluation
        sentences.append(_gain_sentence(report.gain, single))
    seen = [entry for entry in best.per_class if entry.support]
    worst = min(seen, key=lambda entry: entry.recall)
    if worst.recall < 1:
        text = (
            f"The hardest class is {worst.name}, recognised in {percent(worst.recall)} of its "
            f"{count_text(worst.support)} clips."
        )
        label, taken, count = most_confused(best, 1)[0]
        text += f" The most frequent mistake is {label} taken for {taken}, {_times(count)}."
        sentences.append(text)
    return sentences


def _gain_sentence(gain: Difference, single: Evaluation) -> str:
    low, high = 100 * gain.interval.low, 100 * gain.interval.high
    if low <= 0 <= high:
        return (
            f"Against the best single stream, {single.stream}, the difference of "
            f"{signed(gain.value)} points is inside the noise "
            f"(95{THIN_SPACE}% interval {low:+.1f} to {high:+.1f})."
        ).replace("-", "−")
    side = "above" if gain.value > 0 else "below"
    return (
        f"That is {_points(gain.value)} points {side} the best single stream, {single.stream} "
        f"(95{THIN_SPACE}% interval {low:+.1f} to {high:+.1f}, same clips)."
    ).replace("-", "−")


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def signed(share: float) -> str:
    """Write a difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def _points(share: float) -> str:
    return f"{100 * abs(share):.1f}"


def _range(interval: Interval) -> str:
    return (
        f"{100 * interval.level:.0f}{THIN_SPACE}% interval "
        f"{100 * interval.low:.1f} to {percent(interval.high)}"
    )


def _scale(report: ReportData) -> dict[str, float]:
    """Return where the axis of the interval column starts and ends, in percent."""
    results = [*report.streams, *([report.fused] if report.fused else [])]
    lowest = min(result.evaluation.top1_interval.low for result in results)
    # an interval of one point at 100 % still needs an axis
    start = min(10.0 * int(10 * lowest), 90.0)
    return {"start": start, "width": 100.0 - start}


def _curves(report: ReportData) -> Markup | None:
    histories = {result.evaluation.stream: result.history for result in report.streams}
    if not any(histories.values()):
        return None
    selected = {result.evaluation.stream: result.selected_epoch for result in report.streams}
    return Markup(curves_figure(histories, selected))


def _taken_for(report: ReportData) -> list[list[tuple[str, int, int]]]:
    """Return, for each confused pair, how often each stream makes this mistake, of how many."""
    results = [*report.streams, *([report.fused] if report.fused else [])]
    table = []
    for pair in report.pairs:
        rows = []
        for result in results:
            judged = result.evaluation
            row = judged.confusion[list(judged.classes).index(pair.label)]
            count = int(row[list(judged.classes).index(pair.predicted)])
            rows.append((judged.stream, count, int(row.sum())))
        table.append(rows)
    return table


def _contrasts(
    report: ReportData,
) -> list[tuple[ContrastHistory, Markup, dict[str, list[Rival]]]]:
    """Return figure and table of what each stream was contrasted with."""
    return [
        (history, Markup(contrast_figure(history, f"contrast{place}")), rivals(history))
        for place, history in enumerate(report.contrasted)
    ]
