"""Pull positives, push negatives: Eq. (12)."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from poselens.contrast.ranks import summed, world_size

_ABSENT = -1e9


def info_nce(
    positive: Float[Tensor, "n p"],
    positive_taken: Bool[Tensor, "n p"],
    negative: Float[Tensor, "n q"],
    negative_taken: Bool[Tensor, "n q"],
    *,
    temperature: float,
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    r"""Return each anchor's loss, and whether it has anything to compare.

    .. math:: L = \frac{1}{P} \sum_{p=1}^{P} -\log
        \frac{\exp(s_p / \tau)}{\exp(s_p / \tau) + \sum_{q} \exp(s_q / \tau)}

    Eq. (12), with s the cosines to positives p and negatives q.

    Departure: the equation has one positive and says nothing of 128. Each stands alone against
    all negatives, and the mean is outside the logarithm. An anchor without positives or without
    negatives has loss 0 and does not count.

    Args:
        positive: Cosines to positives.
        positive_taken: Which of them count.
        negative: Cosines to negatives.
        negative_taken: Which of them count.
        temperature: tau.
    """
    count = positive_taken.sum(dim=1)
    counted = (count > 0) & negative_taken.any(dim=1)
    # absence is a number, not minus infinity: the gradient of nothing taken is then 0, not NaN
    pushed = (negative / temperature).masked_fill(~negative_taken, _ABSENT).logsumexp(dim=1)
    pulled = positive / temperature
    each = F.softplus(pushed[:, None] - pulled).masked_fill(~positive_taken, 0.0)
    return (each.sum(dim=1) / count.clamp(min=1)).masked_fill(~counted, 0.0), counted


def mean_over_anchors(
    losses: Float[Tensor, " n"], counted: Bool[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Return the mean over anchors that count, or 0 with zero gradient where none does.

    In a distributed run the sum is divided by the number of anchors of an average rank: the mean
    over ranks, of losses as of gradients, is then that of one process with the whole batch, though
    ranks differ in how many anchors count.
    """
    anchors = summed(counted.sum().to(losses.dtype))
    return losses.sum() * world_size() / anchors.clamp(min=1)
