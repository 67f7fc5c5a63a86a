"""Batches made ready before they are asked for: by data processes, and by a GPU's copies."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from poselens.clips.assemble import Item
from poselens.clips.batches import EpochBatches, loaded, to_device
from poselens.clips.stream import RgbInput


class Onwards:
    """Reads the batches of a loader epoch by epoch, and lets its processes go on meanwhile.

    The order of every epoch is known ahead. To the processes all epochs are one sequence: while one
    ends and during validation they read for the next, as far as their queue reaches, and no epoch
    begins with an empty queue. What is yielded, and in which order, is the same.

    Attributes:
        loader: The loader.

    Args:
        loader: Over ``batches``.
        batches: The order.
        epochs: Where the sequence ends.
    """

    def __init__(self, loader: DataLoader[Item], batches: EpochBatches, *, epochs: int) -> None:
        self.loader = loader
        self._batches = batches
        self._epochs = epochs
        self._at = (0, 0)
        self._reads: tuple[int, int] | None = None
        self._running: Iterator[dict[str, Any]] = iter(())

    def go_to(self, epoch: int, step: int) -> None:
        """Say where to go on; where the sequence stands there already, it is not disturbed."""
        self._at = (epoch, step)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield what remains of the epoch.

        Raises:
            PoselensError: As ``poselens.clips.batches.loaded``.
        """
        epoch, first = self._at
        if self._reads != self._at:
            self._batches.epoch, self._batches.first_step = self._at
            self._batches.until = max(self._epochs, epoch + 1)
            self._running = loaded(self.loader)
        for step in range(first, len(self._batches)):
            # a fault leaves no position to go on from
            self._reads = None
            batch = next(self._running)
            last = step + 1 == len(self._batches)
            self._reads = (epoch + 1, 0) if last else (epoch, step + 1)
            yield batch


def moved_ahead(
    batches: Iterable[Mapping[str, Any]], device: torch.device, settings: RgbInput | None
) -> Iterator[dict[str, Any]]:
    """Yield batches on the device; to a GPU each is copied while the one before it is used.

    Copies go through a stream of their own, from pinned memory, so they wait for nothing that was
    queued before. On a CPU no batch is read before it is asked for.

    Args:
        batches: As ``poselens.clips.batches.collate`` makes them.
        device: Where the network is.
        settings: As ``poselens.clips.batches.to_device``.
    """
    if device.type != "cuda":
        for batch in batches:
            yield to_device(batch, device, settings)
        return
    beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    held: tuple[dict[str, Any], torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(beside):
            moved = to_device(batch, device, settings)
        done = beside.record_event()
        if held is not None:
            yield _handed_over(*held, device)
        held = (moved, done)
    if held is not None:
        yield _handed_over(*held, device)


def _handed_over(
    batch: dict[str, Any], done: torch.cuda.Event, device: torch.device
) -> dict[str, Any]:
    """Make the network's stream wait for a copy, and the memory for the network's stream."""
    here = torch.cuda.current_stream(device)
    here.wait_event(done)
    for tensor in (*batch["inputs"], batch["label"]):
        assert isinstance(tensor, Tensor)
        tensor.record_stream(here)
    return batch
