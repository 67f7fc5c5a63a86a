"""The training and validation samples of a run, and the tally of clips that cannot be read."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from poselens.checkpoint import write_bytes
from poselens.clips.assemble import Item, RgbClips, SkeletonClips
from poselens.clips.batches import EpochBatches, loaded, make_loader, to_device
from poselens.clips.cache import FrameCache
from poselens.clips.device import data_processes
from poselens.clips.regions import cached_regions
from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError
from poselens.evaluation.collect import collect_scores
from poselens.training.config import RgbSection, SkeletonSection
from poselens.training.objectives import Batch
from poselens.training.state import Progress
from poselens.types import Scores

SKIPPED_FILE = "skipped.jsonl"


class Samples:
    """Loads both parts of a run.

    Args:
        folder: The data set.
        section: The resolved recipe.
        stream: What the network reads.
        parts: Clips of ``train`` and ``val``.
        out: The run's folder, for the list of skipped clips.
        device: Where the network runs, which says how many processes prepare clips.
    """

    def __init__(
        self,
        folder: ClipFolder,
        section: RgbSection | SkeletonSection,
        stream: RgbStream | SkeletonStream,
        parts: dict[str, NDArray[np.int64]],
        out: Path,
        device: torch.device,
    ) -> None:
        self._stream = stream
        self._settings = section.training
        self._parts = parts
        self._out = out
        workers = self._settings.workers
        if workers is None:
            workers = data_processes(device)
        moving, still, workers = _make_clips(folder, section, parts, workers)
        self.batches = EpochBatches(
            parts["train"],
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            repeats=self._settings.repeats,
        )
        self._train_loader = make_loader(moving, self.batches, workers=workers)
        self._val_loader = make_loader(
            still,
            EpochBatches(parts["val"], batch_size=self._settings.batch_size, shuffle=False),
            workers=min(workers, 2),
        )

    @property
    def validation_clips(self) -> int:
        """Number of clips held out."""
        return len(self._parts["val"])

    def train_batches(self, progress: Progress, device: torch.device) -> Iterator[Batch]:
        """Yield what remains of an epoch.

        A batch of which no clip can be read is a step without effect, so that the position of all
        later batches, and with it a resumed run, stays the same.

        Raises:
            InputError: ``DATA-024`` as soon as too many clips cannot be read.
        """
        self.batches.epoch, self.batches.first_step = progress.epoch, progress.step
        for batch in self._readable(self._train_loader, progress):
            if batch["id"]:
                yield to_device(batch, device)
            else:
                progress.step += 1

    def validate(
        self,
        network: nn.Module,
        device: torch.device,
        progress: Progress,
        stopped: Callable[[], bool],
        *,
        amp: bool,
    ) -> Scores:
        """Score the validation slice; once ``stopped`` says so, only as far as it came.

        Raises:
            InputError: ``DATA-024`` as soon as too many clips cannot be read.
        """

        def batches() -> Iterator[Batch]:
            for batch in self._readable(self._val_loader, progress):
                if batch["id"]:
                    yield to_device(batch, device)
                    if stopped():
                        return

        return collect_scores(
            network,
            batches(),
            classes=self._stream.classes,
            stream=self._stream.name,
            device=device,
            amp=amp,
        )

    def _readable(self, loader: DataLoader[Item], progress: Progress) -> Iterator[dict[str, Any]]:
        """Yield batches and note the clips left out of them."""
        for batch in loaded(loader):
            for skipped in batch["skipped"]:
                progress.skipped[skipped.id] = skipped.reason
            if batch["skipped"]:
                self._require_readable(progress)
            yield batch

    def _require_readable(self, progress: Progress) -> None:
        total = sum(len(part) for part in self._parts.values())
        if len(progress.skipped) <= self._settings.max_bad * total:
            return
        self.write_skipped(progress)
        shown = "; ".join(f"{clip}: {text}" for clip, text in list(progress.skipped.items())[:5])
        raise InputError(
            "DATA-024",
            f"{len(progress.skipped)} of {total} clips cannot be read so far ({shown})",
            file=self._out / SKIPPED_FILE,
            mend="mend or remove them, or raise training.max_bad",
        )

    def write_skipped(self, progress: Progress) -> None:
        """Write one JSON line for each clip left out."""
        lines = (
            json.dumps({"id": clip, "reason": reason}, ensure_ascii=False) + "\n"
            for clip, reason in sorted(progress.skipped.items())
        )
        write_bytes(self._out / SKIPPED_FILE, "".join(lines).encode())


def _make_clips(
    folder: ClipFolder,
    section: RgbSection | SkeletonSection,
    parts: dict[str, NDArray[np.int64]],
    workers: int,
) -> tuple[RgbClips | SkeletonClips, RgbClips | SkeletonClips, int]:
    """Return the clips with augmentation and without, and how many processes to read them with."""
    seed = section.training.seed
    if isinstance(section, SkeletonSection):
        return (
            SkeletonClips(folder, settings=section.input, augment=section.augment, seed=seed),
            SkeletonClips(folder, settings=section.input, augment=None, seed=seed),
            workers,
        )
    cache: FrameCache | None = None
    if section.training.cache == "disk":
        wanted = np.concatenate([parts["train"], parts["val"]])
        # nothing trains meanwhile, so every core may decode, unless a number was asked for
        asked = section.training.workers
        decoders = len(os.sched_getaffinity(0)) if asked is None else asked
        cache = cached_regions(folder, wanted, section.input, workers=decoders)
        workers = min(workers, 2)
    return (
        RgbClips(folder, settings=section.input, augment=section.augment, seed=seed, cache=cache),
        RgbClips(folder, settings=section.input, augment=None, seed=seed, cache=cache),
        workers,
    )
