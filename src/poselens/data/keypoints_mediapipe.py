"""MediaPipe's pose landmarks, as scripts dump them: JSON or CSV.

Source: https://ai.google.dev/edge/mediapipe/solutions/vision/pose_landmarker: 33 landmarks with x
and y as shares of the picture's width and height, and visibility; world landmarks in metres about
the middle of the hips. MediaPipe has no file format of its own; read are a list of frames, each a
list of landmarks or an object that holds one, and tables with a row per frame or per landmark.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselens.data.clip_limits import FRAME_LIMIT
from poselens.data.json_file import read_json
from poselens.data.keypoint_people import (
    Keypoints,
    Seen,
    assemble,
    damaged,
    nobody,
    over_limit,
    without_doubtful,
)
from poselens.data.keypoint_table import frame_of, numbers_of, require_width, rows_of
from poselens.errors import SkeletonError
from poselens.types import Space

LAYOUT = "mediapipe-33"
JOINTS = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye",
    "right_eye_outer", "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_pinky",
    "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel",
    "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip
SHARE_LIMIT = 8.0
"""Shares of the picture beyond this are pixels."""
_IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark", "pose")
_WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "world_landmarks", "worldLandmarks")
_FRAMES = ("frames", "results", "data")
_NUMBER = ("frame", "frame_idx", "frame_index", "frame_id", "frame_number")
_WIDTH, _HEIGHT = (
    ("width", "image_width", "frame_width"),
    ("height", "image_height", "frame_height"),
)
_AXES = {"x": 0, "y": 1, "z": 2, "v": 3, "vis": 3, "visibility": 3, "presence": 4, "p": 4}
_COLUMN = re.compile(
    r"(?:(?P<axis1>x|y|z|v|vis|visibility)_?(?P<index1>[0-9]{1,2})"
    r"|(?:(?:landmark|lm|pose|joint|kp)_?)?(?P<index2>[0-9]{1,2})_?(?P<axis2>x|y|z|v|vis|visibility|presence)"
    r"|(?P<name>[a-z_]+)_(?P<axis3>x|y|z|v|vis|visibility|presence))"
)
_LANDMARK = ("landmark", "landmark_id", "landmark_index", "landmark_name", "id", "index", "joint")


def read_mediapipe(
    path: Path, *, size: tuple[int, int] | None = None, min_score: float = 0.0
) -> Keypoints:
    """Read one clip.

    Args:
        path: The JSON or CSV file.
        size: Height and width of the video's picture, where the file does not say.
        min_score: Joints of a lower visibility are missing.

    Raises:
        SkeletonError: ``SKEL-003`` over a limit, ``SKEL-010`` nobody, ``SKEL-061`` damaged,
            ``SKEL-064`` no size of the picture.
        OSError: When it is missing or not permitted.
    """
    if path.suffix.lower() == ".csv":
        image, world, own = list(_table(path)), list[Seen](), None
    else:
        image, world, own = _frames(path)
    size = size or own
    positions: dict[Space, NDArray[np.float32]] = {}
    if not image and not world:
        raise nobody(path)
    frames = 1 + max(one.frame for one in (*image, *world))
    if image:
        pixels = [_scaled(one, _require_size(size, path), path, min_score) for one in image]
        positions["pixels"] = assemble(pixels, path, frames=frames)[0]
    if world:
        metres = [_kept(one, min_score) for one in world]
        positions["metres"] = assemble(metres, path, frames=frames)[0]
    people = {space: len(each) for space, each in positions.items()}
    if len(set(people.values())) > 1:
        raise damaged(path, f"people differ between landmarks and world landmarks: {people}")
    tracked = next(iter(people.values())) == 1
    return Keypoints("mediapipe", positions, layout=LAYOUT, tracked=tracked)


def _require_size(size: tuple[int, int] | None, path: Path) -> tuple[int, int]:
    if size is None:
        raise SkeletonError(
            "SKEL-064", "landmarks are shares of a picture whose size is not known", file=path,
            mend="give its video, or --size WIDTHxHEIGHT",
        )  # fmt: skip
    return size


def _scaled(one: Seen, size: tuple[int, int], path: Path, min_score: float) -> Seen:
    shares = one.joints[:, :2]
    if np.nanmedian(np.abs(np.nan_to_num(shares))) > SHARE_LIMIT:
        raise damaged(
            path, "coordinates are no shares of the picture", one.place,
            "give landmarks as MediaPipe returns them, or pixels as .npz",
        )  # fmt: skip
    with np.errstate(over="ignore"):
        pixels = shares * np.array([size[1], size[0]], np.float32)
    return Seen(one.frame, None, without_doubtful(pixels, one.joints[:, 3], min_score), one.place)


def _kept(one: Seen, min_score: float) -> Seen:
    joints = without_doubtful(one.joints[:, :3], one.joints[:, 3], min_score)
    return Seen(one.frame, None, joints, one.place)


def _frames(path: Path) -> tuple[list[Seen], list[Seen], tuple[int, int] | None]:
    """Return landmarks, world landmarks, and the size of the picture where the file says it."""

    def refuse(text: str) -> SkeletonError:
        return damaged(path, text)

    content = read_json(path, refuse)
    size = None
    if isinstance(content, dict):
        height, width = _first(content, _HEIGHT), _first(content, _WIDTH)
        if type(height) is int and type(width) is int and 0 < min(height, width) < 100_000:
            size = (height, width)
        content = _first(content, _FRAMES)
    if not isinstance(content, list):
        raise refuse("found no list of frames")
    if len(content) > FRAME_LIMIT:
        raise over_limit(path, len(content), FRAME_LIMIT, "frames")
    image: list[Seen] = []
    world: list[Seen] = []
    for place, frame in enumerate(content):
        where = f"frame {place}"
        number = _first(frame, _NUMBER) if isinstance(frame, dict) else None
        if type(number) is not int or number < 0:
            number = place
        if isinstance(frame, dict):
            image += _people(_first(frame, _IMAGE), number, where, path)
            world += _people(_first(frame, _WORLD), number, where, path)
        else:
            image += _people(frame, number, where, path)
    return image, world, size


def _first(content: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((content[key] for key in keys if key in content), None)


def _people(found: object, frame: int, where: str, path: Path) -> list[Seen]:
    """Return the people of a frame: none, one list of landmarks, or a list of such lists."""
    if isinstance(found, dict):
        found = found.get("landmark", found.get("landmarks"))
    if found is None or found == []:
        return []
    if not isinstance(found, list):
        raise damaged(path, "expected a list of landmarks", where)
    several = found if isinstance(found[0], list) and found[0] and _is_body(found[0]) else [found]
    return [Seen(frame, None, _body(body, where, path), where) for body in several]


def _is_body(found: Sequence[object]) -> bool:
    return isinstance(found[0], dict | list)


def _body(found: object, where: str, path: Path) -> NDArray[np.float32]:
    """Return ``(33, 4)``: x, y, z and visibility, 1 where there is none."""
    if not isinstance(found, list) or len(found) != len(JOINTS):
        count = len(found) if isinstance(found, list) else 0
        raise damaged(path, f"{count} landmarks, expected {len(JOINTS)}", where)
    body = np.full((len(JOINTS), 4), np.nan, np.float64)
    for joint, landmark in enumerate(found):
        if isinstance(landmark, dict):
            values = [landmark.get(axis) for axis in ("x", "y", "z")]
            values.append(landmark.get("visibility", landmark.get("presence", 1)))
        elif isinstance(landmark, list) and 2 <= len(landmark) <= 5:
            values = [*landmark[:3], *[None] * (3 - len(landmark)), *(landmark[3:4] or [1])]
        else:
            raise damaged(path, "expected x, y, z and visibility", f"{where} landmark {joint}")
        if not set(map(type, values)) <= {int, float, type(None)}:
            raise damaged(path, "expected numbers", f"{where} landmark {joint}")
        try:
            body[joint] = [np.nan if value is None else value for value in values]
        except OverflowError as fault:
            raise damaged(path, "a number is too large", f"{where} landmark {joint}") from fault
    return _single(body)


def _single(body: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        return body.astype(np.float32)


def _table(path: Path) -> Iterator[Seen]:
    rows = rows_of(path)
    _, head = next(rows, (1, []))
    header = [name.strip().lower() for name in head]
    frame_column = next((header.index(name) for name in _NUMBER if name in header), None)
    if {"x", "y"} <= set(header):
        yield from _long(rows, header, frame_column, path)
        return
    columns = _wide_columns(header, path)
    count = 0
    for line, fields in rows:
        require_width(fields, len(header), path, line)
        frame = count if frame_column is None else frame_of(fields[frame_column], path, line)
        count += 1
        values = numbers_of([fields[column] for _, _, column in columns], path, line)
        body = np.full((len(JOINTS), 5), np.nan)
        body[:, 3] = 1
        for (joint, axis, _), value in zip(columns, values, strict=True):
            body[joint, axis] = value
        if np.isfinite(body[:, :2]).any():
            yield Seen(frame, None, _single(body[:, :4]), f"line {line}")
    if count > FRAME_LIMIT:
        raise over_limit(path, count, FRAME_LIMIT, "frames")


def _wide_columns(header: Sequence[str], path: Path) -> list[tuple[int, int, int]]:
    """Return joint, axis and place of every column that holds a coordinate."""
    found: list[tuple[int, int, int]] = []
    for place, name in enumerate(header):
        match = _COLUMN.fullmatch(name)
        if match is None:
            continue
        axis = match["axis1"] or match["axis2"] or match["axis3"]
        if match["name"] is None:
            found.append((int(match["index1"] or match["index2"]), _AXES[axis], place))
        elif match["name"] in JOINTS:
            found.append((JOINTS.index(match["name"]), _AXES[axis], place))
    joints = {joint for joint, axis, _ in found if axis == 1}
    first = min(joints, default=0)
    if joints != set(range(first, first + len(JOINTS))) or first > 1:
        raise damaged(
            path, f"columns of {len(joints)} landmarks, expected {len(JOINTS)}", "line 1",
            "name columns x0, y0, z0, v0 to v32, or nose_x and so on",
        )  # fmt: skip
    columns = [(joint - first, axis, place) for joint, axis, place in found]
    if len({column[:2] for column in columns}) != len(columns):
        raise damaged(path, "two columns for one coordinate", "line 1")
    return [column for column in columns if 0 <= column[0] < len(JOINTS)]


def _long(
    rows: Iterator[tuple[int, list[str]]], header: Sequence[str], frame: int | None, path: Path
) -> Iterator[Seen]:
    joint = next((header.index(name) for name in _LANDMARK if name in header), None)
    if frame is None or joint is None or len(set(header)) != len(header):
        raise damaged(path, "expected columns frame, landmark, x, y, z, visibility", "line 1")
    axes = [(_AXES[name], place) for place, name in enumerate(header) if name in _AXES]
    bodies: dict[int, NDArray[np.float64]] = {}
    for line, fields in rows:
        require_width(fields, len(header), path, line)
        number = frame_of(fields[frame], path, line)
        name = fields[joint].strip().lower()
        index = JOINTS.index(name) if name in JOINTS else frame_of(name, path, line)
        if index >= len(JOINTS) or number >= FRAME_LIMIT:
            raise damaged(path, f"landmark {index} of frame {number}", f"line {line}")
        if number not in bodies:
            bodies[number] = np.full((len(JOINTS), 5), np.nan)
        if np.isfinite(bodies[number][index, 3]):
            raise damaged(path, f"landmark {index} is twice in frame {number}", f"line {line}")
        bodies[number][index, 3] = 1
        for (axis, _), value in zip(
            axes, numbers_of([fields[place] for _, place in axes], path, line), strict=True
        ):
            bodies[number][index, axis] = value
    for number, body in bodies.items():
        yield Seen(number, None, _single(body[:, :4]), f"frame {number}")
