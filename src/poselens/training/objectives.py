"""What a step minimises. Eq. (11) and (13)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
        sound: Whether this rank's own loss and gradient were finite, where there are several; else
            None.
        taken: Whether the step was; false where fp16 overflowed and lowered its scale.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    logits: Tensor
    right: Tensor | None = None
    sound: Tensor | None = None
    taken: bool = True

    def detached(self) -> "Losses":
        """Return the numbers alone: who keeps them does not keep a step's graph alive."""
        parts = {name: part.detach() for name, part in self.parts.items()}
        total, logits = self.total.detach(), self.logits.detach()
        return replace(self, total=total, parts=parts, logits=logits)

    def recognised(self, label: Int[Tensor, " n"]) -> int:
        """Return how many clips were recognised, by all ranks together."""
        found = (self.logits.argmax(1) == label).sum() if self.right is None else self.right
        return round(float(found))


Objective = Callable[[nn.Module, Batch], Losses]
"""What differs between branches, and where contrast joins cross entropy: Eq. (13)."""


@dataclass(frozen=True, eq=False)
class Balance:
    """How rare classes are made up for in the loss.

    Attributes:
        weights: Weight of each class, ``(k,)``; None for 1.
        shift: What is added to the logits of each class, ``(k,)``; None for 0.
    """

    weights: Float[Tensor, " k"] | None = None
    shift: Float[Tensor, " k"] | None = None


UNBALANCED = Balance()
"""Every clip weighs the same."""


def mean_cross_entropy(
    logits: Float[Tensor, "n k"],
    batch: Batch,
    *,
    label_smoothing: float,
    balance: Balance = UNBALANCED,
) -> Float[Tensor, ""]:
    r"""Return the mean over clips of their cross entropy, weighted and adjusted. Eq. (11).

    .. math:: L = \frac{1}{n} \sum_i w_{y_i} CE(z_i + s, y_i)

    Where several ranks share a batch, the sum is divided by the clips of an average rank: the mean
    over ranks, of losses as of gradients, is that over the clips of all, whoever has how many.

    Departure: torch divides by the sum of the weights in a batch; here a clip weighs the same in
    whatever company, so the gradient of parts adds up to that of the batch.
    """
    label, counts = batch["label"], batch.get("counts")
    if balance.shift is not None:
        logits = logits + balance.shift
    if balance.weights is None and counts is None:
        return F.cross_entropy(logits, label, label_smoothing=label_smoothing)
    if balance.weights is None:
        total = F.cross_entropy(logits, label, label_smoothing=label_smoothing, reduction="sum")
    else:
        each = F.cross_entropy(logits, label, label_smoothing=label_smoothing, reduction="none")
        each = balance.weights[label] * each
        if counts is None:
            return each.mean()
        total = each.sum()
    assert counts is not None
    return total * len(counts) / sum(counts)


def cross_entropy(*, label_smoothing: float = 0.0, balance: Balance = UNBALANCED) -> Objective:
    """Return the objective of Eq. (11): cross entropy of the network's logits."""

    def objective(network: nn.Module, batch: Batch) -> Losses:
        logits = network(*batch["inputs"])[: len(batch["label"])]
        loss = mean_cross_entropy(logits, batch, label_smoothing=label_smoothing, balance=balance)
        return Losses(loss, {"ce": loss}, logits)

    return objective
