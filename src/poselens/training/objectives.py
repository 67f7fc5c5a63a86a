"""What a step minimises. Eq. (11) and (13)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
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
        taken: Whether the step was; false where fp16 overflowed and lowered its scale.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    logits: Tensor
    taken: bool = True

    def detached(self) -> "Losses":
        """Return the numbers alone: who keeps them does not keep a step's graph alive."""
        parts = {name: part.detach() for name, part in self.parts.items()}
        return Losses(self.total.detach(), parts, self.logits.detach())


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


def label_loss(
    logits: Float[Tensor, "n k"],
    label: Int[Tensor, " n"],
    *,
    label_smoothing: float,
    balance: Balance,
) -> Float[Tensor, ""]:
    r"""Return the mean over clips of their cross entropy, weighted and adjusted. Eq. (11).

    .. math:: L = \frac{1}{n} \sum_i w_{y_i} CE(z_i + s, y_i)

    Departure: torch divides by the sum of the weights in a batch; here a clip weighs the same in
    whatever company, so the gradient of parts adds up to that of the batch.
    """
    if balance.shift is not None:
        logits = logits + balance.shift
    if balance.weights is None:
        return F.cross_entropy(logits, label, label_smoothing=label_smoothing)
    each = F.cross_entropy(logits, label, label_smoothing=label_smoothing, reduction="none")
    return (balance.weights[label] * each).mean()


def cross_entropy(
    *, label_smoothing: float = 0.0, balance: Balance = Balance()
) -> Objective:  # frozen
    """Return the objective of Eq. (11): cross entropy of the network's logits."""

    def objective(network: nn.Module, batch: Batch) -> Losses:
        logits = network(*batch["inputs"])
        loss = label_loss(logits, batch["label"], label_smoothing=label_smoothing, balance=balance)
        return Losses(loss, {"ce": loss}, logits)

    return objective
