"""What to push an anchor away from: three samplers of one signature. Paper, Section 3.3.1.

Each works on the whole batch at once, with shapes that do not depend on values and without asking
the device, so that a training step can be replayed as a CUDA graph.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rivals:
    """What negatives are chosen from.

    Attributes:
        similarity: ``(n, k, s)`` cosine of each anchor with each slot.
        usable: ``(n, k, s)`` filled slots of another class and another clip.
        closeness: ``(n, k)`` mean cosine per class, Eq. (10).
        clips: ``(n,)`` the anchors' positions in the data set.
    """

    similarity: Float[Tensor, "n k s"]
    usable: Bool[Tensor, "n k s"]
    closeness: Float[Tensor, "n k"]
    clips: Int[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """Slots chosen for each anchor.

    Attributes:
        place: ``(n, q)`` places in the flattened ``(k s)``, different ones where taken.
        taken: ``(n, q)`` false where there were fewer slots than asked for; the place is then
            meaningless.
    """

    place: Int[Tensor, "n q"]
    taken: Bool[Tensor, "n q"]


class Sampler(Protocol):
    """Chooses up to ``count`` negatives for each anchor.

    ``cap`` is the most from one class and concerns ``class_aware``; ``seed`` is an int64 scalar on
    the device and concerns ``random``.
    """

    def __call__(
        self, rivals: Rivals, *, count: int, cap: int | None, seed: Int[Tensor, ""]
    ) -> Chosen:
        """Return the negatives."""


def hard(rivals: Rivals, *, count: int, cap: int | None, seed: Int[Tensor, ""]) -> Chosen:
    """Choose the ``count`` most similar slots, of whatever class."""
    similarity = rivals.similarity.masked_fill(~rivals.usable, float("-inf")).flatten(1)
    value, place = similarity.topk(min(count, similarity.shape[1]), dim=1, sorted=False)
    return Chosen(place, value > float("-inf"))


def random(rivals: Rivals, *, count: int, cap: int | None, seed: Int[Tensor, ""]) -> Chosen:
    """Choose ``count`` slots with equal chances, none twice.

    The draw is a function of the seed, the anchor's clip and the slot: it does not depend on the
    rest of the batch, nor on the process that draws.
    """
    usable = rivals.usable.flatten(1)
    keys = _keys(seed, rivals.clips, usable.shape[1])
    keys.masked_fill_(~usable, torch.iinfo(torch.int32).min)
    place = keys.topk(min(count, usable.shape[1]), dim=1, sorted=False).indices
    return Chosen(place, usable.gather(1, place))


def class_aware(rivals: Rivals, *, count: int, cap: int | None, seed: Int[Tensor, ""]) -> Chosen:
    r"""Fill up from the classes that the anchor looks like most, the most similar slots first.

    Classes are ranked by :math:`h_c` of Eq. (10); each in turn gives its ``min(cap, available)``
    most similar slots until ``count`` are taken. Paper, Section 3.3.1.

    Departure: which samples of a class come first, and how many, is not said. Without a cap, a
    class of 600 clips gives all 512 negatives of the paper by itself.
    """
    anchors, classes, slots = rivals.usable.shape
    width = min(slots if cap is None else cap, slots, count)
    similarity = rivals.similarity.masked_fill(~rivals.usable, float("-inf"))
    nearest = similarity.topk(width, dim=2).indices
    available = rivals.usable.sum(dim=2).clamp(max=width)
    # a class without usable slots, the anchor's own among them, gives none wherever it ranks
    ranked = rivals.closeness.argsort(dim=1, descending=True, stable=True)
    filled = available.gather(1, ranked).cumsum(dim=1)
    position = torch.arange(min(count, classes * slots), device=filled.device)
    position = position.expand(anchors, -1).contiguous()
    # the position-th negative comes from the first class that fills beyond it
    rank = torch.searchsorted(filled, position, right=True)
    taken = rank < classes
    rank = rank.clamp(max=classes - 1)
    before = filled.gather(1, rank) - available.gather(1, ranked).gather(1, rank)
    label = ranked.gather(1, rank)
    within = (position - before).clamp(max=width - 1)
    slot = nearest.flatten(1).gather(1, label * width + within)
    return Chosen(label * slots + slot, taken)


def mixed(values: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Return 64 well-mixed bits for each integer.

    The finaliser of splitmix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number
    Generators, OOPSLA 2014); products wrap around, and shifts bring in zeros.
    """
    values = values + _signed(0x9E3779B97F4A7C15, 64)
    values = (values ^ _shifted(values, 30, 64)) * _signed(0xBF58476D1CE4E5B9, 64)
    values = (values ^ _shifted(values, 27, 64)) * _signed(0x94D049BB133111EB, 64)
    return values ^ _shifted(values, 31, 64)


def _keys(seed: Tensor, clips: Tensor, places: int) -> Int[Tensor, "n q"]:
    """Return a 32-bit key per anchor and place, all of one anchor different.

    Every operation is a bijection of 32 bits: multiplication by an odd number, exclusive or with
    the anchor's own bits or with higher bits of the same number.
    """
    anchors = (mixed(mixed(seed) ^ clips) & 0x7FFFFFFF).to(torch.int32)
    keys = torch.arange(places, device=clips.device, dtype=torch.int32)
    keys = keys * _signed(0x9E3779B1, 32) ^ anchors[:, None]
    # in place: at the size of a real bank each copy would be as large as the similarities
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        keys ^= _shifted(keys, shift, 32)
        keys *= _signed(factor, 32)
    keys ^= _shifted(keys, 16, 32)
    return keys


def _shifted(values: Tensor, by: int, width: int) -> Tensor:
    return values >> by & ((1 << (width - by)) - 1)


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) else bits
