"""Pictures as a bad place gives them: the crop beside the person, covered, dark or grainy.

Every function draws as much from its generator whatever the severity, so that what is covered at
10 % is covered at 20 %, and a box only moves further.
"""

import numpy as np
from jaxtyping import Float, UInt8

from poselens.clips.crop import SMALLEST_REGION, Region
from poselens.types import Box

GREY = 128
"""Value of every channel of what covers a picture."""


def shift_region(
    region: Region, frame_size: tuple[int, int], share: float, rng: np.random.Generator
) -> Region:
    """Move a region by ``share`` of its width and height, in a direction drawn for the clip."""
    angle = 2 * np.pi * rng.random()
    box = region.box
    right = share * box.width * float(np.cos(angle))
    down = share * box.height * float(np.sin(angle))
    edges = (box.left + right, box.top + down, box.right + right, box.bottom + down)
    return _inside(region, edges, frame_size)


def scale_region(
    region: Region, frame_size: tuple[int, int], share: float, rng: np.random.Generator
) -> Region:
    """Make a region larger or smaller about its centre by ``share`` of its size, by a coin's flip.

    Departure: smaller is a division by ``1 + share``, so that both are errors of equal size.
    """
    grown = 1 + share if rng.random() < 0.5 else 1 / (1 + share)
    box = region.box
    width, height = (grown - 1) / 2 * box.width, (grown - 1) / 2 * box.height
    edges = (box.left - width, box.top - height, box.right + width, box.bottom + height)
    return _inside(region, edges, frame_size)


def _inside(
    region: Region, edges: tuple[float, float, float, float], frame_size: tuple[int, int]
) -> Region:
    """Cut a box to the frame as Eq. (2) does; a whole frame was found without joints, and stays."""
    if region.reason != "skeleton":
        return region
    height, width = frame_size
    left, top = (int(np.floor(max(edge, 0.0))) for edge in edges[:2])
    right, bottom = int(np.ceil(min(edges[2], width))), int(np.ceil(min(edges[3], height)))
    if right - left < SMALLEST_REGION or bottom - top < SMALLEST_REGION:
        return Region(Box(0, 0, width, height), "too-small")
    return Region(Box(left, top, right, bottom), "skeleton")


def cover(
    pixels: UInt8[np.ndarray, "n h w 3"],
    share: float,
    when: Float[np.ndarray, " n"],
    rng: np.random.Generator,
    *,
    moving: bool,
) -> UInt8[np.ndarray, "n h w 3"]:
    """Lay a grey box over ``share`` of the region's area, where chance puts it.

    Args:
        pixels: Frames of the region.
        share: Area covered, in [0, 1]; the box has the region's proportions.
        when: Time of each frame, as a share of the clip.
        rng: Draws where the box lies; a moving one, where it starts and where it ends.
        moving: Whether it goes from there to there in the course of the clip.
    """
    start, end = rng.random((2, 2))
    side = np.sqrt(share)
    places = start + (end - start) * (when[:, None] if moving else np.zeros((len(when), 1)))
    covered = pixels.copy()
    size = np.array(pixels.shape[1:3])
    for picture, place in zip(covered, places, strict=True):
        top, left = np.round(place * (1 - side) * size).astype(int)
        bottom, right = np.round((place * (1 - side) + side) * size).astype(int)
        picture[top:bottom, left:right] = GREY
    return covered


def darken(pixels: UInt8[np.ndarray, "n h w 3"], stops: float) -> UInt8[np.ndarray, "n h w 3"]:
    """Halve the light ``stops`` times.

    Source: the transfer function of sRGB, IEC 61966-2-1, by which values are made light and back.
    """
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = light / 2.0**stops
    dark = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table = np.round(255 * dark).astype(np.uint8)
    darkened: UInt8[np.ndarray, "n h w 3"] = table[pixels]
    return darkened


def grain(
    pixels: UInt8[np.ndarray, "n h w 3"], deviation: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "n h w 3"]:
    """Add white Gaussian noise of a standard deviation in values of 0 to 255."""
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    grainy = np.clip(np.round(pixels + np.float32(deviation) * noise), 0, 255)
    seen: UInt8[np.ndarray, "n h w 3"] = grainy.astype(np.uint8)
    return seen
