"""BORIS' project and tables, with the columns of its own exports."""

import json
from pathlib import Path

import numpy as np

from poselens.data.video import write_video

AGGREGATED = (
    "Observation id", "Observation date", "Description", "Media file", "Total length", "FPS",
    "Subject", "Behavior", "Behavioral category", "Modifiers", "Behavior type", "Start (s)",
    "Stop (s)", "Duration (s)", "Comment start", "Comment stop",
)  # fmt: skip
BEHAVIOURS = {
    "0": {"type": "Point event", "key": "p", "code": "p", "modifiers": {}},
    "1": {"type": "State event", "key": "s", "code": "s", "modifiers": {}},
    "2": {"type": "State event with coding map", "key": "t", "code": "t", "modifiers": {}},
}


def aggregated_row(
    observation: str, media: str, subject: str, behaviour: str, start: float, stop: float
) -> list[str]:
    kind = "POINT" if start == stop else "STATE"
    lasts = "NA" if start == stop else f"{stop - start:.3f}"
    return [
        observation, "2026-01-02 03:04:05", "", media, "20.0", "10.0", subject, behaviour, "", "",
        kind, f"{start:.3f}", f"{stop:.3f}", lasts, "", "",
    ]  # fmt: skip


def aggregated(rows: list[list[str]], separator: str = "\t") -> str:
    return "\n".join(separator.join(row) for row in [list(AGGREGATED), *rows]) + "\n"


def single_events(media: str, events: list[tuple[float, str, str, str]]) -> str:
    """The table of one observation, whose facts stand above it."""
    above = [
        ["Observation id", "one"], ["Media file(s)"], ["Player #1", media],
        ["Time offset (s)", "0.0"],
        ["Time", "Media file path", "Total length", "FPS", "Subject", "Behavior",
         "Behavioral category", "Comment", "Status"],
    ]  # fmt: skip
    rows = [[f"{t:.3f}", media, "20.0", "10.0", who, what, "", "", status]
            for t, who, what, status in events]  # fmt: skip
    return "\n".join("\t".join(row) for row in [*above, *rows]) + "\n"


def project(observations: dict[str, dict[str, object]]) -> str:
    return json.dumps(
        {
            "time_format": "hh:mm:ss", "project_name": "p", "project_format_version": "7.0",
            "subjects_conf": {}, "observations": observations, "behaviors_conf": BEHAVIOURS,
        }
    )  # fmt: skip


def observation(
    media: dict[str, float], events: list[list[object]], **change: object
) -> dict[str, object]:
    facts: dict[str, object] = {
        "date": "2026-01-02T03:04:05", "file": {"1": list(media), "2": []}, "type": "MEDIA",
        "time offset": 0.0, "events": events, "description": "",
        "media_info": {"length": media, "fps": dict.fromkeys(media, 10.0)},
    }  # fmt: skip
    return facts | change


def write_videos(folder: Path, names: list[str], *, seconds: int = 4) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        frames = np.full((10 * seconds, 32, 48, 3), 50, np.uint8)
        for frame, picture in enumerate(frames):
            left = frame % 10 * 3 if frame // 10 % 2 else 30 - frame % 10 * 3
            picture[8 + number : 18 + number, left : left + 8] = (240, 200, 40)
        write_video(folder / name, frames, fps=10, gop=5)


def importing(root: Path) -> tuple[list[object], str, str]:
    """What follows ``poselens data import``, the protocol, and the branch that can train."""
    names = [f"day{n}.mp4" for n in range(6)]
    write_videos(root / "boris", names)
    rows = [
        aggregated_row(name, f"C:\\rec\\{name}", f"rat{n}", ("left", "right")[k % 2], k, k + 1)
        for n, name in enumerate(names)
        for k in range(4)
    ]
    (root / "boris/events.tsv").write_text(aggregated(rows))
    return ["boris", root / "boris/events.tsv"], "random", "rgb"
