"""What to pull an anchor towards. Paper, Section 3.3.2."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from poselens.contrast.negatives import Chosen


def least_similar(
    similarity: Float[Tensor, "n k s"],
    comparable: Bool[Tensor, "n k s"],
    labels: Int[Tensor, " n"],
    *,
    count: int,
) -> Chosen:
    """Choose the ``count`` least similar slots of each anchor's class, or all it has.

    Departure: how positives are chosen is not said; the least similar are what the relatives' code
    takes. It skips anchors of classes with fewer than ``count``; ours take what there is.
    """
    slots = similarity.shape[2]
    anchors = torch.arange(len(labels), device=labels.device)
    usable = comparable[anchors, labels]
    own = similarity[anchors, labels].masked_fill(~usable, float("inf"))
    value, slot = own.topk(min(count, slots), dim=1, largest=False, sorted=False)
    return Chosen(labels[:, None] * slots + slot, value < float("inf"))
