"""Pictures to judge estimated joints by: frames with everybody's skeleton, and sheets of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from poselens.evaluation.overlay import FAINT, PANEL, TEXT, Colour, draw_skeletons
from poselens.pose.layouts import Layout

PEOPLE: tuple[Colour, ...] = (
    (64, 196, 255), (255, 99, 71), (124, 230, 110), (255, 214, 64),
    (214, 130, 255), (255, 150, 200), (110, 240, 220), (200, 200, 200),
)  # fmt: skip
"""Colours of people by their place in the skeleton; the ninth has the first one again."""

TILE = 180
"""Rows of pixels of a frame on a sheet."""

_GAP, _HEAD = 6, 24


@dataclass(frozen=True)
class SheetRow:
    """One clip of a sheet: what is said of it, and frames of it."""

    caption: str
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]]


def draw_people(
    frame: UInt8[np.ndarray, "h w 3"], joints: Float[np.ndarray, "m v 2"], layout: Layout
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the frame with each person's skeleton in a colour, and a number at the head.

    Args:
        frame: RGB picture.
        joints: In its pixels; NaN marks a missing one.
        layout: Their layout.
    """
    colours = [PEOPLE[person % len(PEOPLE)] for person in range(len(joints))]
    picture = draw_skeletons(Image.fromarray(frame), joints, layout, colours)
    pen = ImageDraw.Draw(picture)
    font = _font(max(12, picture.height // 24))
    for person, points in enumerate(joints):
        known = points[np.isfinite(points).all(axis=-1)]
        if len(joints) > 1 and len(known):
            at = (float(known[:, 0].mean()), max(float(known[:, 1].min()) - 8, font.size))
            pen.text(at, str(person), colours[person], font, "mb", stroke_width=2, stroke_fill=0)
    return np.asarray(picture)


def save_sheet(rows: Sequence[SheetRow], path: Path) -> None:
    """Lay clips out as rows of frames, in order of time from left to right, as a PNG.

    Args:
        rows: The clips.
        path: Target, a PNG with 256 colours.
    """
    strips = [[Image.fromarray(picture) for picture in row.pictures] for row in rows]
    height = TILE
    width = max([320, *(sum(tile.width + _GAP for tile in strip) + _GAP for strip in strips)])
    sheet = Image.new("RGB", (width, len(rows) * (_HEAD + height + _GAP) + _GAP), PANEL)
    pen = ImageDraw.Draw(sheet)
    for number, (row, strip) in enumerate(zip(rows, strips, strict=True)):
        top = number * (_HEAD + height + _GAP)
        pen.text((_GAP, top + 5), row.caption, TEXT if strip else FAINT, _font(13))
        left = _GAP
        for tile in strip:
            sheet.paste(tile, (left, top + _HEAD))
            left += tile.width + _GAP
    few = sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, format="PNG", optimize=True)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own DejaVu Sans, which every installation has."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
