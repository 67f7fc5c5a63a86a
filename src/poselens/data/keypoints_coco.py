"""COCO's key-point JSON: data sets, results, and what AlphaPose makes of the results.

Sources: https://cocodataset.org/#format-data and #format-results; PoseTrack's ``track_id``;
AlphaPose, docs/output.md (``image_id`` is a picture's name, ``idx`` a track); Halpe-FullBody and
COCO-WholeBody for 136 and 133 key points.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from poselens.data.clip_limits import FRAME_LIMIT
from poselens.data.json_file import read_json
from poselens.data.keypoint_people import (
    JOINT_LIMIT,
    Keypoints,
    Seen,
    assemble,
    damaged,
    numbers,
    over_limit,
    require_unique,
    track_of,
    without_doubtful,
)
from poselens.errors import SkeletonError

LAYOUTS = {17: "coco-17", 26: "halpe-26", 133: "coco-17", 136: "halpe-26"}
BODY = {133: 17, 136: 26}
"""Whole-body sets begin with the body; face and hands are left out."""
_TRACKS = ("track_id", "idx")
_NUMBER = re.compile(r"([0-9]{1,12})[^0-9]*$")
_COUNTED = re.compile(r"[0-9]{1,12}(?:\.[A-Za-z]{2,4})?")


def read_coco(path: Path, *, min_score: float = 0.0) -> Keypoints:
    """Read one clip: a list of results, or a data set whose pictures are the frames.

    With ``images`` the frames are those pictures, by ``frame_id`` where they have one, else in the
    order of their names. Without, a picture's number is its frame.

    Departure: numbers count from 0 where pictures are called by a number alone, as AlphaPose calls
    the frames of a video; else from the lowest number there is.

    Args:
        path: The JSON file.
        min_score: Joints of a lower score are missing.

    Raises:
        SkeletonError: ``SKEL-003`` over a limit, ``SKEL-010`` nobody, ``SKEL-061`` damaged.
        OSError: When it is missing or not permitted.
    """

    def refuse(text: str) -> SkeletonError:
        return damaged(path, text)

    content = read_json(path, refuse)
    names: tuple[str, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    order: dict[object, int] | None = None
    if isinstance(content, dict):
        entries = content.get("annotations")
        if "images" in content:
            order = _order(content["images"], path)
        names, edges = _names(content.get("categories"), path)
    else:
        entries = content
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise refuse("found no list of key points")
    frames, first, count = _frames(entries, order, path)
    seen = list(_people(entries, frames, path, min_score))
    positions, tracked = assemble(seen, path, frames=count, first=first)
    found = len(next(entry["keypoints"] for entry in entries if entry.get("keypoints"))) // 3
    if names and len(names) != positions.shape[2]:
        raise damaged(path, f"{len(names)} names for {positions.shape[2]} joints", "categories")
    layout = None if names else LAYOUTS.get(found)
    return Keypoints("coco", {"pixels": positions}, names, edges, layout, tracked)


def _people(
    entries: Sequence[Mapping[str, Any]], frames: Sequence[int], path: Path, min_score: float
) -> Iterator[Seen]:
    for place, (entry, frame) in enumerate(zip(entries, frames, strict=True)):
        where = f"entry {place}"
        if not entry.get("keypoints"):
            # a box without key points is in many data sets
            continue
        values = numbers(entry["keypoints"], path, where)
        if len(values) % 3 or not 1 <= len(values) // 3 <= JOINT_LIMIT:
            raise damaged(path, f"{len(values)} numbers, expected x, y, score of joints", where)
        joints = values.reshape(-1, 3)
        joints = joints[: BODY.get(len(joints), len(joints))]
        kept = without_doubtful(joints[:, :2], joints[:, 2], min_score)
        yield Seen(frame, track_of(entry, _TRACKS), kept, where)


def _order(images: object, path: Path) -> dict[object, int]:
    """Return the frame of each picture's id."""
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise damaged(path, "expected a list of pictures", "images")
    if len(images) > FRAME_LIMIT:
        raise over_limit(path, len(images), FRAME_LIMIT, "frames", "images")
    keys = []
    for place, image in enumerate(images):
        if type(image.get("id")) not in (int, str):
            raise damaged(path, "a picture without an id", f"images {place}")
        number = image.get("frame_id")
        name = image.get("file_name")
        keys.append(
            (
                number if type(number) is int else -1,
                _natural(name if isinstance(name, str) else str(image["id"])),
                image["id"],
            )
        )
    keys.sort(key=lambda key: key[:2])
    order = {identity: frame for frame, (_, _, identity) in enumerate(keys)}
    if len(order) != len(keys):
        raise damaged(path, "two pictures have one id", "images")
    return order


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return a key under which ``frame2`` comes before ``frame10``."""
    pairs = re.findall(r"([^0-9]*)([0-9]{0,18})", name)
    return tuple((text, int(digits) if digits else -1) for text, digits in pairs)


def _frames(
    entries: Sequence[Mapping[str, Any]], order: Mapping[object, int] | None, path: Path
) -> tuple[list[int], int, int | None]:
    """Return the frame of each entry, the first frame's number, and how many there are."""
    frames = []
    counted = True
    for place, entry in enumerate(entries):
        identity = entry.get("image_id")
        if not isinstance(identity, int | str):
            raise damaged(path, "an entry without an image_id", f"entry {place}")
        if order is not None:
            if identity not in order:
                raise damaged(path, f"unknown picture {identity!r}", f"entry {place}")
            frames.append(order[identity])
            continue
        number = _NUMBER.search(str(identity)) if isinstance(identity, str) else None
        if isinstance(identity, str) and number is None:
            raise damaged(path, f"picture {identity!r} has no number", f"entry {place}")
        counted = counted and isinstance(identity, str) and bool(_COUNTED.fullmatch(identity))
        frames.append(int(number[1]) if number else int(identity))
    if order is not None:
        return frames, 0, len(order)
    return frames, 0 if counted else min(frames, default=0), None


def _names(categories: object, path: Path) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the joints that the categories name, and the bones between them."""
    if categories is None:
        return (), ()
    if not isinstance(categories, list) or not all(isinstance(one, dict) for one in categories):
        raise damaged(path, "expected a list of categories", "categories")
    named = [one for one in categories if one.get("keypoints")]
    if not named:
        return (), ()
    if len(named) > 1:
        raise damaged(
            path, f"{len(named)} categories with key points, expected one", "categories",
            "keep the annotations of one category",
        )  # fmt: skip
    names, bones = named[0]["keypoints"], named[0].get("skeleton", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise damaged(path, "expected a list of joint names", "categories")
    if len(names) > JOINT_LIMIT:
        raise over_limit(path, len(names), JOINT_LIMIT, "joints", "categories")
    joints = require_unique(names, path, "categories")
    edges = []
    for bone in bones if isinstance(bones, list) else []:
        is_pair = isinstance(bone, list) and len(bone) == 2 and {*map(type, bone)} == {int}
        # bones are counted from 1
        if is_pair and all(1 <= end <= len(joints) for end in bone):
            edges.append((joints[bone[0] - 1], joints[bone[1] - 1]))
    return joints, tuple(edges)
