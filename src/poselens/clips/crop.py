"""Crop every frame of a clip to the region its skeletons move in. Section 3.1, Eq. (1)-(2).

Two coordinate spaces meet here and each name says which one it is in:

- frame: pixels of the upright decoded frame, x to the right, y down, origin 0
- crop:  pixels of the cropped and resized picture the network sees
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from poselens.types import Box

SMALLEST_REGION = 10
"""A region narrower or lower than this many pixels is not a person (PYSKL's ``MMCompact``)."""

Reason = Literal["skeleton", "no-joints", "too-small"]


@dataclass(frozen=True, slots=True)
class Region:
    """The part of the frame to look at, and why it is that part.

    Attributes:
        box: Half-open rectangle in frame pixels, inside the frame.
        reason: ``skeleton``, or why the whole frame is taken instead.
    """

    box: Box
    reason: Reason


def activity_region(
    joints_frame: Float[np.ndarray, "m t v 2"],
    *,
    frame_size: tuple[int, int],
    margin: float = 0.3,
    square: bool = False,
    percentile: float = 0.0,
) -> Region:
    r"""Return the box that holds all joints of everybody in all frames, widened. Eq. (1)-(2).

    .. math::
        X_{region} = [\max(\min X - \alpha w, 0),\; \min(\max X + \alpha w, W)]

    and the same for Y, with w and h the width and height before widening.

    Args:
        joints_frame: Joints in frame pixels; NaN marks a missing one and never counts.
        frame_size: Height and width of the frame, in pixels.
        margin: Share of the box's own width and height added on each side (alpha).
        square: Widen the shorter side to the longer one, as far as the frame allows.
        percentile: Leave out this share, in percent, of the outermost coordinates on each side.

    Departure: pixels count from 0 and boxes are half open, so the paper's [1, W] is [0, W]. One box
    serves the whole clip ("uniformly applied across all RGB frames"). Without a joint, or under 10
    pixels, the whole frame is taken and the reason says so.
    """
    height, width = frame_size
    whole = Box(0, 0, width, height)
    seen = joints_frame[np.isfinite(joints_frame).all(axis=-1)]
    if len(seen) == 0:
        return Region(whole, "no-joints")
    low = np.percentile(seen, percentile, axis=0)
    high = np.percentile(seen, 100.0 - percentile, axis=0)
    extent = high - low
    pad = margin * extent
    if square:
        pad = pad + (extent.max() * (1 + 2 * margin) - (extent + 2 * pad)) / 2
    left, top = np.floor(np.maximum(low - pad, 0.0)).astype(int).tolist()
    right, bottom = np.ceil(np.minimum(high + pad, (width, height))).astype(int).tolist()
    if right - left < SMALLEST_REGION or bottom - top < SMALLEST_REGION:
        return Region(whole, "too-small")
    return Region(Box(left, top, right, bottom), "skeleton")


@dataclass(frozen=True, slots=True)
class Placement:
    """The map between frame pixels and crop pixels: a box, the size it is resized to, a mirror.

    Attributes:
        left: Left edge of the box in frame pixels (fractions allowed).
        top: Top edge.
        width: Width of the box in frame pixels.
        height: Height of the box in frame pixels.
        size: ``(height, width)`` of the crop.
        flipped: Whether the crop is mirrored left to right.
    """

    left: float
    top: float
    width: float
    height: float
    size: tuple[int, int]
    flipped: bool = False

    def to_crop(self, joints_frame: Float[np.ndarray, "*a 2"]) -> Float[np.ndarray, "*a 2"]:
        """Map frame pixels to crop pixels; the caller swaps left and right joints when flipped."""
        rows, columns = self.size
        x = (joints_frame[..., 0] - self.left) * columns / self.width
        y = (joints_frame[..., 1] - self.top) * rows / self.height
        return np.stack([columns - x if self.flipped else x, y], axis=-1)

    def to_frame(self, joints_crop: Float[np.ndarray, "*a 2"]) -> Float[np.ndarray, "*a 2"]:
        """Map crop pixels back to frame pixels."""
        rows, columns = self.size
        x = columns - joints_crop[..., 0] if self.flipped else joints_crop[..., 0]
        return np.stack(
            [
                x * self.width / columns + self.left,
                joints_crop[..., 1] * self.height / rows + self.top,
            ],
            axis=-1,
        )
