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
from poselens.clips.ahead import Onwards, moved_ahead
from poselens.clips.assemble import Item, RgbClips
from poselens.clips.batches import EpochBatches, loaded, make_loader
from poselens.clips.cache import FrameCache
from poselens.clips.device import data_processes
from poselens.clips.packed import Format
from poselens.clips.regions import cached_regions
from poselens.clips.resident import SkeletonBatches, read_ready
from poselens.clips.stream import RgbAugment, RgbStream, SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError
from poselens.evaluation.collect import collect_scores
from poselens.training.config import RgbSection, SkeletonSection
from poselens.training.imbalance import balance_of
from poselens.training.objectives import Balance, Batch
from poselens.training.state import Progress
from poselens.types import Scores

SKIPPED_FILE = "skipped.jsonl"


Source = DataLoader[Item] | Onwards | SkeletonBatches


class Samples:
    """Loads both parts of a run.

    RGB clips are read by processes while the network trains; skeletons once, before it does.

    Args:
        folder: The data set.
        section: The resolved recipe.
        stream: What the network reads.
        parts: Clips of ``train`` and ``val``.
        out: The run's folder, for the list of skipped clips.
        device: Where the network runs, which says how many processes prepare clips.

    Attributes:
        batches: The order of training; its length is the number of steps in an epoch.

    Raises:
        InputError: ``DATA-024`` when too many skeletons cannot be read, or all that train.
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
        self._input = section.input if isinstance(section, RgbSection) else None
        self._settings = section.training
        self._parts = parts
        self._labels = folder.labels
        self._out = out
        self._unreadable: dict[str, str] = {}
        self.batches: EpochBatches | SkeletonBatches
        self._train: Source
        self._val: Source
        if isinstance(section, SkeletonSection):
            self._read_skeletons(folder, section, device)
        else:
            self._start_loaders(folder, section, device)

    def _read_skeletons(
        self, folder: ClipFolder, section: SkeletonSection, device: torch.device
    ) -> None:
        settings, parts = section.training, self._parts
        wanted = np.concatenate([parts["train"], parts["val"]])
        clips = read_ready(folder, wanted, section.input, device=device)
        self._unreadable = clips.reasons()
        self.batches = self._train = SkeletonBatches(
            clips,
            parts["train"],
            settings=section.input,
            augment=section.augment,
            batch_size=settings.batch_size,
            seed=settings.seed,
            repeats=settings.repeats,
        )
        self._val = SkeletonBatches(
            clips,
            parts["val"],
            settings=section.input,
            augment=None,
            batch_size=settings.batch_size,
        )
        if settings.sampling == "balanced":
            self.batches.balance()
        progress = Progress(skipped=dict(self._unreadable))
        self._require_readable(progress)
        if not len(self.batches):
            raise self._too_many(progress)

    def _start_loaders(self, folder: ClipFolder, section: RgbSection, device: torch.device) -> None:
        settings, parts = section.training, self._parts
        workers = data_processes(device) if settings.workers is None else settings.workers
        if settings.cache == "disk" and settings.workers is None and device.type == "cpu":
            # pixels cost little to read: two processes keep up with a network on a CPU
            workers = min(workers, 2)
        moving, still = _make_clips(folder, section, parts, device)
        self.batches = EpochBatches(
            parts["train"],
            batch_size=settings.batch_size,
            seed=settings.seed,
            repeats=settings.repeats,
        )
        if settings.sampling == "balanced":
            self.batches.balance(folder.labels[parts["train"]])
        loader = make_loader(moving, self.batches, workers=workers)
        self._train = Onwards(loader, self.batches, epochs=settings.epochs)
        self._val = make_loader(
            still,
            EpochBatches(parts["val"], batch_size=settings.batch_size, shuffle=False),
            workers=min(workers, 8 if device.type == "cuda" else 2),
        )

    @property
    def validation_clips(self) -> int:
        """Number of clips held out."""
        return len(self._parts["val"])

    @property
    def training_clips(self) -> NDArray[np.int64]:
        """Positions of the clips to train on, without those that are known to be unreadable."""
        return (
            self._train.clips if isinstance(self._train, SkeletonBatches) else self._parts["train"]
        )

    def balance(self, device: torch.device) -> Balance:
        """Return how the loss makes up for rare classes among the training clips."""
        return balance_of(
            self._labels[self.training_clips],
            num_classes=len(self._stream.classes),
            weights=self._settings.class_weights,
            beta=self._settings.class_beta,
            tau=self._settings.logit_adjustment,
            device=device,
        )

    def train_batches(self, progress: Progress, device: torch.device) -> Iterator[Batch]:
        """Yield what remains of an epoch.

        A batch of which no clip can be read is a step without effect, so that the position of all
        later batches, and with it a resumed run, stays the same.

        Raises:
            InputError: ``DATA-024`` as soon as too many clips cannot be read.
        """
        source = self._train
        if isinstance(source, Onwards):
            source.go_to(progress.epoch, progress.step)
        else:
            self.batches.epoch, self.batches.first_step = progress.epoch, progress.step
        for batch in self._readable(source, progress, device):
            if batch["id"]:
                yield batch
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
            for batch in self._readable(self._val, progress, device):
                if batch["id"]:
                    yield batch
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

    def close(self) -> None:
        """End the data processes, whoever holds their loaders still.

        The traceback of an error does, and the exit of Python, which would end the processes by
        a signal, was seen to wait for them for ever under a sandboxed kernel.
        """
        train = self._train.loader if isinstance(self._train, Onwards) else self._train
        for loader in (train, self._val):
            running = getattr(loader, "_iterator", None)
            if running is not None and hasattr(running, "_shutdown_workers"):
                running._shutdown_workers()

    def _readable(
        self, source: Source, progress: Progress, device: torch.device
    ) -> Iterator[dict[str, Any]]:
        """Yield batches on the device and note the clips left out of them."""
        if isinstance(source, SkeletonBatches):
            progress.skipped.update(self._unreadable)
            yield from source
            return
        read = source if isinstance(source, Onwards) else loaded(source)
        for batch in moved_ahead(read, device, self._input):
            for skipped in batch["skipped"]:
                progress.skipped[skipped.id] = skipped.reason
            if batch["skipped"]:
                self._require_readable(progress)
            yield batch

    def _require_readable(self, progress: Progress) -> None:
        if len(progress.skipped) > self._settings.max_bad * self._clips:
            raise self._too_many(progress)

    @property
    def _clips(self) -> int:
        return sum(len(part) for part in self._parts.values())

    def _too_many(self, progress: Progress) -> InputError:
        self.write_skipped(progress)
        shown = "; ".join(f"{clip}: {text}" for clip, text in list(progress.skipped.items())[:5])
        return InputError(
            "DATA-024",
            f"{len(progress.skipped)} of {self._clips} clips cannot be read so far ({shown})",
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
    section: RgbSection,
    parts: dict[str, NDArray[np.int64]],
    device: torch.device,
) -> tuple[RgbClips, RgbClips]:
    """Return the clips with augmentation and without.

    A GPU cuts and resizes whole regions faster than all cores together.
    """
    seed, on_gpu = section.training.seed, device.type == "cuda"
    cache: FrameCache | None = None
    if section.training.cache != "none":
        wanted = np.concatenate([parts["train"], parts["val"]])
        # nothing trains meanwhile, so every core may decode, unless a number was asked for
        asked = section.training.workers
        decoders = len(os.sched_getaffinity(0)) if asked is None else asked
        form: Format = "packed" if section.training.cache == "packed" else "raw"
        cache = cached_regions(folder, wanted, section.input, form, workers=decoders)

    def clips(augment: RgbAugment | None) -> RgbClips:
        return RgbClips(
            folder, settings=section.input, augment=augment, seed=seed, cache=cache, whole=on_gpu
        )

    return clips(section.augment), clips(None)
