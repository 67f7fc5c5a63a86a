"""DeepLabCut's CSV of one analysed video.

Source: https://deeplabcut.github.io/DeepLabCut, "Output of analyze_videos": header rows scorer,
individuals (with several animals), bodyparts and coords (x, y, likelihood), then a row per frame
that begins with its number.
"""

from pathlib import Path

import numpy as np

from poselens.data.keypoint_people import (
    JOINT_LIMIT,
    Keypoints,
    damaged,
    nobody,
    over_limit,
    require_size,
    require_unique,
    without_doubtful,
)
from poselens.data.keypoint_table import frame_of, listed, numbers_of, require_width, rows_of
from poselens.errors import SkeletonError

HEADS = ("scorer", "individuals", "bodyparts", "coords")
_COORDINATES = ["x", "y", "likelihood"]
_LABELLED = ("labeled-data", "labeled_data")


def read_deeplabcut(path: Path, *, min_score: float = 0.0) -> Keypoints:
    """Read one clip; rows of the result are the individuals.

    Args:
        path: The CSV file.
        min_score: Joints of a lower likelihood are missing.

    Raises:
        SkeletonError: ``SKEL-003`` over a limit, ``SKEL-010`` nobody, ``SKEL-061`` damaged.
        OSError: When it is missing or not permitted.
    """
    heads: dict[str, list[str]] = {}
    rows: dict[int, tuple[int, list[str]]] = {}
    width = 0
    for line, fields in rows_of(path):
        name = fields[0].strip().lower()
        if name in HEADS and not rows:
            if name in heads:
                raise damaged(path, f"two header rows {name!r}", f"line {line}")
            heads[name] = [field.strip() for field in fields[1:]]
            width = width or len(fields)
            require_width(fields, width, path, line)
            continue
        if not fields[0].isdigit() and (fields[0].startswith(_LABELLED) or "img" in fields[0]):
            raise damaged(
                path, "labelled pictures, not the frames of a video", f"line {line}",
                "give the CSV that analyze_videos writes",
            )  # fmt: skip
        require_width(fields, width, path, line)
        frame = frame_of(fields[0], path, line)
        if frame in rows:
            raise damaged(path, f"frame {frame} is there twice", f"line {line}")
        rows[frame] = (line, fields[1:])
    if not {"scorer", "bodyparts", "coords"} <= heads.keys():
        raise damaged(path, "a header row is missing; expected scorer, bodyparts, coords", "line 1")
    if not rows:
        raise nobody(path)
    animals, joints = _columns(heads, path)
    frames = 1 + max(rows)
    require_size(path, len(animals), frames, len(joints), 2)
    positions = np.full((len(animals), frames, len(joints), 2), np.nan, np.float32)
    places = np.array(list(animals.values()))
    for frame, (line, fields) in rows.items():
        values = numbers_of(fields, path, line)[places]
        positions[:, frame] = without_doubtful(values[..., :2], values[..., 2], min_score)
    return Keypoints("deeplabcut", {"pixels": positions}, joints)


def _columns(
    heads: dict[str, list[str]], path: Path
) -> tuple[dict[str, list[list[int]]], tuple[str, ...]]:
    """Return for each individual the columns of its joints, and the joints' names."""
    parts, coordinates = heads["bodyparts"], heads["coords"]
    owners = heads.get("individuals", [""] * len(parts))
    if len(parts) % 3 or coordinates != _COORDINATES * (len(parts) // 3):
        raise damaged(path, "the row coords is not x, y, likelihood for each joint", "coords")
    if len(parts) == 0:
        raise damaged(path, "no joints", "bodyparts")
    animals: dict[str, list[list[int]]] = {}
    names: dict[str, list[str]] = {}
    for place in range(0, len(parts), 3):
        trio = range(place, place + 3)
        if len({(owners[column], parts[column]) for column in trio}) > 1:
            raise damaged(path, f"columns of {parts[place]!r} do not stand together", "bodyparts")
        animals.setdefault(owners[place], []).append(list(trio))
        names.setdefault(owners[place], []).append(parts[place])
    _leave_out_places(animals, names)
    joints = next(iter(names.values()))
    if len(joints) > JOINT_LIMIT:
        raise over_limit(path, len(joints), JOINT_LIMIT, "joints", "bodyparts")
    for animal, own in names.items():
        if own != joints:
            raise _uneven(path, animal, own, joints)
    return animals, require_unique(joints, path, "bodyparts")


def _leave_out_places(animals: dict[str, list[list[int]]], names: dict[str, list[str]]) -> None:
    """Drop what DeepLabCut files under ``single``: marks of the scene, which belong to nobody."""
    if len(animals) > 1 and "single" in animals:
        del animals["single"], names["single"]


def _uneven(path: Path, animal: str, own: list[str], joints: list[str]) -> SkeletonError:
    return damaged(
        path, f"{animal!r} has the joints {listed(own)}, others {listed(joints)}", "bodyparts",
        "give every individual the same body parts",
    )  # fmt: skip
