"""Fill the report from a bundle, its evaluation and the runs it came from."""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import poselens
from poselens.clips.views import count_views
from poselens.data.folder import ClipFolder
from poselens.evaluation.contrasted import ContrastHistory
from poselens.evaluation.explorer import opinions
from poselens.evaluation.intervals import Difference, paired_difference
from poselens.evaluation.label_errors import write_suspects
from poselens.evaluation.pictures import PICTURE_BUDGET
from poselens.evaluation.reliability import Calibration, reliability
from poselens.evaluation.report import (
    CostRow,
    LabelReview,
    ReportData,
    StreamResult,
    write_report,
)
from poselens.evaluation.sections import Section
from poselens.fusion.weights import fuse_with
from poselens.recipes.contrasting import contrast_history
from poselens.recipes.costing import hardware_name, measured_cost
from poselens.recipes.evaluating import Result
from poselens.recipes.exploring import (
    Album,
    Attribute,
    Searched,
    confused_pairs,
    search_result,
    suspect_cards,
    worst_clips,
)
from poselens.recipes.provenance import provenance
from poselens.recipes.report_parts import report_parts
from poselens.recognition.bundle import Bundle
from poselens.recognition.streams import TrainedStream
from poselens.training.explain import environment
from poselens.training.journal import read_rows
from poselens.types import Scores

SUSPECTS_FILE = "label_suspects.csv"
"""Beside a report: every clip whose label is probably wrong."""


def make_report(
    path: Path,
    bundle: Bundle,
    folder: ClipFolder,
    result: Result,
    *,
    runs: Sequence[Path],
    commands: Sequence[str],
    notes: Sequence[str] = (),
    sections: Sequence[Section] = (),
    card: Path | None = None,
    attribute: Attribute | None = None,
    searched: Searched | None = None,
    picture_budget: int = PICTURE_BUDGET,
) -> None:
    """Write the HTML report of an evaluated bundle, and its likely label errors as a table.

    Args:
        path: Target; with two streams or more, ``label_suspects.csv`` is written beside it.
        bundle: What was evaluated.
        folder: The data set.
        result: How the bundle does.
        runs: The run folders, in the order of the bundle's streams, for the training curves and
            what was contrasted; empty where they are gone.
        commands: What was typed, for whoever wants the numbers again.
        notes: Further things a reader must know.
        sections: Further parts of the page.
        card: JSON of the bundle's robustness card, to be shown too.
        attribute: Gives what networks look at in a clip, for clips of the first pairs.
        searched: Likely label errors; searched in the result where they are left out.
        picture_budget: Bytes that pictures may take in the page.

    Raises:
        CheckpointError: ``CKPT-017`` for a damaged record of contrast.
        InputError: ``EVAL-065`` for a card that cannot be read.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when a file cannot be written.
    """
    fused = len(bundle.streams) > 1
    told = [f"{clip}: {reason}" for clip, reason in result.skipped.items()]
    album, found = Album(folder, attribute), opinions(result.scores)
    here = environment(bundle.streams[0].device)
    costs = [_cost(trained) for trained in bundle.streams]
    data = ReportData(
        dataset=folder.info.name,
        protocol=result.protocol,
        split=result.part,
        fingerprint=folder.fingerprint(),
        code_version=_version(here.get("commit")),
        hardware=hardware_name(bundle.streams[0].device),
        date=datetime.date.today().isoformat(),
        streams=_streams(bundle, result, runs),
        fused=StreamResult(result.fused) if fused else None,
        fusion=bundle.fusion if fused else None,
        gain=_gain(result) if fused else None,
        pairs=confused_pairs(found, album),
        contrasted=_contrasted(bundle, runs),
        costs=costs,
        notes=[*notes, *result.units.told, *result.notes, *(f"skipped {line}" for line in told)],
        commands=commands,
        facts={"Seeds": ", ".join(str(t.facts.get("seed", "?")) for t in bundle.streams)},
        opinions=found,
        calibrations=_calibrations(bundle, result),
        worst=worst_clips(found, album),
        review=_review(path, searched or search_result(_own(result), result.part), album),
        sections=[*report_parts(bundle, result, costs, card), *sections],
        provenance=provenance(bundle, folder, result, runs=runs, commit=here.get("commit")),
        picture_budget=picture_budget,
    )
    write_report(path, data)


def _version(commit: str | None) -> str:
    return f"{poselens.__version__} ({commit[:7]})" if commit else poselens.__version__


def _own(result: Result) -> Sequence[Scores]:
    """Return the scores of the streams, without the fusion."""
    return result.scores[: len(result.streams)]


def _streams(bundle: Bundle, result: Result, runs: Sequence[Path]) -> list[StreamResult]:
    logs = [read_rows(run / "log.jsonl") for run in runs] or [[] for _ in bundle.streams]
    return [
        StreamResult(
            evaluation,
            views=count_views(scores.views),
            last_epoch=trained.facts.get("epochs"),
            history=rows,
        )
        for evaluation, scores, trained, rows in zip(
            result.streams, result.scores, bundle.streams, logs, strict=False
        )
    ]


def _gain(result: Result) -> Difference:
    best = max(result.streams, key=lambda entry: entry.top1)
    scores = {entry.stream: entry for entry in result.scores}
    groups = result.units.of(scores["fused"].ids)
    return paired_difference(scores["fused"], scores[best.stream], groups=groups)


def _calibrations(bundle: Bundle, result: Result) -> list[Calibration]:
    """Return each stream before and after its temperature, and the fusion of both kinds."""
    own, temperatures = _own(result), bundle.fusion.temperatures
    scaled = {name: value for name, value in temperatures.items() if value != 1.0}
    shown = [
        Calibration(
            reliability(each),
            reliability(each, temperature=scaled[each.stream]) if each.stream in scaled else None,
        )
        for each in own
    ]
    if len(own) < 2:
        return shown
    fused = reliability(result.scores[-1])
    if not scaled:
        return [*shown, Calibration(fused)]
    as_they_are = replace(bundle.fusion, temperatures=dict.fromkeys(temperatures, 1.0))
    return [*shown, Calibration(reliability(fuse_with(own, as_they_are)), fused)]


def _review(path: Path, searched: Searched | None, album: Album) -> LabelReview | None:
    if searched is None:
        return None
    write_suspects(path.parent / SUSPECTS_FILE, searched.found)
    cards = suspect_cards(searched.found, album)
    return LabelReview(searched.found, cards, searched.source, SUSPECTS_FILE)


def _contrasted(bundle: Bundle, runs: Sequence[Path]) -> list[ContrastHistory]:
    """Return what each stream that was trained with contrast was contrasted with."""
    found = [
        contrast_history(run, trained.stream.name, bundle.classes)
        for run, trained in zip(runs, bundle.streams, strict=False)
    ]
    return [history for history in found if history is not None]


def _cost(trained: TrainedStream) -> CostRow:
    cost = measured_cost(trained)
    return CostRow(cost.stream, cost.gmacs, cost.params, cost.milliseconds)
