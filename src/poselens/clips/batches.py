"""Batches: which clips in which order, read by processes of their own, moved to a device."""

import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawArray
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from poselens.clips.assemble import Item, Key, RgbClips, Sample, SkippedClip
from poselens.clips.look import make_clips, normalised
from poselens.clips.stream import RgbInput
from poselens.errors import EnvironmentFault, PoselensError

Share = tuple[int, int] | tuple[int, int, int]
"""Which part of every batch is wanted, counted from 0, and of how many parts.

A third number is the size of micro-batches: of each of them that part is wanted.
"""


def share_of(count: int, share: tuple[int, int]) -> slice:
    """Return the places of a part of ``count``; all parts together are everything, in order.

    No two parts differ by more than one, and a part may be empty.
    """
    part, parts = share
    return slice(count * part // parts, count * (part + 1) // parts)


def pieces_of(count: int, size: int | None) -> list[slice]:
    """Return the micro-batches of ``count`` clips: as few as are no larger than ``size``."""
    pieces = max(1, -(-count // (size or max(count, 1))))
    return [share_of(count, (piece, pieces)) for piece in range(pieces)]


def places_of(count: int, share: Share) -> slice | NDArray[np.int64]:
    """Return the places of a share of a batch: one behind the other, or some of each micro-batch.

    What several ranks compute together in each micro-batch is then what one process would.
    """
    part, parts, *size = share
    if not size or parts == 1:
        return share_of(count, (part, parts))
    places = np.arange(count)
    own = (places[piece] for piece in pieces_of(count, size[0]))
    return np.concatenate([piece[share_of(len(piece), (part, parts))] for piece in own])


class _Watched(Dataset[Item]):
    """Notes for the parent which clip each data process is at.

    Args:
        clips: What makes samples.
        workers: Data processes.
    """

    def __init__(self, clips: RgbClips, workers: int) -> None:
        self._clips = clips
        # for each process, its number and the clip; shared memory outlives a killed process
        self._at = RawArray("q", [-1] * (2 * workers))

    def __getitem__(self, key: Key) -> Item:
        worker = get_worker_info()
        if worker is None:
            return self._clips[key]
        place = 2 * worker.id
        self._at[place : place + 2] = [os.getpid(), key[2]]
        item = self._clips[key]
        self._at[place + 1] = -1
        return item

    def left(self, told: str) -> list[str]:
        """Return the clips that the processes named in a text of torch were at."""
        dead = {int(number) for number in re.findall(r"[0-9]+", told)}
        pairs = zip(self._at[::2], self._at[1::2], strict=True)
        return [self._clips.identity(clip) for pid, clip in pairs if pid in dead and clip >= 0]


class EpochBatches:
    """Yields the keys of each batch that remains at a position of training.

    Attributes:
        epoch: Epoch to yield.
        first_step: Step of it to begin with.
        until: Epoch before which to end; None for the end of ``epoch``.

    Args:
        clips: Positions in the data set.
        batch_size: Keys per batch; the last batch of an epoch may be smaller.
        seed: Seed of the order.
        repeats: How often each clip occurs in an epoch.
        shuffle: Off for evaluation.
        share: The part of every batch that is yielded. The number of batches does not depend on
            it: a part may be empty.
    """

    def __init__(
        self,
        clips: Sequence[int] | NDArray[np.int64],
        *,
        batch_size: int,
        seed: int = 0,
        repeats: int = 1,
        shuffle: bool = True,
        share: Share = (0, 1),
    ) -> None:
        self._clips = np.asarray(clips, dtype=np.int64)
        self._repeats = repeats
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._share = share
        self.epoch = 0
        self.first_step = 0
        self.until: int | None = None
        self._labels: NDArray[np.int64] | None = None

    def balance(self, labels: NDArray[np.int64]) -> None:
        """Let every class come equally often, as :func:`balanced_order` says.

        Args:
            labels: Class of each clip.
        """
        self._labels = labels

    def __len__(self) -> int:
        return -(-len(self._clips) * self._repeats // self._batch_size)

    def order(self, epoch: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return repeat and position in the data set of each place of an epoch, or of this one."""
        epoch = self.epoch if epoch is None else epoch
        count = len(self._clips) * self._repeats
        if self._labels is not None:
            repeat, place = balanced_order(self._labels, count, (self._seed, epoch))
            return repeat, self._clips[place]
        places = np.arange(count)
        if self._shuffle:
            np.random.default_rng((self._seed, epoch)).shuffle(places)
        if not len(places):
            return places, places
        repeat, clip = np.divmod(places, len(self._clips))
        return repeat, self._clips[clip]

    def __iter__(self) -> Iterator[list[Key]]:
        first = self.first_step
        for epoch in range(self.epoch, self.epoch + 1 if self.until is None else self.until):
            repeat, clip = self.order(epoch)
            for step in range(first, len(self)):
                chosen = slice(step * self._batch_size, (step + 1) * self._batch_size)
                own = places_of(len(clip[chosen]), self._share)
                pairs = zip(repeat[chosen][own].tolist(), clip[chosen][own].tolist(), strict=True)
                yield [(epoch, *pair) for pair in pairs]
            first = 0


def balanced_order(
    labels: NDArray[np.int64], count: int, words: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an epoch in which every class comes equally often, as repeats and places of clips.

    Each class of K has ``count // K`` places; who gets what is left over is drawn. Within a class
    clips come in rounds, each in a new random order: a clip comes at most once more often than
    another of its class, and where a class has fewer places than clips, others come in each epoch.
    The repeat is the round, so that two views of a clip in an epoch are two.

    Departure: drawing a class for each place leaves the numbers of classes to chance; here they
    differ by one at most, and are equal in expectation.

    Args:
        labels: Class of each clip; classes without any have no places.
        count: Places in the epoch.
        words: Seed and epoch, of which the order is a function.
    """
    rng = np.random.default_rng(words)
    classes = np.unique(labels)
    places = np.full(len(classes), count // max(len(classes), 1))
    places[rng.permutation(len(classes))[: count - places.sum()]] += 1
    repeats, chosen = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for label, wanted in zip(classes, places, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = -(-wanted // len(members))
        repeats.append(np.repeat(np.arange(rounds), len(members))[:wanted])
        chosen.append(
            np.concatenate([members[:0], *map(rng.permutation, [members] * rounds)])[:wanted]
        )
    repeat, place = np.concatenate(repeats), np.concatenate(chosen)
    order = rng.permutation(len(place))
    return repeat[order], place[order]


def collate(items: Sequence[Item]) -> dict[str, Any]:
    """Stack samples to a batch; skipped clips, and the first fault, go beside it."""
    good = [item for item in items if isinstance(item, Sample)]
    # torch's own collation stacks into shared memory in a data process. A batch that is stacked and
    # then moved there leaves a hole in the heap, which grows by the size of a batch each time.
    inputs: tuple[Tensor, ...] = tuple(default_collate([s.inputs for s in good])) if good else ()
    looks = [s.look for s in good if s.look is not None]
    return {
        "inputs": inputs,
        "look": torch.stack(looks) if looks else None,
        "label": torch.tensor([s.label for s in good], dtype=torch.int64),
        "index": torch.tensor([s.clip for s in good], dtype=torch.int64),
        "id": [s.id for s in good],
        "skipped": [item for item in items if isinstance(item, SkippedClip)],
        "fault": next((item for item in items if isinstance(item, PoselensError)), None),
    }


def make_loader(clips: RgbClips, batches: EpochBatches, *, workers: int) -> DataLoader[Item]:
    """Return a loader whose workers live as long as it does.

    It draws nothing from torch's own generator, which a resumed run has to find as it was left.
    """
    return DataLoader(
        _Watched(clips, workers),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),
    )


def _leave_signals_to_the_parent(_worker: int) -> None:
    # Ctrl-C and schedulers signal the whole group; a worker that died of it would take the run
    # down before its state is saved. The parent's own SIGTERM is torch's last means to end it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def loaded(loader: DataLoader[Item]) -> Iterator[dict[str, Any]]:
    """Yield the batches of a loader.

    Raises:
        PoselensError: What a worker met and no other clip would mend: a wrong setting, no memory.
        EnvironmentFault: ``ENV-011`` a data process was killed, with the clips it was at.
    """
    try:
        for batch in loader:
            fault: PoselensError | None = batch.pop("fault")
            if fault is not None:
                try:
                    raise fault
                finally:
                    # its traceback holds this frame: the circle would keep the workers alive
                    del fault
            yield batch
    except RuntimeError as killed:
        if "DataLoader worker" not in str(killed):
            raise
        dataset = loader.dataset
        clips = dataset.left(str(killed)) if isinstance(dataset, _Watched) else []
        raise _worker_killed(clips) from killed


def _worker_killed(clips: Sequence[str]) -> EnvironmentFault:
    return EnvironmentFault(
        "ENV-011",
        "a data process was killed, likely because memory or the space of /dev/shm ran out",
        where=f"clip {', '.join(clips)}" if clips else None,
        mend="use fewer of them (--set training.workers=1) or smaller batches, then go on with "
        "--resume; look at the clip if it is the same again",
    )


@contextmanager
def memory_faults_named(batch_size: int, *, of: str = "", instead: str = "") -> Iterator[None]:
    """Say in the user's terms that memory ran out while the block ran.

    Args:
        batch_size: Clips a step.
        of: What a clip is: frames and size.
        instead: A setting that works beside a smaller batch.

    Raises:
        EnvironmentFault: ``ENV-011`` a data process was killed, ``ENV-012`` the GPU is full.
    """
    try:
        yield
    except RuntimeError as fault:
        if memory_ended(fault):
            raise EnvironmentFault(
                "ENV-012",
                f"the GPU's memory is full with {batch_size} clips{of} a step",
                mend=f"use {instead}--set training.batch_size={max(batch_size // 2, 1)} or smaller "
                "pictures; fewer --jobs where several runs share it",
            ) from fault
        if "DataLoader worker" not in str(fault):
            raise
        raise _worker_killed([]) from fault


def memory_ended(fault: RuntimeError) -> bool:
    """Return whether an error means that a GPU's memory is full.

    torch's own allocator has a class for it. What CUDA and its libraries allocate by themselves
    (contexts, handles, graphs), which fails where several processes fill one GPU, has only words.
    """
    if isinstance(fault, torch.OutOfMemoryError):
        return True
    said = str(fault)
    return "CUDA error: out of memory" in said or "STATUS_ALLOC_FAILED" in said


def to_device(
    batch: Mapping[str, Any], device: torch.device, settings: RgbInput | None = None
) -> dict[str, Any]:
    """Move a batch; pictures in uint8 become floats of zero mean and unit deviation there.

    Args:
        batch: As :func:`collate` makes it. Where it has a ``look``, its inputs are whole regions,
            and the network's input is made of them on the device.
        device: Where the network is.
        settings: From video to input; read where there is a ``look``.
    """
    inputs: list[Tensor] = []
    numbers: Tensor | None = batch.get("look")
    for tensor in batch["inputs"]:
        moved = tensor.to(device, non_blocking=True)
        if numbers is not None and settings is not None:
            moved = make_clips(moved, numbers, settings)
        elif moved.dtype == torch.uint8:
            moved = normalised(moved)
        inputs.append(moved)
    label = batch["label"].to(device, non_blocking=True)
    return {**batch, "inputs": tuple(inputs), "look": None, "label": label}
