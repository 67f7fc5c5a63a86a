"""Draw skeleton, crop box and running scores over a frame, for the labelled video."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from poselens.errors import UsageError
from poselens.pose.layouts import Layout, Side, require_joint_count
from poselens.types import Box

LEAST_HEIGHT = 480
"""Smaller frames are enlarged to this many rows, so that labels stay readable."""

SHOWN_CLASSES = 5

LEFT, RIGHT, MIDDLE = (255, 159, 67), (64, 196, 255), (240, 242, 245)
PANEL, TEXT, FAINT, TRACK, BAR = (
    (20, 23, 28),
    (236, 239, 243),
    (150, 160, 174),
    (44, 50, 59),
    (92, 106, 128),
)
BEST = (121, 173, 245)
_OUTSIDE = 0.55  # brightness left outside the crop box

Colour = tuple[int, int, int]
_COLOURS: dict[Side, Colour] = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}


def draw_overlay(
    frame: UInt8[np.ndarray, "h w 3"],
    joints: Float[np.ndarray, "m v 2"] | None = None,
    layout: Layout | None = None,
    box: Box | None = None,
    scores: Sequence[tuple[str, float]] = (),
    caption: str = "",
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return the frame with what the recogniser sees and says, and a panel of scores.

    The panel stands to the right of the picture, or below a wide one. The size of the result
    depends on the size of the frame alone, and is even, as H.264 wants it.

    Args:
        frame: RGB picture.
        joints: Joints of everyone in pixels of ``frame``; NaN marks a missing one.
        layout: Layout of ``joints``; the person's left side is orange, the right side blue.
        box: Region the RGB network sees; the rest is darkened.
        scores: Classes with probability in [0, 1]; the five best are shown.
        caption: Lines over the scores, such as the clip's name and the time.

    Raises:
        UsageError: ``EVAL-006`` for joints without a layout.
        SkeletonError: ``SKEL-004`` when joints and layout differ in number.
    """
    height, width = frame.shape[:2]
    scale = max(1.0, LEAST_HEIGHT / height)
    picture = Image.fromarray(frame)
    if scale > 1:
        enlarged = (round(width * scale), round(height * scale))
        picture = picture.resize(enlarged, Image.Resampling.BICUBIC)
    if box is not None:
        picture = _darken_outside(picture, box, scale)
    if joints is not None:
        if layout is None:
            raise UsageError("EVAL-006", "found joints without a layout", mend="name the layout")
        require_joint_count(joints.shape[1], layout)
        picture = draw_skeletons(picture, joints * scale, layout)
    return _with_panel(picture, scores, caption, legend=joints is not None)


