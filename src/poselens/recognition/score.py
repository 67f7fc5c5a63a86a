"""Score the clips of a data set folder with trained streams."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from poselens.clips.assemble import RgbClips
from poselens.clips.batches import (
    EpochBatches,
    loaded,
    make_loader,
    memory_faults_named,
    to_device,
)
from poselens.clips.device import data_processes
from poselens.clips.disturb import Disturbance
from poselens.clips.resident import SkeletonBatches, read_ready
from poselens.clips.stream import RgbStream
from poselens.clips.views import Views, choose_views, count_views
from poselens.data.folder import ClipFolder
from poselens.errors import InputError, UsageError
from poselens.evaluation.collect import collect_scores
from poselens.recognition.streams import TrainedStream
from poselens.types import ONE_VIEW, Scores


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
    batch_size: int | None = None,
    views: str = ONE_VIEW,
    told: Callable[[int], None] | None = None,
    disturb: Disturbance | None = None,
) -> Scored:
    """Score clips with one stream.

    Of a clip that is seen in several views, the class probabilities are averaged; its logits are
    the logarithms of the mean, whose softmax is the mean again.

    Args:
        trained: The stream.
        folder: A data set with the same classes.
        clips: Positions in the folder.
        workers: Processes that read videos; None chooses from the number of cores.
        batch_size: Clips per step; None takes 256 skeletons on a GPU, which a smaller batch leaves
            idle between kernels, and 32 of anything else, fewer where each has several views.
        views: Views of each clip (``poselens.clips.views``); skeletons have one.
        told: Called with the number of clips after each batch.
        disturb: What goes wrong with each clip before it is prepared.

    Raises:
        UsageError: ``EVAL-010`` when the classes differ, ``EVAL-012`` when the data set's joints
            are not those the stream reads, ``CFG-038`` when the stream cannot have these views.
        InputError: ``EVAL-011`` when the stream can read none of the clips.
        EnvironmentFault: ``ENV-011``, ``ENV-012`` no memory.
    """
    require_fitting(trained, folder)
    skipped: dict[str, str] = {}
    look = trained.stream.input if isinstance(trained.stream, RgbStream) else None
    chosen = None if look is None else choose_views(views, look)
    seen = ONE_VIEW if chosen is None else chosen.name
    if batch_size is None:
        many = chosen is None and trained.device.type == "cuda"
        batch_size = 256 if many else max(32 // count_views(seen), 1)

    def moved() -> Iterator[Mapping[str, Any]]:
        for batch, unreadable in _batches(
            trained, folder, clips, workers, batch_size, chosen, disturb
        ):
            skipped.update(unreadable)
            if batch["id"]:
                yield to_device(batch, trained.device, look)
            if told is not None and (batch["id"] or unreadable):
                told(len(batch["id"]) + len(unreadable))
        if len(skipped) == len(clips):
            raise _nothing_read(trained, folder, skipped)

    with memory_faults_named(batch_size):
        scores = collect_scores(
            trained.network if seen == ONE_VIEW else _MeanOfViews(trained.network),
            moved(),
            classes=trained.stream.classes,
            stream=trained.stream.name,
            device=trained.device,
        )
    return Scored(replace(scores, views=seen), skipped)


def _nothing_read(
    trained: TrainedStream, folder: ClipFolder, skipped: Mapping[str, str]
) -> InputError:
    return InputError(
        "EVAL-011",
        f"stream {trained.stream.name!r} can read none of {len(skipped)} clips, "
        f"the first because: {next(iter(skipped.values()), 'none given')}",
        file=folder.root,
    )


class _MeanOfViews(nn.Module):
    """The logarithm of the mean class probabilities over the views of each clip."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, clips: Float[Tensor, "n views t 3 h w"]) -> Float[Tensor, "n k"]:
        """Return what all views together say, one after another to spare memory."""
        views = [self.network(view).float().log_softmax(dim=1) for view in clips.unbind(dim=1)]
        return torch.stack(views).logsumexp(dim=0) - math.log(len(views))


def _batches(
    trained: TrainedStream,
    folder: ClipFolder,
    clips: Sequence[int] | NDArray[np.int64],
    workers: int | None,
    batch_size: int,
    views: Views | None,
    disturb: Disturbance | None,
) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Yield batches, and with each the clips that turned out unreadable: id to reason."""
    stream = trained.stream
    if isinstance(stream, RgbStream):
        processes = data_processes(trained.device) if workers is None else workers
        order = EpochBatches(clips, batch_size=batch_size, shuffle=False)
        whole = trained.device.type == "cuda"
        rgb = RgbClips(
            folder,
            settings=stream.input,
            augment=None,
            seed=0,
            whole=whole,
            views=views,
            disturb=disturb,
        )
        for batch in loaded(make_loader(rgb, order, workers=min(processes, len(order) - 1))):
            yield batch, {clip.id: clip.reason for clip in batch["skipped"]}
        return
    ready_clips = read_ready(folder, clips, stream.input, device=trained.device, disturb=disturb)
    yield {"id": []}, ready_clips.reasons()
    batches = SkeletonBatches(
        ready_clips, clips, settings=stream.input, augment=None, batch_size=batch_size
    )
    for batch in batches:
        yield batch, {}


def require_fitting(trained: TrainedStream, folder: ClipFolder) -> None:
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
