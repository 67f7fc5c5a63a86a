"""Recognise a list of clips: a table, a JSON, labelled videos; one bad clip stops nothing."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poselens.checkpoint import write_bytes, write_json
from poselens.errors import InputError, UsageError
from poselens.recognition.labelled import write_labelled_video
from poselens.recognition.recognizer import Recognizer


def predict_clips(
    recognizer: Recognizer,
    videos: Sequence[Path],
    *,
    skeleton: Path | None,
    out: Path,
    draw: bool,
    overwrite: bool,
) -> tuple[list[dict[str, Any]], int]:
    """Recognise clips in order.

    Returns:
        One entry per clip, and the exit code: 0 all done, 1 some failed, 3 all failed.

    Raises:
        UsageError: ``RUN-001`` results are there already, ``RUN-003`` no clip, ``RUN-005`` one
            skeleton file for several videos.
    """
    if not videos and skeleton is None:
        raise UsageError("RUN-003", "no clip", mend="give a video, --skeleton, or both")
    if len(videos) > 1 and skeleton is not None and not skeleton.is_dir():
        raise UsageError(
            "RUN-005",
            f"one skeleton file for {len(videos)} videos",
            mend="give one video at a time, or a data set folder as --skeleton",
        )
    table = out / "predictions.json"
    if table.exists() and not overwrite:
        raise UsageError("RUN-001", "results exist already", file=table, mend="add --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    wanted: list[Path | None] = [*videos] or [None]
    results = [_one(recognizer, video, skeleton, out, draw=draw) for video in wanted]
    write_json(table, {"clips": results})
    write_bytes(out / "predictions.csv", _as_csv(results).encode())
    failed = sum(entry["status"] == "error" for entry in results)
    return results, 0 if not failed else 3 if failed == len(results) else 1


def _one(
    recognizer: Recognizer, video: Path | None, skeleton: Path | None, out: Path, *, draw: bool
) -> dict[str, Any]:
    name = str(video or skeleton)
    try:
        clip = recognizer.read(video, skeleton=skeleton)
        recognition = recognizer.score(clip)
        facts = recognition.as_dict()
        if draw and clip.source is not None:
            target = _free_name(out, Path(name).stem)
            write_labelled_video(recognizer, clip, recognition, target)
            facts["labelled_video"] = str(target)
    except InputError as fault:
        return {"clip": name, "status": "error", "error": fault.as_dict(), "message": str(fault)}
    return facts


def _free_name(out: Path, stem: str) -> Path:
    """Two clips of one name in two folders must not share a file."""
    target, number = out / f"{stem}_labelled.mp4", 1
    while target.exists():
        number += 1
        target = out / f"{stem}_{number}_labelled.mp4"
    return target


def _as_csv(results: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    classes = next((list(entry["scores"]) for entry in results if "scores" in entry), [])
    writer.writerow(["clip", "status", "label", "score", "person_coverage", "notes", *classes])
    for entry in results:
        if entry["status"] == "error":
            writer.writerow([entry["clip"], "error", "", "", "", entry["message"]])
            continue
        writer.writerow(
            [
                entry["clip"],
                entry["status"],
                entry["label"],
                f"{entry['score']:.6f}",
                "" if entry["person_coverage"] is None else f"{entry['person_coverage']:.4f}",
                "; ".join(entry["notes"]),
                *(f"{entry['scores'][name]:.6f}" for name in classes),
            ]
        )
    return text.getvalue()
