"""Score the clips of a data set folder with trained streams."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poselens.clips.assemble import RgbClips, SkeletonClips
from poselens.clips.batches import EpochBatches, loaded, make_loader, to_device
from poselens.clips.device import data_processes
from poselens.clips.stream import RgbStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError, UsageError
from poselens.evaluation.collect import collect_scores
from poselens.recognition.streams import TrainedStream
from poselens.types import Scores


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one stream, and the clips it could not read.

    Attributes:
        scores: One row per clip that could be read.
        skipped: Clip id to reason.
    """

    scores: Scores
    skipped: Mapping[str, str]


def score_folder(
    trained: TrainedStream,
    folder: ClipFolder,
    clips: Sequence[int] | NDArray[np.int64],
    *,
    workers: int | None = None,
    batch_size: int = 32,
    told: Callable[[int], None] | None = None,
) -> Scored:
    """Score clips with one stream.

    Args:
        trained: The stream.
        folder: A data set with the same classes.
        clips: Positions in the folder.
        workers: Data processes; None chooses from the number of cores.
        batch_size: Clips per step.
        told: Called with the number of clips after each batch.

    Raises:
        UsageError: ``EVAL-010`` when the classes differ, ``EVAL-012`` when the data set's joints
            are not those the stream reads.
        InputError: ``EVAL-011`` when the stream can read none of the clips.
    """
    _require_fitting(trained, folder)
    processes = data_processes(trained.device) if workers is None else workers
    batches = EpochBatches(clips, batch_size=batch_size, shuffle=False)
    loader = make_loader(
        _samples(trained, folder), batches, workers=min(processes, len(batches) - 1)
    )
    skipped: dict[str, str] = {}

    def moved() -> Iterator[Mapping[str, Any]]:
        for batch in loaded(loader):
            skipped.update({clip.id: clip.reason for clip in batch["skipped"]})
            if batch["id"]:
                yield to_device(batch, trained.device)
            if told is not None:
                told(len(batch["id"]) + len(batch["skipped"]))
        if len(skipped) == len(clips):
            raise InputError(
                "EVAL-011",
                f"stream {trained.stream.name!r} can read none of {len(clips)} clips, "
                f"the first because: {next(iter(skipped.values()), 'none given')}",
                file=folder.root,
            )

    scores = collect_scores(
        trained.network,
        moved(),
        classes=trained.stream.classes,
        stream=trained.stream.name,
        device=trained.device,
    )
    return Scored(scores, skipped)


def _samples(trained: TrainedStream, folder: ClipFolder) -> RgbClips | SkeletonClips:
    stream = trained.stream
    if isinstance(stream, RgbStream):
        return RgbClips(folder, settings=stream.input, augment=None, seed=0)
    return SkeletonClips(folder, settings=stream.input, augment=None, seed=0)


def _require_fitting(trained: TrainedStream, folder: ClipFolder) -> None:
    """Refuse a data set whose classes or joints are not those the stream was trained on."""
    stream = trained.stream
    if list(stream.classes) != list(folder.info.classes):
        raise UsageError(
            "EVAL-010",
            f"the model knows {len(stream.classes)} classes and the data set has "
            f"{len(folder.info.classes)}, or they differ in name or order",
            file=folder.root,
            mend="evaluate on the data set the model was trained on",
        )
    if isinstance(stream, RgbStream):
        return
    stored = folder.info.skeletons.get(stream.input.space)
    found = "none" if stored is None else f"{stored.layout} of {stored.dimensions} coordinates"
    wanted = f"{stream.layout} of {stream.dimensions} coordinates"
    if found != wanted:
        raise UsageError(
            "EVAL-012",
            f"stream {stream.name!r} reads {wanted} in {stream.input.space}, "
            f"the data set has {found}",
            file=folder.root,
            mend="evaluate on a data set with the joints the model was trained on",
        )


def score_inputs(trained: TrainedStream, inputs: Sequence[Tensor], clip: str) -> list[Scores]:
    """Score prepared inputs of one clip in one batch; returns one :class:`Scores` each."""
    batch = {
        "inputs": (torch.stack(list(inputs)),),
        "label": torch.full((len(inputs),), -1),
        "id": [clip] * len(inputs),
    }
    scores = collect_scores(
        trained.network,
        [to_device(batch, trained.device)],
        classes=trained.stream.classes,
        stream=trained.stream.name,
        device=trained.device,
    )
    return [
        Scores(row[None], [clip], scores.labels[:1], scores.classes, scores.stream)
        for row in scores.logits
    ]
