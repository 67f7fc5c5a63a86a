"""Parts of a report beside its results: what each stream is worth, levels of classes, doubt."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from poselens.errors import UsageError
from poselens.evaluation.gain import FusionGain, StreamCost, fusion_gain
from poselens.evaluation.hierarchy import HierarchyEvaluation
from poselens.evaluation.intervals import Interval
from poselens.evaluation.landscape import landscape, landscape_figure
from poselens.evaluation.report import CostRow
from poselens.evaluation.robustness_figure import robustness_section
from poselens.evaluation.robustness_file import read_card
from poselens.evaluation.sections import Section, SectionTable
from poselens.evaluation.unknown import risk_coverage
from poselens.fusion.held_out import fixed
from poselens.recipes.evaluating import Result
from poselens.recipes.weighing import weight_marks
from poselens.recognition.bundle import Bundle

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


def report_parts(
    bundle: Bundle, result: Result, costs: Sequence[CostRow], card: Path | None = None
) -> list[Section]:
    """Return the parts that a bundle and its evaluation give.

    Args:
        bundle: What was evaluated.
        result: How it does.
        costs: What each stream asks for.
        card: JSON of a robustness card of this bundle, or None.

    Raises:
        InputError: ``EVAL-065`` for a card that cannot be read.
    """
    parts = []
    if len(bundle.streams) > 1:
        parts.append(_worth(bundle, result, costs))
    if result.hierarchy is not None:
        parts.append(_levels(result.hierarchy))
    parts.append(_confident(result))
    if card is not None:
        parts.append(
            Section(
                "When something goes wrong",
                figure_svg=robustness_section(read_card(card), heading="h3"),
            )
        )
    return parts


def _worth(bundle: Bundle, result: Result, costs: Sequence[CostRow]) -> Section:
    """Return what fusing gains, each stream's part in it, and what other weights would do."""
    scores = result.scores[: len(result.streams)]
    groups = _groups(result)
    asked = {cost.stream: StreamCost(cost.gmacs, cost.params, cost.milliseconds) for cost in costs}
    clips = f"{result.part} clips"
    found = fusion_gain(scores, fixed(bundle.fusion), clips=clips, costs=asked, groups=groups)
    marks = weight_marks(bundle.fusion, [each.stream for each in scores])
    try:
        ground = landscape(scores, bundle.fusion.temperatures, marks, clips=clips, groups=groups)
        figure: str | None = landscape_figure(ground)
    except UsageError:
        # streams that know no clip in common have no weights to compare
        figure = None
    return Section(
        "What each stream is worth",
        f"Judged on the {clips}, with the weights that the bundle has; nothing was chosen by them. "
        "The picture shows what other weights would have done there.",
        figure,
        _worth_table(found, bundle),
        [entry.sentence() for entry in found.worth],
    )


def _worth_table(found: FusionGain, bundle: Bundle) -> SectionTable:
    rows = []
    for entry in found.worth:
        against = found.against[entry.stream]
        rows.append(
            [
                entry.stream,
                f"{bundle.fusion.weights[entry.stream]:.2f}",
                _points(against.difference.value, against.difference.interval),
                f"{against.test.p:.2g}",
                _points(entry.gain.difference.value, entry.gain.difference.interval),
                entry.gain.verdict,
            ]
        )
    return SectionTable(
        [
            "Stream",
            "Weight",
            "Fusion against it",
            "McNemar's p",
            "It adds to the others",
            "Verdict",
        ],
        rows,
        "Points of Top-1 with 95 % intervals, on the same clips.",
        text_columns=(5,),
    )


def _groups(result: Result) -> Mapping[str, str] | None:
    ids = result.scores[-1].ids
    groups = result.units.of(ids)
    return None if groups is None else dict(zip(ids, groups, strict=True))


def _points(value: float, interval: Interval) -> str:
    text = f"{100 * value:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    return text.replace("-", "−")


def _levels(tree: HierarchyEvaluation) -> Section:
    rows = [
        [
            level.level,
            str(level.nodes),
            _share(level.top1, level.top1_interval),
            _share(level.mean_class, level.mean_class_interval),
        ]
        for level in tree.levels
    ]
    notes = []
    if tree.within_parent is not None and tree.within_parent_by_guess is not None:
        notes.append(
            f"Of {tree.mistakes} mistakes {100 * tree.within_parent:.0f} % stay within the right "
            f"class's own group; if any other class were taken alike, "
            f"{100 * tree.within_parent_by_guess:.0f} % would."
        )
    return Section(
        "By level of the classes",
        "Right at a level: the class that is named belongs to the same group there.",
        table=SectionTable(["Level", "Names", "Top-1 %", "Mean class %"], rows),
        notes=notes,
    )


def _confident(result: Result) -> Section:
    """Return how accurate the answers are where only the confident ones are given."""
    judged = result.scores[-1]
    curve = risk_coverage(judged, **result.units.about(judged.ids))
    rows = [
        [f"{100 * share:.0f} %", f"{100 * curve.accuracy_at(share):.1f}"] for share in COVERAGES
    ]
    return Section(
        "Answering only when sure",
        "If only the most confident share of the clips is answered and the rest goes to a person. "
        "poselens evaluate --unknown RATE chooses a threshold on validation clips.",
        table=SectionTable(["Answered", "Top-1 % of the answers"], rows),
        notes=[
            f"Area under the curve of wrong answers: {curve.aurc:.4f} "
            f"[{curve.aurc_interval.low:.4f}, {curve.aurc_interval.high:.4f}]; at best "
            f"{curve.aurc_best:.4f}."
        ],
    )


def _share(value: float, interval: Interval) -> str:
    return f"{100 * value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
