"""Fill the report from a bundle, its evaluation and the runs it came from."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import poselens
from poselens.clips.assemble import video_source
from poselens.clips.stream import RgbInput
from poselens.clips.views import count_views
from poselens.data.folder import ClipFolder
from poselens.data.video import read_frames
from poselens.errors import InputError
from poselens.evaluation.contrasted import ContrastHistory
from poselens.evaluation.intervals import paired_difference
from poselens.evaluation.report import (
    ConfusedPair,
    CostRow,
    FrameStrip,
    ReportData,
    StreamResult,
    most_confused,
    write_report,
)
from poselens.recipes.contrasting import contrast_history
from poselens.recipes.costing import hardware_name, measured_cost
from poselens.recipes.evaluating import Result
from poselens.recognition.bundle import Bundle
from poselens.recognition.streams import TrainedStream
from poselens.training.journal import read_rows
from poselens.types import Scores

STRIP_FRAMES = 6
STRIP_HEIGHT = 120


def make_report(
    path: Path,
    bundle: Bundle,
    folder: ClipFolder,
    result: Result,
    *,
    runs: Sequence[Path],
    commands: Sequence[str],
    notes: Sequence[str] = (),
) -> None:
    """Write the HTML report of an evaluated bundle.

    Args:
        path: Target.
        bundle: What was evaluated.
        folder: The data set.
        result: How the bundle does.
        runs: The run folders, in the order of the bundle's streams, for the training curves and
            what was contrasted; empty where they are gone.
        commands: What was typed, for whoever wants the numbers again.
        notes: Further things a reader must know.

    Raises:
        CheckpointError: ``CKPT-017`` for a damaged record of contrast.
    """
    fused = len(bundle.streams) > 1
    told = [f"{clip}: {reason}" for clip, reason in result.skipped.items()]
    best = max(result.streams, key=lambda entry: entry.top1)
    gain = None
    if fused:
        scores = {entry.stream: entry for entry in result.scores}
        gain = paired_difference(
            scores["fused"], scores[best.stream], groups=result.units.of(scores["fused"].ids)
        )
    logs = [read_rows(run / "log.jsonl") for run in runs] or [[] for _ in bundle.streams]
    data = ReportData(
        dataset=folder.info.name,
        protocol=result.protocol,
        split=result.part,
        fingerprint=folder.fingerprint(),
        code_version=poselens.__version__,
        hardware=hardware_name(bundle.streams[0].device),
        date=datetime.date.today().isoformat(),
        streams=[
            StreamResult(
                evaluation,
                views=count_views(scores.views),
                last_epoch=trained.facts.get("epochs"),
                history=rows,
            )
            for evaluation, scores, trained, rows in zip(
                result.streams, result.scores, bundle.streams, logs, strict=False
            )
        ],
        fused=StreamResult(result.fused) if fused else None,
        fusion=bundle.fusion if fused else None,
        gain=gain,
        pairs=_pairs(folder, result),
        contrasted=_contrasted(bundle, runs),
        costs=[_cost(trained) for trained in bundle.streams],
        notes=[*notes, *result.units.told, *result.notes, *(f"skipped {line}" for line in told)],
        commands=commands,
        facts={"seeds": ", ".join(str(t.facts.get("seed", "?")) for t in bundle.streams)},
    )
    write_report(path, data)


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


def _pairs(folder: ClipFolder, result: Result) -> list[ConfusedPair]:
    scores = result.scores[-1]
    pairs = []
    for label, predicted, count in most_confused(result.fused):
        strips = _strips(folder, scores, label, predicted)
        pairs.append(ConfusedPair(label, predicted, count, strips))
    return pairs


def _strips(folder: ClipFolder, scores: Scores, label: str, predicted: str) -> list[FrameStrip]:
    """Return a clip that was confused, and one of the class it was taken for."""
    classes = list(scores.classes)
    wrong, other = classes.index(label), classes.index(predicted)
    labels, best = np.asarray(scores.labels), np.nanargmax(scores.logits, axis=1)
    chosen = [
        (np.flatnonzero((labels == wrong) & (best == other)), f"{label}, taken for {predicted}"),
        (np.flatnonzero((labels == other) & (best == other)), f"{predicted}, recognised"),
    ]
    strips = []
    for rows, caption in chosen:
        if len(rows) == 0:
            continue
        clip = scores.ids[int(rows[0])]
        picture = _strip(folder, folder.index_of(clip))
        if picture is not None:
            strips.append(FrameStrip(picture, f"{caption} ({clip})"))
    return strips


def _strip(folder: ClipFolder, clip: int) -> NDArray[np.uint8] | None:
    """Return a few frames of a clip side by side, or None where there is no video to show."""
    path, record = folder.video_path(clip), folder.record(clip)
    if path is None:
        return None
    try:
        source = video_source(
            path, None, RgbInput(crop=False), start_s=record.start_s, end_s=record.end_s
        )
        whole = source.region.box
        wanted = np.linspace(0, source.frames - 1, STRIP_FRAMES).round().astype(int).tolist()
        width = max(1, round(whole.width * STRIP_HEIGHT / whole.height))
        size = (STRIP_HEIGHT, width)
        pixels = read_frames(path, wanted, size=size, first_frame=source.first_frame).pixels
    except InputError:
        # the clip was scored a moment ago; a picture less does not spoil a report
        return None
    strip: NDArray[np.uint8] = np.concatenate(list(pixels), axis=1)
    return strip
