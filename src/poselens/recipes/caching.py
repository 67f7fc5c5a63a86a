"""The regions of a data set, decoded ahead of training."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image, ImageDraw, ImageFont

from poselens.clips.cache import FrameCache, read_ledger
from poselens.clips.packed import Format
from poselens.clips.regions import add_regions, cache_folder
from poselens.clips.stream import RgbInput
from poselens.data.folder import ClipFolder
from poselens.errors import UsageError, disk_fault

ALL = "all"
"""In place of a protocol: every clip."""

SETTING: dict[Format, str] = {"raw": "disk", "packed": "packed"}
"""The value of ``training.cache`` that reads each form."""

_LABEL, _TILE, _COLUMNS, _ROWS = 200, 112, 8, 12


@dataclass(frozen=True)
class Cached:
    """What a cache holds of the clips asked for.

    Attributes:
        folder: Where it lies.
        form: How frames are kept.
        clips: Clips that were asked for.
        added: How many of them were decoded now.
        skipped: Ids and reasons of those that cannot be read.
        frames: Frames kept of all the others.
        clip_bytes: Bytes of these frames.
        size: Bytes on the disk of the whole cache, which may hold other clips too.
    """

    folder: Path
    form: Format
    clips: int
    added: int
    skipped: dict[str, str]
    frames: int
    clip_bytes: int
    size: int

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts for ``--json``."""
        kept = max(self.clips - len(self.skipped), 1)
        return {
            "cache": str(self.folder),
            "format": self.form,
            "clips": self.clips,
            "added": self.added,
            "skipped": self.skipped,
            "frames": self.frames,
            "bytes": self.size,
            "bytes_per_clip": round(self.clip_bytes / kept),
            "use": f"training.cache={SETTING[self.form]}",
        }


def wanted_clips(folder: ClipFolder, protocol: str) -> Int[np.ndarray, " n"]:
    """Return the clips of all parts of a protocol, or every clip for ``all``.

    Raises:
        UsageError: ``CFG-004`` for an unknown protocol.
    """
    if protocol == ALL:
        return np.arange(len(folder))
    return np.flatnonzero(folder.parts(protocol) != "")


def cache_clips(
    folder: ClipFolder,
    clips: Sequence[int] | Int[np.ndarray, " n"],
    settings: RgbInput,
    form: Format,
    *,
    workers: int | None,
    out: Path | None,
    told: Callable[[int], None],
) -> Cached:
    """Decode the regions that training with these settings will look for.

    Args:
        folder: The data set.
        clips: Positions in it.
        settings: The recipe's input.
        form: How frames are kept.
        workers: Decoding processes; None for one per core.
        out: Folder on another disk, to which the data set then holds a link; None keeps the cache
            in the data set.
        told: Called for each clip.

    Raises:
        UsageError: ``DATA-020`` when a cache of these regions lies elsewhere already.
        AnnotationError, EnvironmentFault: As ``add_regions``.
    """
    target = cache_folder(folder.root, settings, form)
    if out is not None:
        _link(target, out / target.name)
    cores = len(os.sched_getaffinity(0))
    added = add_regions(
        folder, clips, settings, form, workers=cores if workers is None else workers, told=told
    )
    cache = FrameCache(target)
    numbers, entries = [int(clip) for clip in clips], read_ledger(target).entries
    return Cached(
        folder=target,
        form=form,
        clips=len(numbers),
        added=added,
        skipped={
            str(folder.ids[clip]): cache.skipped[clip] for clip in numbers if clip in cache.skipped
        },
        frames=sum(cache.frames(clip) for clip in numbers),
        clip_bytes=sum(entries[clip].size for clip in numbers),
        size=sum(file.stat().st_size for file in target.iterdir()),
    )


def _link(target: Path, elsewhere: Path) -> None:
    if target.exists():
        if target.resolve() == elsewhere.resolve():
            return
        raise UsageError(
            "DATA-020",
            f"these regions are kept in {target.resolve()} already",
            file=elsewhere,
            mend="leave --out out, or remove that folder first",
        )
    try:
        elsewhere.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(exist_ok=True)
        # a link whose folder was removed is in the way of a new one
        target.unlink(missing_ok=True)
        target.symlink_to(elsewhere.resolve(), target_is_directory=True)
    except OSError as fault:
        raise disk_fault(fault, elsewhere) from fault


def write_preview(
    folder: ClipFolder,
    clips: Sequence[int] | Int[np.ndarray, " n"],
    settings: RgbInput,
    form: Format,
    path: Path,
) -> None:
    """Lay out cached frames as a PNG: a dozen clips spread over the list, in time left to right.

    Raises:
        AnnotationError: ``DATA-027`` when the cache is damaged.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when it cannot be written.
    """
    cache = FrameCache(cache_folder(folder.root, settings, form))
    held = [int(clip) for clip in clips if int(clip) in cache]
    places = np.unique(np.linspace(0, len(held) - 1, min(_ROWS, len(held))).astype(int))
    sheet = Image.new(
        "RGB", (_LABEL + _COLUMNS * (_TILE + 2), max(len(places), 1) * (_TILE + 2)), "white"
    )
    ink, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for row, place in enumerate(places):
        clip = held[place]
        frames = cache.frames(clip)
        label = int(folder.labels[clip])
        words = [str(folder.ids[clip]), folder.info.classes[label] if label >= 0 else ""]
        text = "\n".join(line[:30] for line in [*words, f"{frames} frames"])
        ink.text((4, row * (_TILE + 2) + 4), text, fill="black", font=font)
        shown = cache.read(clip, np.linspace(0, frames - 1, _COLUMNS).round().astype(int))
        for column, frame in enumerate(shown):
            tile = Image.fromarray(frame).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (_LABEL + column * (_TILE + 2), row * (_TILE + 2)))
    try:
        sheet.save(path, format="PNG")
    except OSError as fault:
        raise disk_fault(fault, path) from fault
