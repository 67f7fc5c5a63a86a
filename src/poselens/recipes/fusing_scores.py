"""Fuse score files, of this package or of other tools, alone or beside runs and bundles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

import poselens
from poselens.checkpoint import make_folder, write_json
from poselens.data.folder import ClipFolder
from poselens.data.info import Part
from poselens.errors import InputError, UsageError
from poselens.evaluation.foreign import (
    Kind,
    Known,
    is_score_file,
    read_ids,
    read_labels,
    read_score_file,
)
from poselens.fusion.scores import write_scores
from poselens.fusion.weights import fuse_with
from poselens.recipes.fusing import costs_of, held_back, load_streams
from poselens.recipes.scoring import require_part
from poselens.recipes.weighing import (
    Choice,
    choose_weights,
    clip_groups,
    draw_landscape,
    group_notes,
    judge_fusion,
    require_choice,
)
from poselens.recognition.bundle import require_unused
from poselens.recognition.score import score_folder
from poselens.recognition.streams import TrainedStream
from poselens.types import Scores

SCORES_FILE = "scores.npz"
WEIGHTS_FILE = "fusion.json"


@dataclass(frozen=True)
class Clips:
    """Which clips the score files are of.

    Attributes:
        folder: Their data set, or None.
        protocol: Its split, where there is a data set.
        part: Part of the split.
        ids: List of ids, or annotation file and split, in whose order files without names are.
        labels: CSV of labels, where there is no data set.
        kind: Whether scores are logits or probabilities.
    """

    folder: ClipFolder | None
    protocol: str | None
    part: str = "val"
    ids: str | None = None
    labels: Path | None = None
    kind: Kind = "auto"

    @property
    def called(self) -> str:
        """What the clips are, for results and pictures: validation, or said that they are not."""
        if self.folder is None:
            return "the clips given, of no known part"
        return {"val": "validation", "test": "the TEST part, evaluated on request"}.get(
            self.part, f"the part {self.part}"
        )


def named_path(text: Path) -> tuple[str | None, Path]:
    """Split ``name=FILE``; a path that is there is never split."""
    name, sign, rest = str(text).partition("=")
    if sign and not text.exists() and "/" not in name and name:
        return name, Path(rest)
    return None, text


def any_score_file(inputs: Sequence[Path]) -> bool:
    """Return whether one of the inputs of ``poselens fuse`` is a score file."""
    return any(is_score_file(named_path(each)[1]) for each in inputs)


def fuse_scores(
    inputs: Sequence[Path],
    clips: Clips,
    out: Path,
    *,
    choice: Choice,
    device: torch.device,
    landscape: Path | None = None,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Fuse score files, and runs and bundles scored for it, into one score file with its weights.

    Writes ``scores.npz`` and ``fusion.json`` into ``out``. No network is in them, so they predict
    nothing for other clips; ``--weights OUT/fusion.json`` gives the same weights to other scores.

    Args:
        inputs: ``FILE``, ``name=FILE``, run or bundle.
        clips: Which clips these are.
        out: Folder to make.
        choice: How weights are chosen.
        device: Where to score the clips with runs and bundles.
        landscape: Where to draw what other weights would do on these clips.
        cluster: Column whose groups intervals are over, or None for clips.

    Raises:
        UsageError: ``FUS-030`` options that are missing or contradict each other, ``FUS-031``
            weights fitted on other clips than validation, ``RUN-001`` ``out`` holds something,
            ``FUS-001``, ``FUS-002`` as ``poselens.fusion.scores.align``, ``CFG-004``, ``CFG-009``.
        InputError: ``FUS-024`` to ``FUS-029`` as ``poselens.evaluation.foreign``, ``FUS-032`` for
            scores of another part.
        CheckpointError: As ``poselens.recognition.streams``.
    """
    require_choice(choice)
    require_unused(out)
    _require_fit(clips, choice)
    known = known_clips(clips)
    scores, trained = _read(inputs, clips, known, device)
    reason = held_back(trained, clips.protocol or "") if trained and choice.fitted else None
    if reason is not None:
        raise reason
    fusion = choose_weights(choice, [each.stream for each in scores], scores)
    fused = fuse_with(scores, fusion)
    groups = clip_groups(clips.folder, cluster, scores)
    gain = judge_fusion(
        scores, fusion, choice, clips=clips.called, costs=costs_of(trained), groups=groups
    )
    facts: dict[str, Any] = {
        "poselens": poselens.__version__,
        "part": clips.part if clips.folder is not None else None,
        "protocol": clips.protocol,
        "data_fingerprint": None if clips.folder is None else clips.folder.fingerprint(),
        "clips": len(fused.ids),
        "inputs": {each.stream: str(path) for each, path in zip(scores, inputs, strict=False)}
        if len(scores) == len(inputs)
        else [str(path) for path in inputs],
        "fusion": {**fusion.as_dict(), "gain": None if gain is None else gain.as_dict()},
        "notes": [*_notes(clips, scores, gain is None), *group_notes(groups)],
    }
    make_folder(out)
    if landscape is not None:
        make_folder(landscape.parent)
        facts["fusion"]["landscape"] = draw_landscape(
            landscape, scores, fusion, clips=clips.called, groups=groups
        )
    write_scores(out / SCORES_FILE, fused)
    write_json(out / WEIGHTS_FILE, facts)
    return facts


