"""Pictures of a page as data URIs, no more of them than a number of bytes allows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from poselens.evaluation.explorer import AttributionStrip, ClipCard, ConfusedPair, FrameStrip
from poselens.evaluation.page import picture

PICTURE_BUDGET = 12_000_000
"""Bytes that the pictures of a report may take: a page of this size opens at once anywhere."""

FIRST_PAIRS = 6
"""Pairs whose pictures come before any others."""

_QUALITY = 80

Strip = FrameStrip | AttributionStrip


@dataclass(frozen=True, eq=False)
class Pictures:
    """Encoded pictures of a page.

    Attributes:
        uris: By the identity of the strip they show.
        taken: Bytes they take in the page.
        left_out: Strips without a picture because the budget was spent.
        budget: Bytes they were allowed.
    """

    uris: Mapping[int, str]
    taken: int
    left_out: int
    budget: int

    def of(self, strip: Strip) -> str | None:
        """Return the data URI of a strip, or None where it was left out."""
        return self.uris.get(id(strip))


def encode_within(wanted: Iterable[Strip], budget: int = PICTURE_BUDGET) -> Pictures:
    """Encode strips in order of importance until the budget is spent.

    A picture that does not fit is left out, and smaller ones after it may still fit.

    Args:
        wanted: Strips in the order of their importance, each shown once; they must stay alive as
            long as the result is used.
        budget: Bytes of the page they may take together.
    """
    uris: dict[int, str] = {}
    encoded: dict[int, str] = {}
    taken = left_out = 0
    for strip in wanted:
        key = id(strip.pixels)
        if key not in encoded:
            encoded[key] = picture(strip.pixels, _QUALITY)
        if taken + len(encoded[key]) > budget:
            left_out += 1
            continue
        uris[id(strip)] = encoded[key]
        taken += len(encoded[key])
    return Pictures(uris, taken, left_out, budget)


def in_order(pairs: Sequence[ConfusedPair], cards: Sequence[ClipCard]) -> Iterator[Strip]:
    """Yield the strips of a page by importance: the first pairs, single clips, other pairs."""
    for pair in pairs[:FIRST_PAIRS]:
        yield from _of_pair(pair)
    for card in cards:
        yield from _of_strip(card.strip)
    for pair in pairs[FIRST_PAIRS:]:
        yield from _of_pair(pair)


def _of_pair(pair: ConfusedPair) -> Iterator[Strip]:
    for strip in (*(card.strip for card in pair.cards), *pair.strips):
        yield from _of_strip(strip)


def _of_strip(strip: FrameStrip | None) -> Iterator[Strip]:
    if strip is not None:
        yield strip
        yield from strip.attributions
