"""SGD with parameter groups, and learning rates as a function of the position in training."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

CLASSIFIERS = ("fc", "classifier", "classify")
"""Names under which networks keep their last linear layer."""


def build_optimizer(
    network: nn.Module,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decay_all: bool,
    head_lr_factor: float,
    beside: nn.Module | None = None,
) -> torch.optim.SGD:
    """Return SGD over the parameters of the network, and of what is trained beside it.

    Each group carries ``lr_factor``, by which :func:`set_learning_rate` multiplies the rate. On a
    GPU the rate is a tensor, so that a recorded step sees it change; the classifier may learn
    faster. Parameters that need no gradient are left out.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    all_of_them = [*network.named_parameters(), *(beside.named_parameters() if beside else ())]
    named = [(name, parameter) for name, parameter in all_of_them if parameter.requires_grad]
    on_gpu = any(parameter.is_cuda for _, parameter in named)
    for name, parameter in named:
        module = name.rpartition(".")[0].rpartition(".")[2]
        factor = head_lr_factor if module in CLASSIFIERS else 1.0
        decay = weight_decay if decay_all or parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.SGD(
        [
            {
                "params": parameters,
                "lr_factor": factor,
                "weight_decay": decay,
                "lr": torch.tensor(lr, device=parameters[0].device) if on_gpu else lr,
            }
            for (factor, decay), parameters in groups.items()
        ],
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        fused=on_gpu,
    )


def learning_rate(
    progress: float,
    *,
    lr: float,
    epochs: int,
    schedule: Literal["step", "cosine"],
    milestones: Sequence[int],
    gamma: float,
    warmup_epochs: int,
) -> float:
    """Return the rate at ``progress`` epochs (fractions within an epoch) since the start.

    A pure function of the position, so that a resumed run needs no state for it. The step schedule
    acts at whole epochs; the warm-up and the cosine move at every step.
    """
    if progress < warmup_epochs:
        return lr * (progress + 1e-2) / (warmup_epochs + 1e-2)
    if schedule == "cosine":
        share = (progress - warmup_epochs) / max(epochs - warmup_epochs, 1e-9)
        return lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return lr * gamma ** sum(progress >= milestone for milestone in milestones)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set every group to ``lr`` times its factor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr * group["lr_factor"])
        else:
            group["lr"] = lr * group["lr_factor"]
