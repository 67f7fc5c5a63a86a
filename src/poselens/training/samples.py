"""The training and validation samples of a run, and the tally of clips that cannot be read."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from poselens.checkpoint import write_bytes
from poselens.clips.ahead import Onwards, moved_ahead
from poselens.clips.assemble import Item, RgbClips
from poselens.clips.batches import EpochBatches, Share, loaded, make_loader
from poselens.clips.cache import FrameCache
from poselens.clips.device import data_processes
from poselens.clips.packed import Format
from poselens.clips.regions import cached_regions
from poselens.clips.resident import SkeletonBatches, read_ready
from poselens.clips.stream import RgbAugment, RgbStream, SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import CheckpointError, InputError
from poselens.training.config import RgbSection, SkeletonSection
from poselens.training.imbalance import balance_of
from poselens.training.objectives import Balance, Batch
from poselens.training.precheck import prechecked
from poselens.training.ranks import ALONE, Ranks, beside
from poselens.training.shared_scores import gathered_scores
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
        ranks: Those that share every batch.

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
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self._blank: tuple[int, ...] = ()
        self._stream = stream
        self._input = section.input if isinstance(section, RgbSection) else None
        self._settings = section.training
        self._parts = parts
        self._ids, self._labels = folder.ids, folder.labels
        self._readable_parts = dict(parts)
        self._out = out
        self._unreadable: dict[str, str] = {}
        self._known = isinstance(section, SkeletonSection) or section.training.knows_clips
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
            share=self._share,
        )
        self._val = SkeletonBatches(
            clips,
            parts["val"],
            settings=section.input,
            augment=None,
            batch_size=settings.batch_size,
            share=self._ranks.share,
        )
        self._readable_parts["train"] = self.batches.clips
        if settings.sampling == "balanced":
            self.batches.balance()
        self._require_some(Progress(skipped=dict(self._unreadable)))

    def _require_some(self, progress: Progress) -> None:
        self._require_readable(progress)
        if not len(self._readable_parts["train"]):
            raise self._too_many(progress)

    def _start_loaders(self, folder: ClipFolder, section: RgbSection, device: torch.device) -> None:
        settings, parts = section.training, self._parts
        own = data_processes(device, ranks=beside())
        workers = own if settings.workers is None else settings.workers
        if settings.cache == "disk" and settings.workers is None and device.type == "cpu":
            # pixels cost little to read: two processes keep up with a network on a CPU
            workers = min(workers, 2)
        with self._ranks.in_turn("cache of decoded clips"):
            moving, still, unreadable = _make_clips(folder, section, parts, device)
            if settings.precheck and settings.cache == "none":
                wanted = np.concatenate([parts["train"], parts["val"]])
                unreadable = prechecked(folder, still, wanted, self._out, workers=workers)
        if unreadable:
            # known before the first epoch, as skeletons are: the others train as if alone
            self._unreadable = {str(folder.ids[clip]): text for clip, text in unreadable.items()}
            for name, clips in parts.items():
                self._readable_parts[name] = clips[~np.isin(clips, list(unreadable))]
            self._require_some(Progress(skipped=dict(self._unreadable)))
        self.batches = EpochBatches(
            self._readable_parts["train"],
            batch_size=settings.batch_size,
            seed=settings.seed,
            repeats=settings.repeats,
            share=self._share,
        )
        if settings.sampling == "balanced":
            self.batches.balance(folder.labels[self._readable_parts["train"]])
        loader = make_loader(moving, self.batches, workers=workers)
        self._train = Onwards(loader, self.batches, epochs=settings.epochs)
        self._val = make_loader(
            still,
            EpochBatches(
                self._readable_parts["val"],
                batch_size=settings.batch_size,
                shuffle=False,
                share=self._ranks.share,
            ),
            workers=min(workers, 8 if device.type == "cuda" else 2),
        )

    @property
    def _share(self) -> Share:
        """Return which part of a batch this rank trains on."""
        size = self._settings.part_size
        return self._ranks.share if size is None else (*self._ranks.share, size)

    @property
    def validation_clips(self) -> int:
        """Number of clips held out."""
        return len(self._parts["val"])

    @property
    def training_clips(self) -> NDArray[np.int64]:
        """Positions of the clips to train on, without those that are known to be unreadable."""
        return self._readable_parts["train"]

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

        A rank without clips in a batch that others have clips of gets rows that stand in for them.

        Raises:
            InputError: ``DATA-024`` as soon as too many clips cannot be read.
            CheckpointError: ``CKPT-022`` when a run goes on where other clips can be read.
        """
        self._require_same_clips(progress)
        source, epoch = self._train, progress.epoch
        if isinstance(source, Onwards):
            source.go_to(epoch, progress.step)
        else:
            self.batches.epoch, self.batches.first_step = epoch, progress.step
        steps = enumerate(self._readable(source, progress, device), start=progress.step)
        for step, (counts, batch) in steps:
            if sum(counts):
                filled = self._filled(batch, counts, device)
                self._ranks.draw_anew(self._settings.seed, epoch, step)
                yield filled
            else:
                progress.step += 1

    def _filled(
        self, batch: Batch, counts: tuple[int, ...], device: torch.device
    ) -> dict[str, Any]:
        """Tell a batch how many clips every rank has, and let one without any have a blank one."""
        if self._ranks.size == 1:
            return dict(batch)
        inputs = batch["inputs"]
        if not all(counts):
            # every rank comes here at the same step, so all know the shape from then on
            self._blank = self._blank or _first_shape(self._ranks, inputs)
        if not inputs:
            inputs = (torch.zeros((1, *self._blank), device=device),)
        return {**batch, "inputs": inputs, "counts": counts}

    def _require_same_clips(self, progress: Progress) -> None:
        """Refuse an order of other clips than the one that was begun.

        Only where they are known before the first epoch do they change the order.
        """
        begun = bool(progress.epoch or progress.step)
        if self._known:
            before, now = progress.left_out, sorted(self._unreadable)
            if begun and before is not None and before != now:
                differing = sorted(set(before) ^ set(now))
                raise CheckpointError(
                    "CKPT-022",
                    f"{len(differing)} clips can be read now and could not when the run was saved, "
                    f"or the other way round: {', '.join(differing[:5])}",
                    file=self._out,
                    mend="bring their files back as they were, or start anew with another --out",
                )
            progress.left_out = now
        progress.skipped.update(self._unreadable)

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

        Ranks share the slice, and each gets all scores.

        Raises:
            InputError: ``DATA-024`` as soon as too many clips cannot be read.
        """
        index: list[Tensor] = []

        def batches() -> Iterator[Batch]:
            for counts, batch in self._readable(self._val, progress, device):
                if batch["id"]:
                    index.append(batch["index"].cpu())
                    yield batch
                if sum(counts) and stopped():
                    return

        return gathered_scores(
            network,
            batches(),
            index,
            self._ranks,
            order=self._parts["val"],
            ids=self._ids,
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
    ) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
        """Yield the clips of every rank and this rank's batch, on the device.

        What is left out of any is noted.
        """
        if isinstance(source, SkeletonBatches):
            for batch in source:
                yield tuple(count for (count,) in self._ranks.counts(len(batch["id"]))), batch
            return
        read = source if isinstance(source, Onwards) else loaded(source)
        for batch in moved_ahead(read, device, self._input):
            told = self._ranks.counts(len(batch["id"]), len(batch["skipped"]))
            if any(left_out for _, left_out in told):
                own = {skipped.id: skipped.reason for skipped in batch["skipped"]}
                for text in self._ranks.texts(json.dumps(own)):
                    progress.skipped.update(json.loads(text))
                self._require_readable(progress)
            yield tuple(count for count, _ in told), batch

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
        if not self._ranks.leads:
            return
        lines = (
            json.dumps({"id": clip, "reason": reason}, ensure_ascii=False) + "\n"
            for clip, reason in sorted(progress.skipped.items())
        )
        write_bytes(self._out / SKIPPED_FILE, "".join(lines).encode())


def _first_shape(ranks: Ranks, inputs: tuple[Tensor, ...]) -> tuple[int, ...]:
    """Return the shape of a clip on the first rank that has one."""
    own = [list(part.shape[1:]) for part in inputs]
    shapes = [shape for text in ranks.texts(json.dumps(own)) for shape in json.loads(text)]
    return tuple(shapes[0])


def _make_clips(
    folder: ClipFolder,
    section: RgbSection,
    parts: dict[str, NDArray[np.int64]],
    device: torch.device,
) -> tuple[RgbClips, RgbClips, Mapping[int, str]]:
    """Return the clips with augmentation and without, and those that are known to be unreadable.

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

    wanted = np.concatenate([parts["train"], parts["val"]])
    skipped = {} if cache is None else cache.skipped
    unreadable = {int(clip): skipped[int(clip)] for clip in wanted if int(clip) in skipped}
    return clips(section.augment), clips(None), unreadable
