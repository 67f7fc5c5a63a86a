"""Key points of people in frames, brought from a tool's rows to arrays.

A reader of one tool's files yields :class:`Seen` for each person in each frame; :func:`assemble`
lays them out by track, or by slot where the tool does not say who is who.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.data.clip_limits import FRAME_LIMIT, PEOPLE_LIMIT
from poselens.errors import SkeletonError
from poselens.types import Space

Tool = Literal["coco", "openpose", "mediapipe", "deeplabcut", "sleap"]
JOINT_LIMIT = 256
NUMBER_LIMIT = 32_000_000
"""Most coordinates of one clip: 32 people for 20,000 frames of 25 joints."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """What one key-point file holds.

    Attributes:
        tool: The tool that wrote it.
        positions: ``(m, t, v, c)`` by space, NaN where missing.
        joints: Joint names in storage order; empty where the file does not name them.
        edges: Pairs of joint names that the file connects.
        layout: Layout of this tool for this number of joints, None where there is none.
        tracked: Whether a row of ``positions`` is one person throughout; else it is a slot, filled
            in the order in which the file lists people.
    """

    tool: Tool
    positions: Mapping[Space, NDArray[np.float32]]
    joints: tuple[str, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    layout: str | None = None
    tracked: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One person in one frame.

    Attributes:
        frame: Frame number.
        person: Track, None where the file does not say.
        joints: ``(v, c)``, NaN where missing.
        place: Where it stands in the file.
    """

    frame: int
    person: object
    joints: NDArray[np.float32]
    place: str


def damaged(path: Path, text: str, where: str | None = None, mend: str = "") -> SkeletonError:
    """Return ``SKEL-061``: a key-point file that contradicts its format."""
    return SkeletonError(
        "SKEL-061", text, file=path, where=where, mend=mend or "export the key points again"
    )


def over_limit(path: Path, found: int, limit: int, what: str, where: str = "") -> SkeletonError:
    """Return ``SKEL-003`` for more than is read."""
    return SkeletonError(
        "SKEL-003", f"{found} {what}, the limit is {limit}", file=path, where=where or None,
        mend="split the clip",
    )  # fmt: skip


def numbers(values: object, path: Path, where: str) -> NDArray[np.float64]:
    """Return a flat list of numbers; null becomes NaN.

    Raises:
        SkeletonError: ``SKEL-061`` for anything else, true and false among it.
    """
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float, type(None)}:
        raise damaged(path, "expected a list of numbers", where)
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError as fault:
        raise damaged(path, "a number is too large", where) from fault


def without_doubtful(
    joints: Float[np.ndarray, "*b c"], scores: Float[np.ndarray, "*b"], min_score: float
) -> Float[np.ndarray, "*b c"]:
    """Return float32 joints, NaN where the score is 0, below ``min_score``, or no number."""
    with np.errstate(over="ignore", invalid="ignore"):
        kept = joints.astype(np.float32)
    # a comparison with NaN is false
    sure = (scores > 0) & (scores >= min_score) & np.isfinite(kept).all(axis=-1)
    kept[~sure] = np.nan
    return kept


def assemble(
    seen: Iterable[Seen], path: Path, *, frames: int | None = None, first: int = 0
) -> tuple[NDArray[np.float32], bool]:
    """Lay people out as ``(m, t, v, c)``, and tell whether a row is one person throughout.

    Where everybody has a track, tracks are rows in order of appearance. Else people of a frame take
    slots in the order in which they are listed.

    Args:
        seen: People in frames, in any order of frames.
        path: The file, for messages.
        frames: Number of frames, where known; else the last in which somebody is.
        first: Number of the first frame.

    Raises:
        SkeletonError: ``SKEL-003`` over a limit, ``SKEL-010`` nobody in any frame, ``SKEL-061`` a
            person twice in one frame, people of different joint counts, or a frame before the
            first.
    """
    people = list(seen)
    if not people:
        raise nobody(path)
    shape = people[0].joints.shape
    for one in people:
        if one.joints.shape != shape:
            found, expected = one.joints.shape[0], shape[0]
            raise damaged(path, f"{found} joints, {expected} in {people[0].place}", one.place)
        if one.frame < first:
            raise damaged(path, f"frame {one.frame} comes before the first, {first}", one.place)
        if one.frame - first >= FRAME_LIMIT:
            raise over_limit(path, one.frame - first + 1, FRAME_LIMIT, "frames", one.place)
    tracked = all(one.person is not None for one in people)
    rows: dict[object, int] = {}
    taken: dict[tuple[int, int], Seen] = {}
    filled: dict[int, int] = {}
    for one in people:
        if tracked:
            row = rows.setdefault(one.person, len(rows))
        else:
            row = filled.get(one.frame, 0)
            filled[one.frame] = row + 1
        if row >= PEOPLE_LIMIT:
            count = len({other.person for other in people}) if tracked else row + 1
            raise over_limit(path, count, PEOPLE_LIMIT, "people", one.place)
        if (row, one.frame) in taken:
            raise damaged(path, f"person {one.person!r} is twice in frame {one.frame}", one.place)
        taken[row, one.frame] = one
    count = 1 + max(row for row, _ in taken)
    length = max(1 + max(one.frame for one in people) - first, frames or 0)
    require_size(path, count, length, *shape)
    positions = np.full((count, length, *shape), np.nan, np.float32)
    for (row, frame), one in taken.items():
        positions[row, frame - first] = one.joints
    return positions, tracked


def nobody(path: Path) -> SkeletonError:
    """Return ``SKEL-010``: no joint in any frame."""
    return SkeletonError(
        "SKEL-010", "nobody is in any frame", file=path,
        mend="leave the clip out, or give its video alone",
    )  # fmt: skip


def require_size(path: Path, people: int, frames: int, joints: int, coordinates: int) -> None:
    """Refuse a clip over a limit before anything is allocated for it.

    Raises:
        SkeletonError: ``SKEL-003``.
    """
    total = people * frames * joints * coordinates
    for found, limit, what in (
        (people, PEOPLE_LIMIT, "people"),
        (frames, FRAME_LIMIT, "frames"),
        (joints, JOINT_LIMIT, "joints"),
        (total, NUMBER_LIMIT, "coordinates"),
    ):
        if found > limit:
            raise over_limit(path, found, limit, what)


def track_of(entry: Mapping[str, Any], keys: Collection[str]) -> object:
    """Return the track that an entry names under one of ``keys``; None for none, or for -1."""
    for key in keys:
        value = entry.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and value % 1 == 0
            and value >= 0
        ):
            return int(value)
        if isinstance(value, str) and value:
            return value
    return None


def require_unique(names: Sequence[str], path: Path, where: str) -> tuple[str, ...]:
    """Return joint names, or refuse one that is empty or there twice.

    Raises:
        SkeletonError: ``SKEL-061``.
    """
    for name in names:
        if not name or names.count(name) > 1:
            raise damaged(path, f"joint {name!r} is nameless or there twice", where)
    return tuple(names)
