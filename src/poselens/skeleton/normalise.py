"""Bring bodies, cameras and units onto one footing before a network sees them."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from poselens.errors import UsageError

Positions = Float[Tensor, "n t m v c"]

Footing = Literal["centre", "body", "range", "frame", "box", "none"]
"""How positions are normalised; see ``normalise``."""


def normalise(
    positions: Positions,
    *,
    footing: Footing,
    origin: Float[Tensor, "n c"],
    length: Float[Tensor, " n"],
    whole: Float[Tensor, "n T m v c"] | None = None,
    frame_size: tuple[int, int] | None = None,
) -> Positions:
    """Move and scale each clip as a whole; movement between frames and people survives.

    ``centre``  origin at the centre joint of the first person's first frame, unit kept
    ``body``    the same, divided by the mean bone length of the first person
    ``range``   each coordinate from its least and largest value in the clip to [-1, 1] (NW-UCLA in
                the public CTR-GCN recipe)
    ``frame``   pixels: origin in the middle of the frame, divided by half its height
    ``box``     pixels: origin in the middle of the box over all joints and frames, divided by half
                its longer side
    ``none``    as they are

    Departure: ``frame`` divides both coordinates by half the height, so that a circle stays one;
    PYSKL divides each by its own half.

    Args:
        positions: The frames to return.
        footing: See above.
        origin: Of ``ready.origin``.
        length: Of ``ready.bone_length``.
        whole: Every frame of each clip, for ``range`` and ``box``, which look at all of them; any
            frame may occur more than once. None: ``positions`` are all.
        frame_size: ``(height, width)`` in pixels, for ``frame``.

    Raises:
        UsageError: ``CFG-023`` for ``frame`` without a frame size.
    """
    if footing == "none":
        return positions
    if footing == "frame":
        middle, half = _middle_of_frame(frame_size, positions)
    elif footing in ("range", "box"):
        low, high = extent(positions if whole is None else whole)
        middle, half = (low + high) / 2, (high - low) / 2
        if footing == "box":
            half = half.amax(dim=1, keepdim=True)
    else:
        middle = origin
        half = length[:, None] if footing == "body" else torch.ones_like(origin)
    # a clip of a single point, or flat along an axis, is moved there and not scaled
    half = torch.where(half > 0, half, 1.0)
    return (positions - _beside(middle)) / _beside(half)


def extent(positions: Positions) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
    """Return the least and the largest known value of each coordinate of each clip."""
    missing = positions.isnan()
    low = positions.masked_fill(missing, torch.inf).amin(dim=(1, 2, 3))
    high = positions.masked_fill(missing, -torch.inf).amax(dim=(1, 2, 3))
    return low, high


def _middle_of_frame(frame_size: tuple[int, int] | None, like: Tensor) -> tuple[Tensor, Tensor]:
    if frame_size is None:
        raise UsageError(
            "CFG-023",
            "found no frame size, expected (height, width) for the footing 'frame'",
            mend="give the size of the video, or use the footing 'box'",
        )
    height, width = frame_size
    middle = like.new_tensor([[width / 2, height / 2]])
    return middle, like.new_full((1, 1), height / 2)


def _beside(rows: Float[Tensor, "n c"]) -> Float[Tensor, "n 1 1 1 c"]:
    return rows[:, None, None, None]
