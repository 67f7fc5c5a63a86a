"""Recognise a list of clips: a table, a JSON, labelled videos; one bad clip stops nothing."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poselens.checkpoint import make_folder, write_bytes, write_json
from poselens.errors import EnvironmentFault, PoselensError, UsageError
from poselens.recognition.labelled import moments, write_labelled_video
from poselens.recognition.recognizer import Recognizer

TABLE_FILE = "predictions.json"


def predict_clips(
    recognizer: Recognizer,
    videos: Sequence[Path],
    *,
    skeleton: Path | None,
    layout: str | None = None,
    out: Path,
    draw: bool,
    overwrite: bool,
) -> tuple[list[dict[str, Any]], int]:
    """Recognise clips in order.

    What was recognised before an interruption is written too.

    Args:
        recognizer: What recognises.
        videos: Videos; none for a skeleton file alone.
        skeleton: Skeleton file of the one video, or a data set folder that holds all of them.
        layout: Joint layout of a skeleton file that does not name its own.
        out: Folder for ``predictions.json``, ``predictions.csv`` and the labelled videos.
        draw: Whether to write labelled videos.
        overwrite: Whether results of an earlier call may be replaced.

    Returns:
        One entry per clip, and the exit code: 0 all done, 1 some failed; where all failed, the code
        of their kind, or 3 where there is none.

    Raises:
        UsageError: ``RUN-001`` results are there already, ``RUN-003`` no clip, ``RUN-005`` one
            skeleton file for several videos.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when ``out`` cannot be written.
    """
    _require_clips(videos, skeleton)
    if (out / TABLE_FILE).exists() and not overwrite:
        raise UsageError(
            "RUN-001", "results exist already", file=out / TABLE_FILE, mend="add --overwrite"
        )
    make_folder(out)
    results: list[dict[str, Any]] = []
    faults: list[PoselensError] = []
    used: set[str] = set()
    clips: list[Path | None] = [*videos] or [None]
    try:
        for video in clips:
            try:
                target = _labelled_name(video.stem, used) if draw and video else None
                results.append(_one(recognizer, video, skeleton, layout, out, target))
            except EnvironmentFault:
                raise
            except PoselensError as fault:
                faults.append(fault)
                results.append(_failed(str(video or skeleton), fault))
    finally:
        write_json(out / TABLE_FILE, {"clips": results})
        write_bytes(out / "predictions.csv", _as_csv(results).encode())
    if len(faults) < len(results):
        return results, 1 if faults else 0
    codes = {fault.exit_code for fault in faults}
    return results, codes.pop() if len(codes) == 1 and codes != {1} else 3


def _require_clips(videos: Sequence[Path], skeleton: Path | None) -> None:
    if not videos and skeleton is None:
        raise UsageError("RUN-003", "no clip", mend="give a video, --skeleton, or both")
    if len(videos) > 1 and skeleton is not None and not skeleton.is_dir():
        raise UsageError(
            "RUN-005",
            f"one skeleton file for {len(videos)} videos",
            mend="give one video at a time, or a data set folder as --skeleton",
        )


def _one(
    recognizer: Recognizer,
    video: Path | None,
    skeleton: Path | None,
    layout: str | None,
    out: Path,
    target: str | None,
) -> dict[str, Any]:
    clip = recognizer.read(video, skeleton=skeleton, layout=layout)
    shares = [1.0] if target is None else moments(clip)
    course = recognizer.course(clip, shares)
    facts = course[-1].as_dict()
    if target is not None and clip.source is not None:
        write_labelled_video(clip.source, shares, course, out / target)
        facts["labelled_video"] = str(out / target)
    return facts


def _failed(name: str, fault: PoselensError) -> dict[str, Any]:
    """Return the entry of a clip that could not be read, with the keys of one that could."""
    return {
        "clip": name,
        "status": "error",
        "label": None,
        "score": None,
        "best": None,
        "scores": {},
        "person_coverage": None,
        "notes": [],
        "error": fault.as_dict(),
        "message": str(fault),
    }


def _labelled_name(stem: str, used: set[str]) -> str:
    """Name a labelled video; two clips of one name in two folders must not share a file."""
    name, number = f"{stem}_labelled.mp4", 1
    while name in used:
        number += 1
        name = f"{stem}_{number}_labelled.mp4"
    used.add(name)
    return name


def _as_csv(results: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    classes = next((list(entry["scores"]) for entry in results if entry["scores"]), [])
    writer.writerow(["clip", "status", "label", "score", "person_coverage", "notes", *classes])
    for entry in results:
        coverage, score = entry["person_coverage"], entry["score"]
        scores = [entry["scores"].get(name) for name in classes]
        writer.writerow(
            [
                entry["clip"],
                entry["status"],
                entry["label"] or "",
                "" if score is None else f"{score:.6f}",
                "" if coverage is None else f"{coverage:.4f}",
                entry.get("message") or "; ".join(entry["notes"]),
                *("" if share is None else f"{share:.6f}" for share in scores),
            ]
        )
    return text.getvalue()
