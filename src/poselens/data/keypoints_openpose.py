"""OpenPose's folder of one JSON file per frame.

Source: https://github.com/CMU-Perceptual-Computing-Lab/openpose, doc/02_output.md: files
``NAME_000000000012_keypoints.json`` with ``people``, each with ``pose_keypoints_2d`` of x, y and
confidence for 18 (COCO) or 25 (BODY_25) joints, and ``person_id`` [-1] where nobody is tracked.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

from poselens.data.arrays import require_regular_file
from poselens.data.clip_limits import FILE_LIMIT, FRAME_LIMIT
from poselens.data.json_file import read_json
from poselens.data.keypoint_people import (
    Keypoints,
    Seen,
    assemble,
    damaged,
    numbers,
    over_limit,
    track_of,
    without_doubtful,
)
from poselens.errors import SkeletonError

LAYOUTS = {18: "openpose-18", 25: "openpose-25"}
SUFFIX = "_keypoints.json"
_NAME = re.compile(r"(.*?)_?([0-9]{1,12})" + re.escape(SUFFIX))


def read_openpose(path: Path, *, min_score: float = 0.0) -> Keypoints:
    """Read one clip: the files of its frames, by their number from the lowest.

    Args:
        path: The folder.
        min_score: Joints of a lower confidence are missing.

    Raises:
        SkeletonError: ``SKEL-003`` over a limit, ``SKEL-010`` nobody, ``SKEL-061`` damaged, or
            files of several videos.
        OSError: When a file is not permitted.
    """
    files = _files(path)
    total = 0
    seen: list[Seen] = []
    for frame, file in files.items():
        total += require_regular_file(file, partial(damaged, file))
        if total > FILE_LIMIT:
            raise over_limit(path, total, FILE_LIMIT, "bytes")
        seen += _people(file, frame, min_score)
    count = len(seen[0].joints) if seen else 0
    for one in seen:
        if len(one.joints) != count:
            raise damaged(path, f"{len(one.joints)} joints, {count} before", one.place)
    first = min(files)
    positions, tracked = assemble(seen, path, frames=max(files) - first + 1, first=first)
    return Keypoints("openpose", {"pixels": positions}, layout=LAYOUTS.get(count), tracked=tracked)


def _files(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    names: set[str] = set()
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        match = _NAME.fullmatch(file.name)
        if match is None or int(match[2]) in files:
            raise damaged(folder, f"{file.name} has no frame number of its own", file.name)
        names.add(match[1])
        files[int(match[2])] = file
    if len(names) > 1:
        raise damaged(
            folder, f"files of {len(names)} videos", mend="give each clip a folder of its own"
        )
    if not files:
        raise damaged(folder, f"no file ends in {SUFFIX}")
    span = max(files) - min(files) + 1
    if span > FRAME_LIMIT:
        raise over_limit(folder, span, FRAME_LIMIT, "frames")
    return files


def _people(file: Path, frame: int, min_score: float) -> list[Seen]:
    def refuse(text: str) -> SkeletonError:
        return damaged(file, text)

    content = read_json(file, refuse)
    people: Any = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(one, dict) for one in people):
        raise refuse("found no list of people")
    seen = []
    for place, one in enumerate(people):
        values = numbers(one.get("pose_keypoints_2d", []), file, f"person {place}")
        if not len(values):
            # hands or a face without a body
            continue
        if len(values) % 3:
            raise damaged(file, f"{len(values)} numbers, expected x, y, score", f"person {place}")
        joints = values.reshape(-1, 3)
        kept = without_doubtful(joints[:, :2], joints[:, 2], min_score)
        seen.append(Seen(frame, track_of(one, ("person_id",)), kept, f"{file.name} person {place}"))
    return seen
