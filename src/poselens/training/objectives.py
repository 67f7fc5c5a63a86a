"""What a step minimises. Eq. (11) and (13)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Batch = Mapping[str, Any]
"""``inputs`` (tuple of tensors), ``label`` (n,), ``index`` (n,), ``id`` (list of n).

Where several ranks train, ``counts`` has the clips of each. Rows of ``inputs`` beyond n stand in
for clips that a rank does not have, and count for nothing.
"""


@dataclass(frozen=True, eq=False)
class Losses:
    """The loss to minimise, its parts for the log, and the logits it came from.

    Attributes:
        total: Scalar with gradient.
        parts: Name to scalar.
        logits: ``(n, k)``, of this rank.
        right: Clips recognised by all ranks, where there are several; else None.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    logits: Tensor
    right: Tensor | None = None

    def detached(self) -> "Losses":
        """Return the numbers alone: who keeps them does not keep a step's graph alive."""
        parts = {name: part.detach() for name, part in self.parts.items()}
        return Losses(self.total.detach(), parts, self.logits.detach(), self.right)

    def recognised(self, label: Int[Tensor, " n"]) -> int:
        """Return how many clips were recognised, by all ranks together."""
        found = (self.logits.argmax(1) == label).sum() if self.right is None else self.right
        return round(float(found))


Objective = Callable[[nn.Module, Batch], Losses]
"""What differs between branches, and where contrast joins cross entropy: Eq. (13)."""


def mean_cross_entropy(
    logits: Float[Tensor, "n k"], batch: Batch, *, label_smoothing: float
) -> Float[Tensor, ""]:
    """Return the mean over the clips of a batch.

    Where several ranks share one, the sum is divided by the clips of an average rank: the mean over
    ranks, of losses as of gradients, is that over the clips of all, whoever has how many.
    """
    label, counts = batch["label"], batch.get("counts")
    if counts is None:
        return F.cross_entropy(logits, label, label_smoothing=label_smoothing)
    total = F.cross_entropy(logits, label, label_smoothing=label_smoothing, reduction="sum")
    return total * len(counts) / sum(counts)


def cross_entropy(*, label_smoothing: float = 0.0) -> Objective:
    """Return the objective of Eq. (11): cross entropy of the network's logits."""

    def objective(network: nn.Module, batch: Batch) -> Losses:
        logits = network(*batch["inputs"])[: len(batch["label"])]
        loss = mean_cross_entropy(logits, batch, label_smoothing=label_smoothing)
        return Losses(loss, {"ce": loss}, logits)

    return objective
