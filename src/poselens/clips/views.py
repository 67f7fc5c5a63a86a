"""How often, and from where, the RGB network looks at a clip in test."""

import re
from dataclasses import dataclass
from math import prod

from poselens.clips.augment import View, centre_view
from poselens.clips.stream import RgbInput
from poselens.errors import UsageError
from poselens.types import ONE_VIEW

_CROPS = "3-crops"
_KNOWN = re.compile(r"3-crops|[0-9]+-offsets|3-crops\+[0-9]+-offsets")


@dataclass(frozen=True)
class Views:
    """The views of a clip: every crop at every offset.

    Attributes:
        name: ``centre``, ``3-crops``, ``6-offsets`` or ``3-crops+6-offsets``.
        crops: Which parts of the region.
        offsets: Whether each frame of a snippet is seen in turn, and not the middle one alone.
    """

    name: str
    crops: tuple[View, ...]
    offsets: bool


def one_view(settings: RgbInput) -> Views:
    """Return the centre of the region and the middle frame of each snippet. Section 4.2."""
    return Views(ONE_VIEW, (centre_view(scale=settings.scale, size=settings.size),), False)


def count_views(name: str) -> int:
    """Return how many views a name stands for: the product of its numbers."""
    return prod(int(number) for number in re.findall(r"[0-9]+", name))


def choose_views(name: str, settings: RgbInput) -> Views:
    """Return the views called ``name``.

    ``3-crops`` looks at the left, the middle and the right of the region at half its height,
    ``6-offsets`` at each of the six frames of every snippet in turn. The scores of a clip are the
    mean of its views' class probabilities.

    Source: TSM's three crops of full resolution along the longer side.
    Departure: the paper does not say how many views it takes; one is the default. Our region is
    square, so the crops are as large as the centre view and move from edge to edge.

    Raises:
        UsageError: ``CFG-038`` for an unknown name, and for views that this stream cannot have.
    """
    middle = one_view(settings)
    if name == ONE_VIEW:
        return middle
    if not _KNOWN.fullmatch(name):
        raise _refused(f"unknown views {name!r}", settings)
    crops, offsets = middle.crops, "offsets" in name
    if offsets and settings.snippet not in ("center", "random"):
        raise _refused(f"a {settings.snippet} snippet shows all its frames in one view", settings)
    if offsets and name.split("+")[-1] != f"{settings.snippet_length}-offsets":
        raise _refused(
            f"found views {name!r}, but snippets of {settings.snippet_length} frames", settings
        )
    if _CROPS in name:
        if settings.scale <= settings.size:
            raise _refused(
                f"a region of {settings.scale} pixels has no room for 3 crops of {settings.size}",
                settings,
            )
        share, top = crops[0].width, crops[0].top
        crops = tuple(View(left, top, share, share) for left in (0.0, crops[0].left, 1 - share))
    return Views(name, crops, offsets)


def _refused(message: str, settings: RgbInput) -> UsageError:
    parts = [_CROPS] if settings.scale > settings.size else []
    if settings.snippet in ("center", "random"):
        parts.append(f"{settings.snippet_length}-offsets")
    possible = [ONE_VIEW, *parts, *(["+".join(parts)] if len(parts) > 1 else [])]
    return UsageError("CFG-038", message, mend=f"use {' or '.join(possible)}")
