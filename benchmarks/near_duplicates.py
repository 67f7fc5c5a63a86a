"""How far copies of clips lie from their originals, and other clips from each other.

Run: ``python benchmarks/near_duplicates.py DATASET``. Copies are made of every n-th clip, of its
video or of its joints; of other clips, those are compared that move most alike. Thresholds of
``data/duplicates`` lie between the two: docs/decisions/0015-near-duplicates.md.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from poselens.data import duplicates, inspect
from poselens.data.duplicates import Likeness, band_keys, distances
from poselens.data.folder import ClipFolder, open_folder
from poselens.data.inspect import ClipTask, FileTask, inspect_file
from poselens.data.video import iterate_frames, write_video

EDGES = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5]
JOINT_EDGES = [0, 0.001, 0.002, 0.004, 0.006, 0.008, 0.012, 0.016, 0.02, 0.03, 0.05, 0.1, 0.2, 3]
NEAREST = 8


def halved(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames of half the height and width."""
    size = (frames.shape[2] // 4 * 2, frames.shape[1] // 4 * 2)
    return np.stack([np.asarray(Image.fromarray(f).resize(size)) for f in frames])


VIDEO_COPIES: dict[str, Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], int]]] = {
    "crf 28": lambda frames: (frames, 28),
    "crf 32": lambda frames: (frames, 32),
    "half size": lambda frames: (halved(frames), 23),
    "half size, crf 28": lambda frames: (halved(frames), 28),
    "2 frames less at the start": lambda frames: (frames[2:], 23),
    "2 frames less at the end": lambda frames: (frames[:-2], 23),
    "half size, crf 32, 4 frames less": lambda frames: (halved(frames)[2:-2], 32),
}
JOINT_COPIES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "2 frames less at the start": lambda joints: joints[2:],
    "2 frames less at the end": lambda joints: joints[:-2],
    "rounded to 1/1000": lambda joints: np.round(joints, 3),
    "1000 times as large, moved": lambda joints: 1000 * joints + 5,
    "rounded to 1/100": lambda joints: np.round(joints, 2),
}


def line_of(folder: ClipFolder, clip: int) -> NDArray[np.float32]:
    """Return what is compared frame by frame."""
    path = folder.video_path(clip)
    task = ClipTask(clip, metres=folder.joint_place(clip, "metres"))
    line = inspect._line(path, task)
    assert line is not None
    return line


def likeness_of(folder: ClipFolder, clip: int) -> Likeness | None:
    """Return what is compared coarsely."""
    task = ClipTask(clip, metres=folder.joint_place(clip, "metres"))
    return inspect_file(FileTask(folder.video_path(clip), (task,)))[0].likeness


def copies_of(
    folder: ClipFolder, clip: int, scratch: Path
) -> Iterator[tuple[str, Likeness | None, NDArray[np.float32] | None]]:
    """Yield every copy of one clip: what was done, likeness, and line of frames."""
    path = folder.video_path(clip)
    if path is None:
        joints = line_of(folder, clip)
        for name, change in JOINT_COPIES.items():
            changed = change(joints)
            yield name, duplicates.joint_likeness(changed[None]), changed
        return
    frames = np.stack(list(iterate_frames(path)))
    for name, make in VIDEO_COPIES.items():
        pictures, crf = make(frames)
        write_video(scratch / "copy.mp4", pictures, fps=30, crf=crf)
        inspect._line.cache_clear()
        seen = inspect_file(FileTask(scratch / "copy.mp4", (ClipTask(0),)))[0]
        yield name, seen.likeness, inspect._line(scratch / "copy.mp4", ClipTask(0))


def others(likenesses: list[Likeness]) -> Iterator[tuple[int, int, float]]:
    """Yield each clip with those that move most like it."""
    moves = np.stack([one.moves for one in likenesses])
    frames = np.array([one.frames for one in likenesses])
    for clip in range(len(moves)):
        both = np.stack([np.full(len(frames), frames[clip]), frames], axis=1)
        apart = distances(np.broadcast_to(moves[clip], moves.shape), moves, both)
        apart[clip] = np.inf
        for other in np.argsort(apart)[:NEAREST].tolist():
            if clip < other:
                yield clip, other, float(apart[other])


def told(values: list[float], edges: list[float]) -> dict[str, object]:
    """Return quantiles and a histogram."""
    known = np.array([value for value in values if np.isfinite(value)])
    points = np.percentile(known, [0, 1, 5, 50, 95, 99, 100]).round(4).tolist()
    return {
        "pairs": len(known),
        "least, 1 %, 5 %, median, 95 %, 99 %, most": points,
        "histogram": np.histogram(known, bins=edges)[0].tolist(),
    }


def main() -> None:
    """Compare copies and others, print distances as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--every", type=int, default=8, help="Copies are made of every n-th clip.")
    arguments = parser.parse_args()
    folder = open_folder(arguments.dataset)
    known = {clip: likeness_of(folder, clip) for clip in range(len(folder))}
    moving = {clip: one for clip, one in known.items() if one is not None}
    filmed = folder.video_path(0) is not None
    compare = duplicates.frame_distance if filmed else duplicates.joint_distance
    limit = duplicates.COPY if filmed else duplicates.COPY_JOINTS
    edges = EDGES if filmed else JOINT_EDGES
    duplicates.COPY_JOINTS = 10.0  # the quick way out would hide how far others are
    found: dict[str, list[tuple[float, float, bool]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for clip in list(moving)[:: arguments.every]:
            original = line_of(folder, clip)
            for name, likeness, line in copies_of(folder, clip, Path(scratch)):
                if likeness is not None and line is not None:
                    shared = bool((band_keys(likeness) == band_keys(moving[clip])).any())
                    coarse = duplicates.distance(likeness, moving[clip])
                    found.setdefault(name, []).append((coarse, compare(line, original), shared))
    clips = list(moving)
    pairs = list(others(list(moving.values())))
    apart = [compare(line_of(folder, clips[a]), line_of(folder, clips[b])) for a, b, _ in pairs]
    alike = duplicates.ALIKE if filmed else duplicates.ALIKE_JOINTS
    report = {
        "dataset": folder.info.name,
        "clips": len(folder),
        "edges": edges,
        "copies": {
            name: {
                "coarse": told([one for one, _, _ in values], EDGES),
                "frame by frame": told([one for _, one, _ in values], edges),
                "found": round(
                    sum(a <= alike and b <= limit and c for a, b, c in values) / len(values), 3
                ),
            }
            for name, values in found.items()
        },
        "others": {
            "coarse": told([one for _, _, one in pairs], EDGES),
            "frame by frame": told(apart, edges),
            "taken for copies": int(sum(one <= limit for one in apart)),
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
