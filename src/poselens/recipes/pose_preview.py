"""Look at estimated joints, the worst clips first: a labelled video each, and a sheet of all."""

import csv
from collections.abc import Iterator
from heapq import nsmallest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.checkpoint import make_folder
from poselens.data.folder import open_folder
from poselens.data.skeleton_file import read_skeleton
from poselens.data.video import iterate_frames, probe, read_frames, write_video
from poselens.errors import PoselensError
from poselens.evaluation.pose_sheet import TILE, SheetRow, draw_people, save_sheet
from poselens.pose.layouts import get_layout
from poselens.recipes.pose_results import QUALITY_FILE
from poselens.recipes.pose_sources import DataSetClips, Videos
from poselens.recognition.pose_clip import PoseItem
from poselens.types import Skeleton

SHEET_FILE = "sheet.png"
_COLUMNS = 6
_LONGEST = 960


def write_preview(
    source: DataSetClips | Videos, out: Path, target: Path, *, count: int = 12
) -> dict[str, str | int]:
    """Draw the clips of least quality, failed ones left out.

    A clip whose video cannot be read any more has an empty row.

    Args:
        source: What joints were estimated of.
        out: What came of it.
        target: Folder for ``sheet.png`` and the videos.
        count: Clips to draw.

    Returns:
        Where the sheet is, and how many clips are on it.
    """
    make_folder(target)
    made = open_folder(out) if isinstance(source, DataSetClips) else None
    rows = []
    for number, row in enumerate(_worst(out, count)):
        clip = int(row["clip"])
        item = source.item(clip)
        skeleton = (
            made.skeleton(clip, "pixels")
            if made is not None
            else read_skeleton(out / f"{row['id']}.npz").get("pixels")
        )
        if item is None or skeleton is None:
            continue
        quality, confidence, coverage = (
            f"{float(row[name]):.2f}" for name in ("quality", "confidence", "coverage")
        )
        jitter = f"{float(row['jitter']):.1f} %" if row["jitter"] else "-"
        caption = (
            f"{row['id']}   quality {quality} = {confidence} x {coverage}, "
            f"jitter {jitter}, {row['people']} of {row['found']} people"
        )
        try:
            rows.append(SheetRow(caption, _tiles(item, skeleton)))
            name = f"{number:03d}-{Path(item.id).name}"[:100]
            _write_video(item, skeleton, target / f"{name}.mp4")
        except PoselensError as fault:
            rows.append(SheetRow(f"{caption}   {fault.code}", []))
    save_sheet(rows, target / SHEET_FILE)
    return {"sheet": str(target / SHEET_FILE), "clips": len(rows)}


def _worst(out: Path, count: int) -> list[dict[str, str]]:
    with (out / QUALITY_FILE).open(newline="", encoding="utf-8") as file:
        rows = (
            {**row, "clip": str(clip)}
            for clip, row in enumerate(csv.DictReader(file))
            if row["status"] == "posed"
        )
        return nsmallest(count, rows, key=lambda row: float(row["quality"] or 0))


def _tiles(item: PoseItem, skeleton: Skeleton) -> list[NDArray[np.uint8]]:
    first, _ = item.span()
    wanted = np.linspace(0, skeleton.frames - 1, _COLUMNS + 2)[1:-1].round().astype(int).tolist()
    layout = get_layout(skeleton.layout)
    facts = probe(item.video)
    # drawn at the size shown: lines that are made smaller afterwards cannot be seen
    shrink = TILE / facts.height
    size = (TILE, max(1, round(facts.width * shrink)))
    pictures = read_frames(item.video, wanted, first_frame=first, size=size).pixels
    return [
        draw_people(picture, skeleton.positions[:, frame] * shrink, layout)
        for picture, frame in zip(pictures, wanted, strict=True)
    ]


def _write_video(item: PoseItem, skeleton: Skeleton, path: Path) -> None:
    facts = probe(item.video)
    first, _ = item.span()
    shrink = min(1.0, _LONGEST / max(facts.height, facts.width))
    size = (max(1, round(facts.height * shrink)), max(1, round(facts.width * shrink)))
    layout = get_layout(skeleton.layout)

    def drawn() -> Iterator[NDArray[np.uint8]]:
        frames = iterate_frames(item.video, first_frame=first, frames=skeleton.frames, size=size)
        for frame, picture in enumerate(frames):
            yield draw_people(picture, skeleton.positions[:, frame] * shrink, layout)

    write_video(path, drawn(), fps=facts.fps or 25.0)
