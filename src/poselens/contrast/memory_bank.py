"""Projected graphs of earlier steps, one row of slots per class. Paper, Section 3.3.1."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from poselens.contrast.ranks import gathered


class MemoryBank(nn.Module):
    """Remember features by class, to compare the next batches with.

    An entry's class is its row. Everything is a buffer, so that a saved state holds the bank.

    Departure: the paper's text has one first-in-first-out memory; the code of its relatives keeps
    one slot per training clip. Both are here (:func:`per_sample_bank`, :func:`fifo_bank`), the
    first as the default. A first-in-first-out bank has a ring per class, so that a frequent class
    does not drive out a rare one. With one slot per clip, a view of a clip that was mirrored into
    another class is an anchor of that class but is not stored. A view that is not finite is not
    stored either.

    Attributes:
        features: ``(k, s, d)`` float32.
        clips: ``(k, s)`` position in the data set of the clip that each slot holds, -1 if empty.
        cursor: ``(k,)`` slot of each ring that is written next; stays 0 with a slot per clip.

    Args:
        num_classes: Rows.
        slots: Slots per row.
        dimensions: Length of a feature.
        homes: Place of each clip by its position in the data set, -1 for none; None for rings.
    """

    features: Tensor
    clips: Tensor
    cursor: Tensor
    homes: Tensor | None

    def __init__(
        self,
        *,
        num_classes: int,
        slots: int,
        dimensions: int,
        homes: Int[Tensor, " p"] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(num_classes, slots, dimensions))
        self.register_buffer("clips", torch.full((num_classes, slots), -1))
        self.register_buffer("cursor", torch.zeros(num_classes, dtype=torch.int64))
        # follows from the training clips, which a resumed run has to share anyway
        self.register_buffer("homes", homes, persistent=False)

    @torch.no_grad()
    def write(
        self,
        features: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
        clips: Int[Tensor, " n"],
        *,
        counts: Sequence[int] | None = None,
    ) -> None:
        """Store the features of a batch, those of all ranks on every rank.

        Nothing waits for the device, unless there are several ranks that do not know each other's
        ``counts``.
        """
        self.store(*gathered(features.detach().float(), labels, clips, counts))

    @torch.no_grad()
    def store(
        self,
        features: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
        clips: Int[Tensor, " n"],
    ) -> None:
        """Store the features of a whole batch; where a clip comes twice the last view is kept."""
        if len(features) == 0:
            return
        known = (labels >= 0) & (clips >= 0) & torch.isfinite(features).all(dim=1)
        if self.homes is None:
            places, stored = self._next_in_ring(labels, clips, known)
        else:
            places, stored = self._at_home(self.homes, labels, clips, known)
        self._put(places, stored, features, clips)

    def _at_home(
        self, homes: Tensor, labels: Tensor, clips: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        last = len(homes) - 1
        places = torch.where(clips <= last, homes[clips.clamp(0, last)], -1)
        own = (places >= 0) & (places // self.clips.shape[1] == labels)
        return places.clamp(min=0), known & own

    def _next_in_ring(self, labels: Tensor, clips: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        slots = self.clips.shape[1]
        same_class = labels[:, None] == labels
        again = same_class & (clips[:, None] == clips) & known
        stored = known & ~again.triu(1).any(dim=1)
        before = (same_class & stored).tril(-1).sum(dim=1)
        rows = labels.clamp(min=0)
        places = rows * slots + (self.cursor[rows] + before) % slots
        self.cursor.index_add_(0, rows, stored.to(torch.int64)).remainder_(slots)
        return places, stored

    def _put(self, places: Tensor, stored: Tensor, features: Tensor, clips: Tensor) -> None:
        """Write each place with its last stored entry, or with what it holds already.

        Entries of one place all write the same values, so their order does not matter.
        """
        order = torch.arange(len(places), device=places.device)
        same = (places[:, None] == places) & stored
        winner = torch.where(same, order, -1).amax(dim=1)
        written = winner >= 0
        winner = winner.clamp(min=0)
        rows, held = self.features.flatten(0, 1), self.clips.flatten()
        kept = torch.where(written[:, None], features[winner], rows[places])
        holder = torch.where(written, clips[winner], held[places])
        # views of the buffers: the buffers themselves change
        rows.index_copy_(0, places, kept)
        held.index_copy_(0, places, holder)


def per_sample_bank(
    *,
    labels: Int[np.ndarray, " n"],
    clips: Int[np.ndarray, " n"],
    num_classes: int,
    dimensions: int,
) -> MemoryBank:
    """Return a bank with one slot for each training clip, in the row of its class.

    Rows are as long as the largest class; what a smaller class leaves over stays empty.

    Args:
        labels: Classes of the training clips; a clip without one (-1) has no slot.
        clips: Their positions in the data set.
        num_classes: Rows.
        dimensions: Length of a feature.
    """
    slots = max(int(np.bincount(labels[labels >= 0], minlength=1).max()), 1)
    homes = np.full(int(clips.max(initial=0)) + 1, -1, np.int64)
    for label in range(num_classes):
        members = clips[labels == label]
        homes[members] = label * slots + np.arange(len(members))
    return MemoryBank(
        num_classes=num_classes,
        slots=slots,
        dimensions=dimensions,
        homes=torch.from_numpy(homes),
    )


def fifo_bank(*, num_classes: int, length: int, dimensions: int) -> MemoryBank:
    """Return a bank that holds the latest ``length`` features of each class."""
    return MemoryBank(num_classes=num_classes, slots=length, dimensions=dimensions)
