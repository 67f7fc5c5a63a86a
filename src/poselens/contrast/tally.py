"""What was contrasted with what, per epoch: the sampler made visible."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from poselens.contrast.negatives import Chosen
from poselens.contrast.ranks import summed


@dataclass(frozen=True, eq=False)
class Contrasted:
    """What a tally holds; rows are classes of anchors, columns classes in the bank.

    Attributes:
        taken: Negatives taken, ``(k, k)`` int64, by sampler.
        similarity: Mean over anchors of h of Eq. (10), ``(k, k)`` float64; NaN without any.
        compared: How many anchors that is a mean over, ``(k, k)`` int64.
    """

    taken: dict[str, Int[np.ndarray, "k k"]]
    similarity: Float[np.ndarray, "k k"]
    compared: Int[np.ndarray, "k k"]


class Tally(nn.Module):
    """Count negatives by class of anchor and class, and sum up the similarity of classes.

    Buffers only, so that a saved state holds it; the same on every rank.

    Args:
        num_classes: Classes, k.
        samplers: Names of the samplers, in the order in which :meth:`add` is given their choices.
    """

    sums: Tensor

    def __init__(self, *, num_classes: int, samplers: Sequence[str]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.samplers = tuple(samplers)
        # negatives by sampler, then the sum of h, then how many; counts are exact in float64
        shape = (len(self.samplers) + 2, num_classes**2)
        self.register_buffer("sums", torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def add(
        self,
        labels: Int[Tensor, " n"],
        closeness: Float[Tensor, "n k"],
        chosen: Sequence[Chosen],
        *,
        slots: int,
    ) -> None:
        """Add a batch: the anchors' classes, h of Eq. (10), each sampler's choice."""
        found = torch.zeros_like(self.sums)
        row = labels[:, None] * self.num_classes
        for counts, choice in zip(found, chosen, strict=False):
            cell = row + torch.div(choice.place, slots, rounding_mode="floor")
            counts.index_add_(0, cell.flatten(), choice.taken.flatten().to(counts.dtype))
        cell = (row + torch.arange(self.num_classes, device=row.device)).flatten()
        compared = closeness > float("-inf")
        total = closeness.masked_fill(~compared, 0.0)
        found[-2].index_add_(0, cell, total.flatten().to(found.dtype))
        found[-1].index_add_(0, cell, compared.flatten().to(found.dtype))
        self.sums += summed(found)

    def reset(self) -> None:
        """Begin anew."""
        self.sums.zero_()

    def read(self) -> Contrasted:
        """Return what was added since the last reset."""
        sums = self.sums.cpu().numpy().reshape(-1, self.num_classes, self.num_classes)
        taken = {
            name: counts.astype(np.int64)
            for name, counts in zip(self.samplers, sums[:-2], strict=True)
        }
        compared = sums[-1].astype(np.int64)
        similarity = np.full(compared.shape, np.nan)
        np.divide(sums[-2], compared, out=similarity, where=compared > 0)
        return Contrasted(taken, similarity, compared)
