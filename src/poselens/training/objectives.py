"""What a step minimises. Eq. (11) and (13)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

Batch = Mapping[str, Any]
"""``inputs`` (tuple of tensors), ``label`` (n,), ``index`` (n,), ``id`` (list of n)."""


@dataclass(frozen=True, eq=False)
class Losses:
    """The loss to minimise, its parts for the log, and the logits it came from.

    Attributes:
        total: Scalar with gradient.
        parts: Name to scalar.
        logits: ``(n, k)``.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    logits: Tensor

    def detached(self) -> "Losses":
        """Return the numbers alone: who keeps them does not keep a step's graph alive."""
        parts = {name: part.detach() for name, part in self.parts.items()}
        return Losses(self.total.detach(), parts, self.logits.detach())


Objective = Callable[[nn.Module, Batch], Losses]
"""What differs between branches, and where contrast joins cross entropy: Eq. (13)."""


def cross_entropy(*, label_smoothing: float = 0.0) -> Objective:
    """Return the objective of Eq. (11): cross entropy of the network's logits."""

    def objective(network: nn.Module, batch: Batch) -> Losses:
        logits = network(*batch["inputs"])
        loss = F.cross_entropy(logits, batch["label"], label_smoothing=label_smoothing)
        return Losses(loss, {"ce": loss}, logits)

    return objective
