"""Contact sheets: one row per class, frames from left to right in time."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from poselens.data.folder import ClipFolder, open_folder
from poselens.data.video import read_frames
from poselens.synth.actions import CLASSES
from poselens.synth.clip import Order, draw_clip
from poselens.synth.difficulty import get_difficulty

_LABEL = 176
_PICTURE = (288, 384)
_GREY = (90, 90, 90)


def write_contact_sheet(root: Path, path: Path, *, columns: int = 8, tile: int = 92) -> None:
    """Lay out the first clip of every class of a drawn data set as a PNG.

    Args:
        root: The data set's folder, opened again.
        path: Target, a PNG with 256 colours.
        columns: Frames per row, spread over the clip.
        tile: Side of a frame, pixels.

    Raises:
        UsageError: ``DATA-001`` when there is no data set.
        AnnotationError, SkeletonError, VideoError: when it cannot be read.
    """
    folder = open_folder(root)
    rows = []
    for label, name in enumerate(folder.info.classes):
        clips = np.flatnonzero(folder.labels == label)
        if len(clips):
            rows.append((name, _recorded(folder, int(clips[0]), columns, tile)))
    _save(rows, path, columns, tile)


def draw_contact_sheet(
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
        UsageError: ``CFG-013`` for an unknown difficulty.
    """
    setting = get_difficulty(difficulty)
    rows = []
    for label, name in enumerate(CLASSES):
        pair = label // 2
        order = Order(seed, pair, label, 1 + pair % 8, setting, _PICTURE)
        rows.append((name, _drawn(order, columns, tile)))
    _save(rows, path, columns, tile)


def _save(
    rows: Sequence[tuple[str, list[Image.Image]]], path: Path, columns: int, tile: int
) -> None:
    """Write rows of tiles with their names, a gap after every second row."""
    gap, head = 6, 22
    height = head + len(rows) * (tile + 2) + (1 + len(rows)) // 2 * gap
    sheet = Image.new("RGB", (_LABEL + columns * (tile + 2), height), (250, 250, 250))
    ink = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    ink.text((_LABEL, 4), "time", fill=_GREY, font=font)
    tip = _LABEL + 110
    ink.line((_LABEL + 36, 13, tip, 13), fill=_GREY)
    ink.polygon([(tip, 10), (tip, 16), (tip + 7, 13)], fill=_GREY)
    for row, (name, tiles) in enumerate(rows):
        top = head + row * (tile + 2) + (1 + row // 2) * gap - gap // 2
        words = name.replace("-then-", "\n-then-").replace("-to-", "\n-to-").replace("_", "\n")
        ink.text((6, top + tile // 2 - 16), words, fill=(20, 20, 20), font=font)
        for column, picture in enumerate(tiles):
            sheet.paste(picture, (_LABEL + column * (tile + 2), top))
    few = sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, format="PNG", optimize=True)


def _moments(frames: int, columns: int) -> list[int]:
    """Return frames spread over a clip, a little inside its ends."""
    return [round(float(at)) for at in np.linspace(0.04 * frames, 0.96 * (frames - 1), columns)]


def _recorded(folder: ClipFolder, clip: int, columns: int, tile: int) -> list[Image.Image]:
    """Return tiles of a clip's video file."""
    skeleton, video = folder.skeleton(clip, "pixels"), folder.video_path(clip)
    if skeleton is None or video is None:
        return []
    pictures = read_frames(video, _moments(skeleton.frames, columns)).pixels
    return _tiles(pictures, skeleton.positions[0], tile)


def _drawn(order: Order, columns: int, tile: int) -> list[Image.Image]:
    """Return tiles of a clip drawn for the sheet alone."""
    clip = draw_clip(order)
    return _tiles(clip.pictures(_moments(clip.frames, columns)), clip.pixels[0], tile)


def _tiles(
    pictures: Iterable[NDArray[np.uint8]], joints: Float[np.ndarray, "t v 2"], tile: int
) -> list[Image.Image]:
    """Cut pictures to one square around the person and scale them."""
    tiles = []
    for picture in pictures:
        left, top, side = _square(joints, (picture.shape[0], picture.shape[1]))
        box = (left, top, left + side, top + side)
        cut = Image.fromarray(picture).crop(box)
        tiles.append(cut.resize((tile, tile), Image.Resampling.LANCZOS))
    return tiles


def _square(joints: Float[np.ndarray, "t v 2"], size: tuple[int, int]) -> tuple[int, int, int]:
    """Return left, top and side of a square in the picture that holds the joints with a margin."""
    low, high = np.nanmin(joints, axis=(0, 1)), np.nanmax(joints, axis=(0, 1))
    side = int(min(1.25 * float((high - low).max()), *size))
    left, top = (
        int(np.clip((a + b - side) / 2, 0, limit - side))
        for a, b, limit in zip(low, high, (size[1], size[0]), strict=True)
    )
    return left, top, side
