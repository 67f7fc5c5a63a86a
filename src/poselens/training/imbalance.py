"""What makes up for rare classes in the loss."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from poselens.training.objectives import Balance


def class_weights(
    counts: Int[np.ndarray, " k"], kind: Literal["inverse", "effective"], *, beta: float
) -> Float[Tensor, " k"]:
    r"""Return the weight of each class in the loss.

    .. math:: w_c \propto \frac{1}{n_c} \quad\text{or}\quad
        w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}

    ``effective`` is the inverse of the effective number of samples (Cui et al., Class-Balanced Loss
    Based on Effective Number of Samples, CVPR 2019, Eq. (2)): beta 0 gives every class the same
    weight, beta towards 1 that of ``inverse``.

    Departure: there weights sum to the number of classes; here their mean over the training clips
    is 1, so that the loss, and with it the learning rate, keeps its size. Ratios are the same.

    Args:
        counts: Training clips of each class; a class without any has weight 0 and no say.
        kind: Which.
        beta: Of ``effective``.
    """
    clips = counts.astype(np.float64)
    number = clips if kind == "inverse" else (1 - beta**clips) / (1 - beta)
    raw = np.divide(1.0, number, out=np.zeros_like(number), where=clips > 0)
    return torch.from_numpy((raw * clips.sum() / (raw * clips).sum()).astype(np.float32))


def log_frequency(counts: Int[np.ndarray, " k"], *, tau: float) -> Float[Tensor, " k"]:
    r"""Return what is added to the logits of each class in training.

    .. math:: s_c = \tau \log \frac{n_c}{\sum_j n_j}

    Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, Eq. (10). Logits at test are
    as they are.

    Departure: a class without clips counts as one clip, where the logarithm has no value.
    """
    clips = np.maximum(counts, 1).astype(np.float64)
    return torch.from_numpy((tau * np.log(clips / clips.sum())).astype(np.float32))


def balance_of(
    labels: Int[np.ndarray, " n"],
    *,
    num_classes: int,
    weights: Literal["none", "inverse", "effective"],
    beta: float,
    tau: float,
    device: torch.device,
) -> Balance:
    """Return how the loss of a run makes up for rare classes.

    Frequencies are those of the labels as stored, before a clip is mirrored into another class.

    Args:
        labels: Of the training clips.
        num_classes: Classes of the data set.
        weights: ``training.class_weights``.
        beta: ``training.class_beta``.
        tau: ``training.logit_adjustment``.
        device: Where the network is.
    """
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    return Balance(
        None if weights == "none" else class_weights(counts, weights, beta=beta).to(device),
        log_frequency(counts, tau=tau).to(device) if tau else None,
    )
