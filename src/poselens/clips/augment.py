"""Augmentation that moves pixels and joints together: multi-scale crop, mirror, brightness.

A ``View`` is drawn once per clip and applied to its pixels (``apply_to_pixels``) and its joints
(``apply_to_joints``), so the two never part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from poselens.clips.crop import Placement
from poselens.pose.layouts import Layout
from poselens.types import Box


@dataclass(frozen=True, slots=True)
class View:
    """One way of looking at a region.

    Attributes:
        left: Left edge of the inner box, as a share of the region's width.
        top: Top edge, as a share of the region's height.
        width: Width of the inner box, as a share of the region's width.
        height: Height, as a share of the region's height.
        flipped: Mirrored left to right.
        gain: Factor on every pixel, for red, green and blue.
        offset: Added to every pixel, in grey levels, for red, green and blue.
        channels: Which stored channel is read as red, green and blue.
    """

    left: float
    top: float
    width: float
    height: float
    flipped: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: tuple[int, int, int] = (0, 1, 2)

    def pixels(self, *, rows: int, columns: int) -> Box:
        """Return the inner box in whole pixels of a region; at least one, and inside it."""
        top, left = round(self.top * rows), round(self.left * columns)
        bottom = max(top + round(self.height * rows), top + 1)
        right = max(left + round(self.width * columns), left + 1)
        return Box(left, top, min(right, columns), min(bottom, rows))

    @property
    def recolours(self) -> bool:
        """Whether any pixel changes its colour."""
        return (self.gain, self.offset) != ((1.0,) * 3, (0.0,) * 3)


def centre_view(*, scale: int, size: int) -> View:
    """Return the test view: the central ``size`` of ``scale`` pixels. Section 4.2, 224 of 256."""
    share = min(size / scale, 1.0)
    return View((1 - share) / 2, (1 - share) / 2, share, share)


def random_view(
    rng: np.random.Generator,
    *,
    scales: Sequence[float] = (1.0, 0.875, 0.75, 0.66),
    flip: float = 0.5,
    brightness: float = 0.0,
    colour: float = 0.0,
) -> View:
    """Draw a training view: multi-scale crop and mirror, as TSN and TSM do.

    Args:
        rng: Source of chance; one per (seed, epoch, clip).
        scales: Sides of the inner box as shares of the region's; width and height are drawn
            apart, at most one step away from each other.
        flip: Probability of mirroring.
        brightness: Largest relative change of brightness.
        colour: Strength of a change of colours: channels trade places with this probability, and
            each is scaled by up to this share and shifted by up to 64 times it.

    Departure: the corner is uniform over all positions instead of TSN's thirteen fixed ones.
    """
    across = int(rng.integers(len(scales)))
    down = int(np.clip(across + rng.integers(-1, 2), 0, len(scales) - 1))
    width, height = scales[across], scales[down]
    bright = 1.0 + brightness * float(rng.uniform(-1, 1))
    gains = bright * (1.0 + colour * rng.uniform(-1, 1, 3))
    offsets = 64.0 * colour * rng.uniform(-1, 1, 3)
    order = rng.permutation(3) if rng.random() < colour else np.arange(3)
    return View(
        left=float(rng.random()) * (1 - width),
        top=float(rng.random()) * (1 - height),
        width=width,
        height=height,
        flipped=bool(rng.random() < flip),
        gain=(float(gains[0]), float(gains[1]), float(gains[2])),
        offset=(float(offsets[0]), float(offsets[1]), float(offsets[2])),
        channels=(int(order[0]), int(order[1]), int(order[2])),
    )


def apply_to_pixels(
    frames: UInt8[Tensor, "t h w 3"], view: View, *, size: int
) -> UInt8[Tensor, "t 3 size size"]:
    """Cut the view out of a resized region and scale it to the network's input size.

    A pixel's colours lie side by side in memory. On a GPU, ``look.look`` does the same for a batch.
    """
    box = view.pixels(rows=frames.shape[1], columns=frames.shape[2])
    part = frames[:, box.top : box.bottom, box.left : box.right].permute(0, 3, 1, 2)
    if part.shape[-2:] != (size, size):
        part = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)
    if view.flipped:
        part = part.flip(-1)
    if view.channels != (0, 1, 2):
        part = part[:, list(view.channels)]
    if view.recolours:
        gain = torch.tensor(view.gain).view(3, 1, 1)
        offset = torch.tensor(view.offset).view(3, 1, 1)
        part = (part.float() * gain + offset).clamp_(0, 255).round_().to(torch.uint8)
    return part.contiguous(memory_format=torch.channels_last)


def without_background(clip: UInt8[Tensor, "t 3 h w"]) -> UInt8[Tensor, "t 3 h w"]:
    """Return half the difference of each frame to the clip's mean, around grey level 128.

    Departure: not in the paper. With a camera at rest, what does not move vanishes, which spares a
    small network trained from scratch on few clips from learning rooms and clothes.
    """
    frames = clip.float()
    still = frames.mean(dim=0, keepdim=True)
    return ((frames - still) / 2 + 128).round_().clamp_(0, 255).to(torch.uint8)


def placement(region: Box, view: View, *, size: int) -> Placement:
    """Return the map from frame pixels to the pixels of this view."""
    return Placement(
        left=region.left + view.left * region.width,
        top=region.top + view.top * region.height,
        width=view.width * region.width,
        height=view.height * region.height,
        size=(size, size),
        flipped=view.flipped,
    )


def apply_to_joints(
    joints_frame: Float[np.ndarray, "m t v 2"],
    region: Box,
    view: View,
    *,
    layout: Layout,
    size: int,
) -> Float[np.ndarray, "m t v 2"]:
    """Return the joints in crop pixels of the view, left and right swapped when it is mirrored."""
    joints = placement(region, view, size=size).to_crop(joints_frame)
    return joints[..., list(layout.mirror), :] if view.flipped else joints
