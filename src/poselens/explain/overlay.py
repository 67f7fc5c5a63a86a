"""Heat maps over pictures: how strongly each place speaks for a class."""

from functools import lru_cache

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from poselens.errors import UsageError

COLOURS = "inferno"
"""Map from 0 to 1: lightness rises evenly, so it is read without colours, and printed in grey."""

CUT = (120, 200, 255)
"""Colour of the frame around what the network sees; not one of the heat's."""

_GREYS = (0.299, 0.587, 0.114)
_DIMMED = 0.75  # brightness left where nothing speaks for the class
_COVER = 0.7  # of the picture under the most


@lru_cache(maxsize=1)
def colour_table() -> UInt8[np.ndarray, "256 3"]:
    """Return the colours of 256 steps from nothing to the most in the clip."""
    table: NDArray[np.uint8] = (mpl.colormaps[COLOURS](np.arange(256))[:, :3] * 255).astype(
        np.uint8
    )
    return table


def draw_heat(
    pictures: UInt8[np.ndarray, "t h w 3"], maps: Float[np.ndarray, "t h w"]
) -> UInt8[np.ndarray, "t h w 3"]:
    """Return grey pictures under the colours of their maps; the more, the less see-through.

    The same value has the same colour in every frame of the clip, and in every clip.

    Args:
        pictures: RGB.
        maps: In [0, 1], of the same size.

    Raises:
        UsageError: ``EXP-009`` where sizes differ.
    """
    if pictures.shape[:3] != maps.shape:
        raise UsageError(
            "EXP-009",
            f"found maps of {maps.shape} for pictures of {pictures.shape[:3]}",
            mend="give one map of the picture's size for each picture",
        )
    share = np.clip(maps, 0, 1)[..., None]
    colour = colour_table()[np.round(share[..., 0] * 255).astype(np.uint8)]
    grey = (pictures @ np.array(_GREYS, np.float32) * _DIMMED)[..., None]
    # the square root lifts what is little above nothing, where the colours are dark
    cover = _COVER * np.sqrt(share)
    drawn: NDArray[np.uint8] = np.round((1 - cover) * grey + cover * colour).astype(np.uint8)
    return drawn


def in_frame(
    maps: Float[np.ndarray, "t h w"],
    *,
    corner: tuple[float, float],
    extent: tuple[float, float],
    frame_size: tuple[int, int],
) -> Float[np.ndarray, "t fh fw"]:
    """Return maps of a cut and resized picture at their place in the whole frame, 0 around it.

    Args:
        maps: In pixels of the network's input.
        corner: Left and top edge (x, y) of what was cut out, in pixels of the frame.
        extent: Its (height, width) in pixels of the frame.
        frame_size: ``(height, width)`` of the frame.

    Raises:
        UsageError: ``EXP-009`` for a cut without extent.
    """
    if min(extent) <= 0:
        raise UsageError(
            "EXP-009", f"found a cut of {extent} pixels", mend="give a box with an extent"
        )
    rows, columns = maps.shape[1:]
    # pixels are squares: the middle of the first one lies half a pixel from the edge
    down = (np.arange(frame_size[0]) + 0.5 - corner[1]) * rows / extent[0] - 0.5
    across = (np.arange(frame_size[1]) + 0.5 - corner[0]) * columns / extent[1] - 0.5
    inside = ((down >= -0.5) & (down < rows - 0.5))[:, None]
    inside = inside & ((across >= -0.5) & (across < columns - 0.5))
    places = np.meshgrid(down, across, indexing="ij")
    placed = np.stack([map_coordinates(each, places, order=1, mode="nearest") for each in maps])
    shown: NDArray[np.float32] = np.where(inside, placed, 0).astype(np.float32)
    return shown


def draw_cut(
    pictures: UInt8[np.ndarray, "t h w 3"],
    corner: tuple[float, float],
    extent: tuple[float, float],
) -> UInt8[np.ndarray, "t h w 3"]:
    """Return pictures with a thin frame around what was cut out of them for the network.

    Args:
        pictures: RGB.
        corner: Left and top edge (x, y) of the cut in their pixels.
        extent: Its (height, width).
    """
    right, bottom = corner[0] + extent[1] - 1, corner[1] + extent[0] - 1
    framed = []
    for each in pictures:
        picture = Image.fromarray(each)
        width = max(1, round(max(picture.size) / 160))
        ImageDraw.Draw(picture).rectangle((*corner, right, bottom), outline=CUT, width=width)
        framed.append(np.asarray(picture))
    return np.stack(framed)
