"""How much an anchor looks like each class: Eq. (10)."""

from jaxtyping import Bool, Float, Int
from torch import Tensor


def comparable_slots(held: Int[Tensor, "k s"], clips: Int[Tensor, " n"]) -> Bool[Tensor, "n k s"]:
    """Return the slots each anchor is compared with: filled ones of clips other than its own.

    An anchor's own clip may lie in several slots, also of another class, where it was mirrored.
    """
    return (held >= 0) & (held != clips[:, None, None])


def class_similarity(
    similarity: Float[Tensor, "n k s"], comparable: Bool[Tensor, "n k s"]
) -> Float[Tensor, "n k"]:
    r"""Return each anchor's mean cosine to the slots of each class; -inf for a class without any.

    .. math:: h_c = \frac{1}{M_c} \sum_{m=1}^{M_c}
        \frac{z_j \cdot z_m}{\lVert z_j \rVert \lVert z_m \rVert}

    Eq. (10).

    Departure: the equation's phi is dropped, since z is a feature already. The anchor's own clip
    does not count.
    """
    count = comparable.sum(dim=2)
    total = similarity.masked_fill(~comparable, 0.0).sum(dim=2)
    return (total / count.clamp(min=1)).masked_fill(count == 0, float("-inf"))
