"""A contact sheet: one row per class, frames from left to right in time."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from poselens.synth.actions import CLASSES
from poselens.synth.clip import Order, draw_clip
from poselens.synth.difficulty import get_difficulty

_LABEL = 176
_PICTURE = (288, 384)


def contact_sheet(
    path: Path, *, seed: int = 0, difficulty: str = "standard", columns: int = 8, tile: int = 92
) -> None:
    """Draw every procedural class once and lay out frames of it as a PNG.

    The two classes of a pair share person, room and camera, so that the rows show what tells them
    apart and nothing else.

    Args:
        path: Target, a PNG with 256 colours.
        seed: Seed of the people and rooms.
        difficulty: ``easy``, ``standard`` or ``hard``.
        columns: Frames per row, spread over the clip.
        tile: Side of a frame, pixels.

    Raises:
        UsageError: ``CFG-005`` for an unknown difficulty.
    """
    setting = get_difficulty(difficulty)
    gap, head = 6, 22
    rows = len(CLASSES)
    height = head + rows * (tile + 2) + (rows // 2) * gap
    sheet = Image.new("RGB", (_LABEL + columns * (tile + 2), height), (250, 250, 250))
    ink = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    ink.text((_LABEL, 4), "time", fill=(90, 90, 90), font=font)
    tip = _LABEL + 110
    ink.line((_LABEL + 36, 13, tip, 13), fill=(90, 90, 90))
    ink.polygon([(tip, 10), (tip, 16), (tip + 7, 13)], fill=(90, 90, 90))
    for label, name in enumerate(CLASSES):
        pair = label // 2
        order = Order(seed, pair, label, 1 + pair % 8, setting, _PICTURE)
        top = head + label * (tile + 2) + (1 + pair) * gap - gap // 2
        words = name.replace("-then-", "\n-then-").replace("-to-", "\n-to-")
        ink.text((6, top + tile // 2 - 16), words, fill=(20, 20, 20), font=font)
        for column, picture in enumerate(_tiles(order, columns, tile)):
            sheet.paste(picture, (_LABEL + column * (tile + 2), top))
    few = sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def _tiles(order: Order, columns: int, tile: int) -> list[Image.Image]:
    """Return frames of a clip, cut to a square around the person."""
    clip = draw_clip(order)
    wanted = np.linspace(0.04 * clip.frames, 0.96 * (clip.frames - 1), columns).round().astype(int)
    left, top, side = _square(clip.pixels[0], order.size)
    pictures = list(clip.pictures())
    return [
        Image.fromarray(pictures[frame])
        .crop((left, top, left + side, top + side))
        .resize((tile, tile), Image.Resampling.LANCZOS)
        for frame in wanted
    ]


def _square(
    joints: Float[NDArray[np.float32], "t v 2"], size: tuple[int, int]
) -> tuple[int, int, int]:
    """Return left, top and side of a square in the picture that holds the joints with a margin."""
    low, high = np.nanmin(joints, axis=(0, 1)), np.nanmax(joints, axis=(0, 1))
    side = int(min(1.25 * float((high - low).max()), *size))
    left, top = (
        int(np.clip((a + b - side) / 2, 0, limit - side))
        for a, b, limit in zip(low, high, (size[1], size[0]), strict=True)
    )
    return left, top, side