def _require_fit(clips: Clips, choice: Choice) -> None:
    """Refuse weights fitted on clips that a fit must not see."""
    require_part(clips.part)
    if (clips.folder is None) != (clips.protocol is None):
        raise UsageError(
            "FUS-030", "--data and --protocol belong together", mend="give both, or neither"
        )
    if choice.fitted and clips.part != "val":
        raise UsageError(
            "FUS-031",
            f"weights would be fitted on the part {clips.part}, expected val",
            mend="fit on scores of validation clips, then give --weights OUT/fusion.json here",
        )


def known_clips(clips: Clips) -> Known:
    """Return ids, classes and labels of the clips, from a data set, a list or a CSV.

    Raises:
        UsageError: ``CFG-004`` for an unknown protocol.
        InputError: ``FUS-025``, ``FUS-026``, ``FUS-029`` as ``poselens.evaluation.foreign``.
    """
    ids, listed = (None, None) if clips.ids is None else read_ids(clips.ids)
    folder = clips.folder
    if folder is None:
        labels = listed if clips.labels is None else read_labels(clips.labels, None)
        return Known(ids, None, labels, complete=False)
    labels = dict(zip(folder.ids.tolist(), folder.labels.tolist(), strict=True))
    if clips.labels is not None:
        labels |= read_labels(clips.labels, folder.info.classes)
    return Known(ids, folder.info.classes, labels, complete=True)


def require_in_part(scores: Scores, clips: Clips, path: Path) -> None:
    """Refuse scores of clips that are of another part.

    Raises:
        InputError: ``FUS-032``.
    """
    if clips.folder is None or clips.protocol is None:
        return
    rows = clips.folder.indices(clips.protocol, cast(Part, clips.part))
    wanted = set(clips.folder.ids[rows].tolist())
    others = [clip for clip in scores.ids if clip not in wanted]
    if others:
        raise InputError(
            "FUS-032",
            f"{len(others)} of {len(scores.ids)} clips are not of the part {clips.part}, the first "
            f"{others[0]!r}",
            file=path,
            mend="name the part that these scores are of with --part",
        )


def _read(
    inputs: Sequence[Path], clips: Clips, known: Known, device: torch.device
) -> tuple[list[Scores], list[TrainedStream]]:
    scores: list[Scores] = []
    trained: list[TrainedStream] = []
    for name, path in map(named_path, inputs):
        if is_score_file(path):
            read = read_score_file(path, known, stream=name, kind=clips.kind)
            require_in_part(read, clips, path)
            scores.append(read if name else _named_apart(read, path, scores))
            continue
        if clips.folder is None or clips.protocol is None:
            raise UsageError(
                "FUS-030",
                f"{path} is no score file, and there are no clips to score with it",
                mend="give --data and --protocol",
            )
        rows = clips.folder.indices(clips.protocol, cast(Part, clips.part))
        for stream in load_streams(path, device=device):
            trained.append(stream)
            scores.append(score_folder(stream, clips.folder, rows).scores)
    return scores, trained


def _named_apart(read: Scores, path: Path, before: Sequence[Scores]) -> Scores:
    """Call a stream by its folder where its file's name is taken: ``epoch1_test_score.pkl``."""
    taken = {each.stream for each in before}
    if read.stream not in taken:
        return read
    return replace(read, stream=path.resolve().parent.name)


def _notes(clips: Clips, scores: Sequence[Scores], unjudged: bool) -> list[str]:
    notes = []
    if clips.folder is None:
        notes.append(
            "without a data set nobody can tell which part these clips are of: weights fitted on "
            "test clips say nothing about other clips"
        )
    if unjudged and len(scores) > 1:
        notes.append("no clip has a label, so nothing is judged")
    lacking = {each.stream: len(each.ids) for each in scores}
    if len(set(lacking.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in lacking.items())
        notes.append(f"streams know different clips: {told}; the others share their weight")
    return notes
