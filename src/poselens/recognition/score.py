"""Score the clips of a data set folder with trained streams."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from poselens.clips.assemble import RgbClips, SkeletonClips
from poselens.clips.batches import EpochBatches, loaded, make_loader, to_device
from poselens.clips.stream import RgbStream
from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
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
        UsageError: ``EVAL-010`` when the classes differ.
    """
    if list(trained.stream.classes) != list(folder.info.classes):
        raise UsageError(
            "EVAL-010",
            f"the model knows {len(trained.stream.classes)} classes and the data set has "
            f"{len(folder.info.classes)}, or they differ in name or order",
            file=folder.root,
            mend="evaluate on the data set the model was trained on",
        )
    samples: RgbClips | SkeletonClips
    if isinstance(trained.stream, RgbStream):
        samples = RgbClips(folder, settings=trained.stream.input, augment=None, seed=0)
    else:
        samples = SkeletonClips(folder, settings=trained.stream.input, augment=None, seed=0)
    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    batches = EpochBatches(clips, batch_size=batch_size, shuffle=False)
    loader = make_loader(samples, batches, workers=min(processes, len(batches)))
    skipped: dict[str, str] = {}

    def moved() -> Iterator[Mapping[str, Any]]:
        for batch in loaded(loader):
            skipped.update({clip.id: clip.reason for clip in batch["skipped"]})
            if batch["id"]:
                yield to_device(batch, trained.device)
            if told is not None:
                told(len(batch["id"]) + len(batch["skipped"]))

    scores = collect_scores(
        trained.network,
        moved(),
        classes=trained.stream.classes,
        stream=trained.stream.name,
        device=trained.device,
    )
    return Scored(scores, skipped)


def score_one(trained: TrainedStream, inputs: Tensor, identity: str) -> Scores:
    """Score one prepared clip, without the batch axis."""
    batch = to_device(
        {"inputs": (inputs[None],), "label": _UNKNOWN.clone(), "id": [identity]}, trained.device
    )
    return collect_scores(
        trained.network,
        [batch],
        classes=trained.stream.classes,
        stream=trained.stream.name,
        device=trained.device,
    )


_UNKNOWN = Tensor([-1]).long()