def draw_joints(
    frame: UInt8[np.ndarray, "h w 3"], joints: Float[np.ndarray, "m v 2"], layout: Layout
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the frame with everyone's joints and bones, at its own size.

    Args:
        frame: RGB picture.
        joints: Joints in pixels of ``frame``; NaN marks a missing one.
        layout: Layout of ``joints``.

    Raises:
        SkeletonError: ``SKEL-004`` when joints and layout differ in number.
    """
    require_joint_count(joints.shape[1], layout)
    return np.asarray(draw_skeletons(Image.fromarray(frame), joints, layout))


def _darken_outside(picture: Image.Image, box: Box, scale: float) -> Image.Image:
    edges = [round(edge * scale) for edge in (box.left, box.top, box.right, box.bottom)]
    left, right = np.clip(edges[::2], 0, picture.width).tolist()
    top, bottom = np.clip(edges[1::2], 0, picture.height).tolist()
    pixels = np.asarray(picture)
    dark = (pixels * _OUTSIDE).astype(np.uint8)
    dark[top:bottom, left:right] = pixels[top:bottom, left:right]
    framed = Image.fromarray(dark)
    if right - left > 2 and bottom - top > 2:
        line = max(1, round(picture.height / 360))
        ImageDraw.Draw(framed).rectangle(
            (left, top, right - 1, bottom - 1), outline=MIDDLE, width=line
        )
    return framed


def draw_skeletons(
    picture: Image.Image,
    joints: Float[np.ndarray, "m v 2"],
    layout: Layout,
    colours: Sequence[Colour] | None = None,
) -> Image.Image:
    """Return the picture with everybody's bones and joints.

    Args:
        picture: RGB picture.
        joints: In its pixels; NaN marks a missing one.
        layout: Their layout.
        colours: One for each person; None to tell left from right instead.
    """
    by_side = [_COLOURS[side] for side in layout.sides]
    # Pillow draws hard edges; twice the size and back makes them smooth where it is cheap
    fine = 2 if picture.height <= 720 else 1
    layer = Image.new("RGBA", (picture.width * fine, picture.height * fine))
    pen = ImageDraw.Draw(layer)
    # estimators place joints outside the frame; far outside, a line there says nothing
    with np.errstate(invalid="ignore"):
        near = (np.abs(joints) < 2 * max(picture.size)).all(axis=-1)
    bone = max(2, round(picture.height / 160)) * fine
    for person, (points, known) in enumerate(zip(joints * fine, near, strict=True)):
        inks = [colours[person]] * len(layout) if colours else by_side
        bones = [
            ((*points[joint], *points[parent]), inks[joint])
            for joint, parent in layout.edges
            if known[joint] and known[parent]
        ]
        for ends, _ in bones:
            pen.line(ends, fill=(0, 0, 0, 150), width=bone + 2 * fine)
        for ends, colour in bones:
            pen.line(ends, fill=(*colour, 255), width=bone)
        for joint in np.flatnonzero(known).tolist():
            x, y = points[joint]
            radius = 0.85 * bone
            pen.ellipse(
                (x - radius, y - radius, x + radius, y + radius),
                fill=(*inks[joint], 255),
                outline=(0, 0, 0, 170),
                width=fine,
            )
    if fine > 1:
        layer = layer.resize(picture.size, Image.Resampling.BOX)
    drawn = picture.convert("RGBA")
    drawn.alpha_composite(layer)
    return drawn.convert("RGB")


def _with_panel(
    picture: Image.Image, scores: Sequence[tuple[str, float]], caption: str, *, legend: bool
) -> UInt8[np.ndarray, "h2 w2 3"]:
    unit = picture.height / LEAST_HEIGHT
    below = picture.width > 1.5 * picture.height
    # below, the panel keeps the height of its five rows whatever the width of the picture
    across = picture.width if below else round(320 * unit)
    high = round(226 * unit) if below else picture.height
    total = (picture.width, picture.height + high) if below else (picture.width + across, high)
    sheet = Image.new("RGB", (total[0] + total[0] % 2, total[1] + total[1] % 2), PANEL)
    sheet.paste(picture, (0, 0))
    corner = (0, picture.height) if below else (picture.width, 0)
    _draw_panel(sheet, corner, across, high, unit, scores, caption, legend)
    return np.asarray(sheet)


def _draw_panel(
    sheet: Image.Image,
    corner: tuple[int, int],
    across: int,
    high: int,
    unit: float,
    scores: Sequence[tuple[str, float]],
    caption: str,
    legend: bool,
) -> None:
    pen = ImageDraw.Draw(sheet)
    pad = round(20 * unit)
    left, right = corner[0] + pad, corner[0] + across - pad
    y = corner[1] + round(16 * unit)
    # a row of its own for every class beside the picture, one line for name and bar below it
    stacked = high >= 2 * 150 * unit
    # below the picture the legend shares the caption's line
    caption_space = right - left - (round(230 * unit) if legend and not stacked else 0)
    for line in caption.splitlines()[: 4 if stacked else 1]:
        font = _font(round(15 * unit))
        pen.text((left, y), _fit(line, font, caption_space), font=font, fill=FAINT)
        y += round(22 * unit)
    y += round((18 if stacked else 8) * unit)
    ranked = sorted(scores, key=lambda entry: -entry[1])[:SHOWN_CLASSES]
    for rank, (name, probability) in enumerate(ranked):
        share = float(np.clip(np.nan_to_num(probability), 0, 1))
        font = _font(round((17 if rank == 0 else 15) * unit), bold=rank == 0)
        number = f"{100 * share:.0f} %"
        column = right - round(58 * unit)
        text_end = column if stacked else left + round(0.36 * (right - left))
        ink = TEXT if rank == 0 else FAINT
        name_space = text_end - left - round(8 * unit)
        pen.text((left, y), _fit(name, font, name_space), font=font, fill=ink)
        pen.text((right, y), number, font=font, fill=ink, anchor="ra")
        bar_left, bar_right = (left, right) if stacked else (text_end, column - round(6 * unit))
        top = y + round((26 if stacked else 6) * unit)
        thick = round((8 if stacked else 10) * unit)
        pen.rectangle((bar_left, top, bar_right, top + thick), fill=TRACK)
        if share > 0:
            end = bar_left + max(1, round(share * (bar_right - bar_left)))
            pen.rectangle((bar_left, top, end, top + thick), fill=BEST if rank == 0 else BAR)
        y += round((56 if stacked else 32) * unit)
    if legend:
        _draw_legend(pen, left, right, corner, high, unit, stacked)


def _draw_legend(
    pen: ImageDraw.ImageDraw,
    left: int,
    right: int,
    corner: tuple[int, int],
    high: int,
    unit: float,
    stacked: bool,
) -> None:
    font = _font(round(13 * unit))
    words = (("left side", LEFT), ("right side", RIGHT))
    dot = round(9 * unit)
    widths = [dot + round(7 * unit) + round(font.getlength(word)) for word, _ in words]
    gap = round(18 * unit)
    # beside the picture at the foot; below it in line with the caption, where the row is free
    x = left if stacked else right - sum(widths) - gap
    y = corner[1] + (high - round(30 * unit) if stacked else round(17 * unit))
    for (word, colour), width in zip(words, widths, strict=True):
        middle = y + round(8 * unit)
        pen.ellipse((x, middle - dot // 2, x + dot, middle + dot // 2), fill=colour)
        pen.text((x + dot + round(7 * unit), y), word, font=font, fill=FAINT)
        x += width + gap


@lru_cache(maxsize=32)
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own DejaVu Sans, which every installation has."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, max(size, 6))


@lru_cache(maxsize=4096)
def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut a text that is wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
