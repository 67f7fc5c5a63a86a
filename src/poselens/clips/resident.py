"""Skeletons of a run, read once and kept where the network is; batches are prepared there.

A network for skeletons takes tens of thousands of them a second, more than processes can prepare
clip by clip. What a sample looks like is a function of (seed, epoch, place in the epoch) alone, and
its jitter and lost joints of (seed, epoch, step), so a run may go on in the middle of an epoch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from poselens.clips.assemble import mirrored_label
from poselens.clips.batches import EpochBatches, Share, places_of
from poselens.clips.disturb import Disturbance
from poselens.clips.stream import SkeletonAugment, SkeletonInput
from poselens.data.folder import ClipFolder
from poselens.errors import InputError, SkeletonError
from poselens.pose.layouts import get_layout
from poselens.skeleton.augment import Draws, draw, jitter, lost_joints
from poselens.skeleton.prepare import NO_DRAWS, ReadyBatch, prepare_batch
from poselens.skeleton.ready import ReadyClip, ready
from poselens.skeleton.streams import stream

SHARE = 0.25
"""Largest share of a GPU's free memory that clips may take."""


@dataclass(frozen=True, eq=False)
class ReadyClips:
    """Clips of a data set, made ready, one behind the other.

    Attributes:
        folder: The data set.
        device: Where batches are wanted.
        rows: Frames of all clips, on the device, or on the host where they do not fit.
        clips: Positions in the data set of those that can be read.
        start: First row of each of them.
        frames: Frames of each.
        origin: Origin of each, on the device.
        length: Mean bone length of each, on the device.
        skipped: Position of a clip that cannot be read to the reason.
    """

    folder: ClipFolder
    device: torch.device
    rows: Float[Tensor, "r m v c"]
    clips: Int[np.ndarray, " e"]
    start: Int[np.ndarray, " e"]
    frames: Int[np.ndarray, " e"]
    origin: Float[Tensor, "e c"]
    length: Float[Tensor, " e"]
    skipped: Mapping[int, str]

    def reasons(self) -> dict[str, str]:
        """Return id to reason of the clips that cannot be read."""
        return {str(self.folder.ids[clip]): text for clip, text in self.skipped.items()}

    def entries(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where clips of the data set stand among these."""
        order = np.argsort(self.clips)
        return order[np.searchsorted(self.clips, clips, sorter=order)]


def read_ready(
    folder: ClipFolder,
    clips: Sequence[int] | NDArray[np.int64],
    settings: SkeletonInput,
    *,
    device: torch.device,
    share: float = SHARE,
    disturb: Disturbance | None = None,
) -> ReadyClips:
    """Read clips once, note those that cannot be read, and put the rest on the device.

    Args:
        folder: A data set with skeletons in ``settings.space``.
        clips: Positions in the data set, each once.
        settings: From joints to input.
        device: Where batches are wanted.
        share: Share of a GPU's free memory that the clips may take; beyond it they stay on the
            host, and each batch is moved by itself.
        disturb: What goes wrong with each clip before it is made ready.

    Raises:
        UsageError: ``CFG-021``, ``CFG-022`` for a stream that the layout does not have.
    """
    stored = folder.info.skeletons[settings.space]
    layout = get_layout(stored.layout)
    settings.pairs_of(layout)
    found: list[ReadyClip] = []
    readable: list[int] = []
    skipped: dict[int, str] = {}
    with _shown("reading skeletons", len(clips)) as advance:
        for clip in map(int, clips):
            try:
                found.append(_read_one(folder, clip, settings, disturb))
                readable.append(clip)
            except InputError as fault:
                skipped[clip] = f"{fault.code} {fault}"
            advance()
    frames = np.array([len(clip.positions) for clip in found], dtype=np.int64)
    origin = np.array([clip.origin for clip in found], dtype=np.float32)
    rows = _one_behind_the_other(found, (settings.people, len(layout), stored.dimensions))
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if rows.numel() * rows.element_size() <= share * free:
            rows = rows.to(device)
    return ReadyClips(
        folder=folder,
        device=device,
        rows=rows,
        clips=np.array(readable, dtype=np.int64),
        start=np.cumsum(frames) - frames,
        frames=frames,
        origin=torch.from_numpy(origin.reshape(-1, stored.dimensions)).to(device),
        length=torch.tensor([clip.length for clip in found]).to(device),
        skipped=skipped,
    )


def _read_one(
    folder: ClipFolder, clip: int, settings: SkeletonInput, disturb: Disturbance | None
) -> ReadyClip:
    skeleton, identity = folder.skeleton(clip, settings.space), str(folder.ids[clip])
    if skeleton is None:
        raise SkeletonError("SKEL-011", "the clip has no skeleton", where=identity)
    if disturb is not None:
        skeleton = disturb.joints(skeleton, identity)
    return ready(
        skeleton.positions,
        layout=get_layout(folder.info.skeletons[settings.space].layout),
        people=settings.people,
        face=settings.face,
    )


def _one_behind_the_other(
    found: list[ReadyClip], shape: tuple[int, int, int]
) -> Float[Tensor, "r m v c"]:
    """Join the clips' frames and forget the clips' own, so that memory holds them once."""
    rows = torch.empty((sum(len(clip.positions) for clip in found), *shape))
    start = 0
    for place, clip in enumerate(found):
        end = start + len(clip.positions)
        rows[start:end] = torch.from_numpy(clip.positions)
        found[place] = replace(clip, positions=clip.positions[:0].copy())
        start = end
    return rows


@contextmanager
def _shown(title: str, total: int) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


def select(ready_clips: ReadyClips, entries: NDArray[np.int64]) -> ReadyBatch:
    """Return a batch: a view of all rows where they lie on the device, else its own rows there."""
    device = ready_clips.device
    start, frames = ready_clips.start[entries], ready_clips.frames[entries]
    if ready_clips.rows.device.type == device.type:
        return _batch(ready_clips, entries, ready_clips.rows, start)
    return _batch(ready_clips, entries, *moved_rows(ready_clips.rows, start, frames, device))


def moved_rows(
    rows: Float[Tensor, "r m v c"],
    start: NDArray[np.int64],
    frames: NDArray[np.int64],
    device: torch.device,
) -> tuple[Float[Tensor, "b m v c"], NDArray[np.int64]]:
    """Copy the rows of some clips to the device; returns them and where each clip starts there."""
    first = np.cumsum(frames) - frames
    wanted = np.repeat(start - first, frames) + np.arange(frames.sum())
    return _to(rows[torch.from_numpy(wanted)], device), first


def _batch(
    ready_clips: ReadyClips,
    entries: NDArray[np.int64],
    rows: Float[Tensor, "r m v c"],
    start: NDArray[np.int64],
) -> ReadyBatch:
    device = ready_clips.device
    # one copy for the three, not three
    numbers = np.stack([entries, start, ready_clips.frames[entries]])
    entry, first, frames = _to(torch.from_numpy(numbers), device)
    return ReadyBatch(
        rows=rows,
        start=first,
        frames=frames,
        origin=ready_clips.origin[entry],
        length=ready_clips.length[entry],
        longest=int(ready_clips.frames.max()),
    )


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class SkeletonBatches:
    """Yields the batches that remain at a position of training, on the device of the clips.

    Attributes:
        clips: Positions in the data set of the clips that are yielded.
        epoch: Epoch to yield.
        first_step: Step to begin with.

    Args:
        ready_clips: The clips, made ready.
        clips: Positions in the data set; those that cannot be read are left out of the order.
        settings: From joints to input, as the clips were made ready with.
        augment: Training: in random order, varied. None: in order, as they are.
        batch_size: Clips per batch; the last batch of an epoch may be smaller.
        seed: Seed of order and variation.
        repeats: How often each clip occurs in an epoch.
        share: The part of every batch that is yielded; one without clips has no inputs.
    """

    def __init__(
        self,
        ready_clips: ReadyClips,
        clips: Sequence[int] | NDArray[np.int64],
        *,
        settings: SkeletonInput,
        augment: SkeletonAugment | None,
        batch_size: int,
        seed: int = 0,
        repeats: int = 1,
        share: Share = (0, 1),
    ) -> None:
        folder = ready_clips.folder
        self._ready = ready_clips
        self._settings = settings
        self._augment = augment
        self._batch_size = batch_size
        self._seed = seed
        self._share = share
        self._layout = get_layout(folder.info.skeletons[settings.space].layout)
        self._pairs = settings.pairs_of(self._layout)
        wanted = np.asarray(clips, dtype=np.int64)
        self.clips = wanted[np.isin(wanted, ready_clips.clips)]
        self._order = EpochBatches(
            self.clips,
            batch_size=batch_size,
            seed=seed,
            repeats=repeats,
            shuffle=augment is not None,
        )
        others = [mirrored_label(folder, label) for label in range(len(folder.info.classes))]
        # the last is found by the label -1 of a clip without one
        self._mirrored = np.array([-1 if other is None else other for other in others] + [-1])
        self.epoch = 0
        self.first_step = 0

    def balance(self) -> None:
        """Let every class come equally often (``batches.balanced_order``)."""
        self._order.balance(self._ready.folder.labels[self.clips])

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        ready_clips, device, epoch = self._ready, self._ready.device, self.epoch
        self._order.epoch = epoch
        _, clips = self._order.order()
        entries = ready_clips.entries(clips)
        labels = ready_clips.folder.labels[clips]
        draws = self._draws(epoch, self._mirrored[labels] >= 0)
        if draws.mirrored is not None:
            labels = np.where(draws.mirrored.numpy(), self._mirrored[labels], labels)
        draws = draws.to(device)
        places = torch.from_numpy(np.stack([labels, clips])).to(device)
        for step in range(self.first_step, len(self)):
            first = step * self._batch_size
            whole = min(self._batch_size, len(clips) - first)
            batch, part = slice(first, first + whole), places_of(whole, self._share)
            # the noise of a step is drawn for its whole batch, whoever takes which part
            varied = self._with_noise(draws.at(batch), epoch, step, whole)
            label, index = places[:, batch][:, part]
            yield {
                "inputs": self._inputs(entries[batch][part], varied.at(part)),
                "label": label,
                "index": index,
                "id": [str(name) for name in ready_clips.folder.ids[clips[batch][part]]],
            }

    def _inputs(self, entries: NDArray[np.int64], draws: Draws) -> tuple[Tensor, ...]:
        """Return the network's input of some clips, nothing of none."""
        if not len(entries):
            return ()
        joints = prepare_batch(
            select(self._ready, entries),
            layout=self._layout,
            window=self._settings.window,
            sample=self._settings.sample,
            interval=self._settings.interval,
            footing=self._settings.footing,
            draws=draws,
        )
        return (stream(joints, self._settings.stream, self._layout, custom=self._pairs),)

    def _draws(self, epoch: int, may_mirror: NDArray[np.bool_]) -> Draws:
        """Draw what every sample of an epoch is varied by."""
        if self._augment is None:
            return NO_DRAWS
        return draw(
            torch.from_numpy(may_mirror),
            dimensions=self._ready.rows.shape[-1],
            window=self._settings.window,
            sample=self._settings.sample,
            generator=_generator("cpu", self._seed, epoch),
            **self._augment.arguments(),
        )

    def _with_noise(self, draws: Draws, epoch: int, step: int, count: int) -> Draws:
        """Draw a step's jitter and lost joints where they are used: they are many."""
        if self._augment is None or not (self._augment.noise or self._augment.dropped):
            return draws
        generator = _generator(self._ready.device, self._seed, epoch, step)
        people, joints, dimensions = self._ready.rows.shape[1:]
        noise = lost = None
        if self._augment.noise:
            shape = (count, self._settings.window, people, joints, dimensions)
            noise = jitter(shape, deviation=self._augment.noise, generator=generator)
        if self._augment.dropped:
            lost = lost_joints(
                (count, people, joints), share=self._augment.dropped, generator=generator
            )
        return replace(draws, jitter=noise, lost=lost)


def _generator(device: torch.device | str, *words: int) -> torch.Generator:
    """Return a generator of its own for each sequence of words; torch's own is left alone."""
    seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(seed)
