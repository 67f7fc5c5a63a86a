"""From runs to a bundle: choose the weights of Eq. (14), and judge them on validation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from poselens.checkpoint import make_folder
from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
from poselens.evaluation.gain import StreamCost
from poselens.fusion.weights import FusionWeights
from poselens.recipes.abstaining import held_out_scores, seen_validation, unknown_threshold
from poselens.recipes.costing import stream_cost
from poselens.recipes.weighing import (
    Choice,
    choose_weights,
    clip_groups,
    draw_landscape,
    group_notes,
    judge_fusion,
    require_choice,
)
from poselens.recognition.bundle import (
    BUNDLE_FILE,
    load_bundle,
    require_fusible,
    require_unused,
    write_bundle,
)
from poselens.recognition.score import score_folder
from poselens.recognition.streams import TrainedStream, load_run
from poselens.types import Scores


def fuse_runs(
    runs: Sequence[Path],
    folder: ClipFolder,
    protocol: str,
    out: Path,
    *,
    weights: str | dict[str, float],
    device: torch.device,
    objective: str = "likelihood",
    per_class: bool = False,
    judge: bool = False,
    landscape: Path | None = None,
    cluster: str | None = None,
    unknown: float | None = None,
) -> dict[str, Any]:
    """Load finished runs, choose their weights and write a bundle.

    Args:
        runs: Folders made by training, one stream each, or bundles, whose streams are taken.
        folder: The data set whose validation slice fitted weights are fitted on.
        protocol: The split that slice belongs to.
        out: Bundle to write.
        weights: ``paper``, ``equal``, ``fitted``, ``stream=number,...``, a table, or a JSON file.
        device: Where to score the validation slice.
        objective: What fitted weights seek: ``likelihood`` or ``accuracy``.
        per_class: Whether fitted weights are per stream and class.
        judge: Whether fixed weights are judged on validation too, which has to be scored for it;
            fitted ones always are.
        landscape: Where to draw what other weights would do on validation.
        cluster: Column whose groups intervals are over, or None for clips.
        unknown: Share of clips of known classes that may be called unknown: the bundle keeps the
            threshold, chosen on the validation slice. None for none.

    Raises:
        UsageError: ``RUN-001`` ``out`` holds something, ``CFG-004`` unknown protocol, ``FUS-001``,
            ``FUS-002`` streams that cannot be fused, ``FUS-010`` when weights are to be fitted, or
            a landscape drawn, but a run was trained on the validation slice, or under another
            protocol; ``EVAL-022``, ``EVAL-023``, ``EVAL-025``, ``EVAL-028`` where no threshold can
            be chosen; else as ``poselens.recipes.weighing``.
        CheckpointError: As ``poselens.recognition.streams``.
    """
    choice = Choice(weights, objective, per_class)
    require_choice(choice)
    require_unused(out)
    folder.indices(protocol, "train+val")
    streams = [trained for run in runs for trained in load_streams(run, device=device)]
    require_fusible(streams)
    scores: list[Scores] | None = None
    told = held_back(streams, protocol)
    if told is not None and landscape is not None and not choice.fitted:
        told.mend = "train with training.validation=hold-out, or leave --landscape out"
    if told is not None and (choice.fitted or landscape is not None):
        raise told
    if told is None and (choice.fitted or landscape is not None or judge):
        scores = _validation(streams, folder, protocol)
    names = [trained.stream.name for trained in streams]
    fusion = choose_weights(choice, names, scores)
    judged: dict[str, Any] = {}
    if scores is not None:
        groups = clip_groups(folder, cluster, scores)
        judged = _on_validation(streams, scores, fusion, choice, groups, landscape)
    elif judge:
        judged = {"gain": None, "not_judged": None if told is None else told.message}
    threshold = None
    if unknown is not None:
        held_out = scores or held_out_scores(streams, folder, protocol)
        threshold = unknown_threshold(held_out, fusion, unknown)
    return write_bundle(out, streams, fusion, judged, unknown=threshold)


def _on_validation(
    streams: Sequence[TrainedStream],
    scores: Sequence[Scores],
    fusion: FusionWeights,
    choice: Choice,
    groups: Mapping[str, str] | None,
    landscape: Path | None,
) -> dict[str, Any]:
    """Return what a fusion brings on validation clips, and draw the landscape if asked to."""
    clips = "validation"
    gain = judge_fusion(scores, fusion, choice, clips=clips, costs=costs_of(streams), groups=groups)
    judged = {
        "gain": None if gain is None else gain.as_dict(),
        "notes": group_notes(groups),
    }
    if landscape is not None:
        make_folder(landscape.parent)
        judged["landscape"] = draw_landscape(landscape, scores, fusion, clips=clips, groups=groups)
    return judged


def load_streams(path: Path, *, device: torch.device) -> list[TrainedStream]:
    """Return the stream of a run, or those of a bundle."""
    if (path / BUNDLE_FILE).is_file():
        return list(load_bundle(path, device=device).streams)
    return [load_run(path, device=device)]


def costs_of(streams: Sequence[TrainedStream]) -> dict[str, StreamCost]:
    """Return what each stream asks for, for one clip and view."""
    costs = {}
    for trained in streams:
        counted = stream_cost(trained.stream)
        costs[trained.stream.name] = StreamCost(counted.macs / 1e9, counted.params)
    return costs


def held_back(streams: Sequence[TrainedStream], protocol: str) -> UsageError | None:
    """Return why the validation slice cannot be fitted on, ``FUS-010``; None where it can."""
    told = seen_validation(streams, protocol)
    if told is None:
        return None
    message, mend = told
    return UsageError(
        "FUS-010",
        f"{message}: weights cannot be fitted there",
        mend=f"{mend}, or use --weights paper",
    )


def _validation(
    streams: Sequence[TrainedStream], folder: ClipFolder, protocol: str
) -> list[Scores]:
    clips = folder.indices(protocol, "val")
    return [score_folder(trained, folder, clips).scores for trained in streams]
