"""One self-contained HTML file that says what was run, on what, and how well it went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from poselens.checkpoint import write_bytes
from poselens.evaluation.confusion_figure import confusion_figure
from poselens.evaluation.contrast_figure import contrast_figure
from poselens.evaluation.contrasted import ContrastHistory, Rival, rivals
from poselens.evaluation.explorer import ClipCard, ConfusedPair, Opinions
from poselens.evaluation.explorer_page import (
    embedded,
    explorer_facts,
    page_policy,
    page_script,
    pair_anchors,
    pair_rows,
    taken_for,
)
from poselens.evaluation.figures import (
    ACCENT,
    css_colour,
    curves_figure,
    recall_figure,
    stream_colour,
)
from poselens.evaluation.intervals import Difference, Interval
from poselens.evaluation.label_errors import Suspects
from poselens.evaluation.metrics import Evaluation
from poselens.evaluation.ordering import similarity_order
from poselens.evaluation.page import (
    THIN_SPACE,
    count_text,
    page_environment,
    page_style,
    percent,
)
from poselens.evaluation.pictures import PICTURE_BUDGET, encode_within, in_order
from poselens.evaluation.reliability import Calibration
from poselens.evaluation.reliability_figure import reliability_figure
from poselens.evaluation.sections import Section
from poselens.fusion.weights import FusionWeights


@dataclass(frozen=True, eq=False)
class LabelReview:
    """Clips whose label somebody should look at.

    Attributes:
        found: What the search found.
        cards: The likeliest errors, with pictures.
        source: Whose scores were searched, and how honest that is, in a sentence.
        file: Name of the table beside the report that holds all of them.
    """

    found: Suspects
    cards: Sequence[ClipCard]
    source: str
    file: str | None = None


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
        opinions: What every stream says of every clip; makes all confusions clickable.
        calibrations: Reliability of each stream, and of the fusion last.
        worst: Clips of highest loss.
        review: Clips whose label is probably wrong.
        sections: Further parts, in this order.
        provenance: Data, code, environment and training in tables.
        picture_budget: Bytes that pictures may take.
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
    opinions: Opinions | None = None
    calibrations: Sequence[Calibration] = ()
    worst: Sequence[ClipCard] = ()
    review: LabelReview | None = None
    sections: Sequence[Section] = ()
    provenance: Sequence[Section] = ()
    picture_budget: int = PICTURE_BUDGET


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
    """Return the report as HTML: styles, figures, pictures and script inside, nothing fetched."""
    environment = page_environment()
    environment.filters.update(signed=signed, points=_points, svg=Markup)
    best = (report.fused or report.streams[0]).evaluation
    colours = {
        result.evaluation.stream: css_colour(stream_colour(position))
        for position, result in enumerate(report.streams)
    }
    results = [*report.streams, *([report.fused] if report.fused else [])]
    script, anchors = page_script(), pair_anchors(report.pairs, best.classes)
    single = [*(report.review.cards if report.review else ()), *report.worst]
    order = similarity_order(best.confusion)
    leads = {(each["label"], each["predicted"]): f"#{each['id']}" for each in anchors}
    return environment.get_template("report.html.j2").render(
        report=report,
        best=best,
        results=results,
        colours={**colours, "fused": css_colour(ACCENT)},
        style=page_style(),
        script=script,
        policy=page_policy(script),
        facts=embedded(explorer_facts(best, order, report.opinions)) if report.pairs else None,
        summary=summary(report),
        scale=_scale(report),
        contents=contents(report),
        confusion=Markup(confusion_figure(best, order=order, link=lambda *cell: leads.get(cell))),
        recall=Markup(
            recall_figure(
                best,
                [result.evaluation for result in report.streams] if report.fused else [],
                ACCENT if report.fused else stream_colour(0),
            )
        ),
        curves=_curves(report),
        reliability=Markup(reliability_figure(report.calibrations))
        if report.calibrations
        else None,
        pictures=encode_within(in_order(report.pairs, single), report.picture_budget),
        anchors=anchors,
        rows_of=[
            pair_rows(report.opinions, each["label"], each["predicted"])
            if report.opinions
            else None
            for each in anchors
        ],
        taken_for=taken_for(report.pairs, [result.evaluation for result in results]),
        contrasts=_contrasts(report),
    )


def contents(report: ReportData) -> list[tuple[str, str]]:
    """Return anchor and title of every part that the report has, in its order."""
    several = [
        (f"section-{place}", section.title) for place, section in enumerate(report.sections, 1)
    ]
    parts = [
        ("results", "Results", True),
        ("training", "Training", any(result.history for result in report.streams)),
        ("classes", "Hard classes", True),
        ("confusions", "Confusions", True),
        ("most-confused", "Confused pairs", report.pairs),
        ("confidence", "Confidence", report.calibrations),
        ("worst", "Worst clips", report.worst),
        ("labels", "Label errors", report.review),
        *((anchor, title, True) for anchor, title in several),
        ("contrast", "Contrast", report.contrasted),
        ("fusion", "Fusion", report.fusion),
        ("cost", "Cost", report.costs),
        ("provenance", "Data and environment", report.provenance),
        ("again", "Commands", report.commands),
    ]
    return [(anchor, title) for anchor, title, there in parts if there]


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


def _contrasts(
    report: ReportData,
) -> list[tuple[ContrastHistory, Markup, dict[str, list[Rival]]]]:
    """Return figure and table of what each stream was contrasted with."""
    return [
        (history, Markup(contrast_figure(history, f"contrast{place}")), rivals(history))
        for place, history in enumerate(report.contrasted)
    ]
