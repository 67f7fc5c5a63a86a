"""The skeletons of a data set: one memory-mapped array per space, and an index of clips."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.data.arrays import read_header, read_npz, require_regular_file
from poselens.data.info import SkeletonInfo, cannot_read
from poselens.errors import AnnotationError, SkeletonError
from poselens.pose.layouts import get_layout, require_joint_count
from poselens.types import Space

SKELETON_FOLDER = "skeletons"
VALUE_LIMIT = 1e6
_HASH_ROWS = 65_536


def array_path(root: Path, space: Space) -> Path:
    """Return where the joints of ``space`` lie."""
    return root / SKELETON_FOLDER / f"{space}.npy"


def index_path(root: Path, space: Space) -> Path:
    """Return where the index of ``space`` lies."""
    return root / SKELETON_FOLDER / f"{space}_index.npz"


@dataclass(frozen=True)
class JointPlace:
    """Where the joints of one clip lie, for a process that has not opened the data set.

    Attributes:
        path: The array's file.
        start: First byte of the clip.
        shape: People, frames, joints and coordinates.
    """

    path: Path
    start: int
    shape: tuple[int, int, int, int]

    def read(self) -> Float[np.ndarray, "m t v c"]:
        """Read the joints, missing ones as NaN."""
        values = np.fromfile(
            self.path, dtype="<f4", count=int(np.prod(self.shape)), offset=self.start
        )
        return mark_missing(values.reshape(self.shape))


@dataclass(frozen=True, eq=False)
class SkeletonStore:
    """Skeletons of one space, person after person, clip after clip.

    Attributes:
        rows: ``(rows, v, c)`` float32, mapped from the disk.
        ids: Ids in the index's own order.
        offset: First row of each indexed clip.
        frames: Frames of each indexed clip.
        people: People of each indexed clip; its rows are ``people * frames``.
        entry: For each clip of ``clips.csv`` its position in the index, -1 without a skeleton.
    """

    rows: Float[np.ndarray, "r v c"]
    ids: NDArray[np.str_]
    offset: Int[np.ndarray, " e"]
    frames: Int[np.ndarray, " e"]
    people: Int[np.ndarray, " e"]
    entry: Int[np.ndarray, " n"]

    def positions(self, clip: int) -> Float[np.ndarray, "m t v c"] | None:
        """Return a copy of one clip's joints, missing ones as NaN; None where there are none."""
        entry = self.entry[clip]
        if entry < 0:
            return None
        start, frames, people = self.offset[entry], self.frames[entry], self.people[entry]
        block = self.rows[start : start + frames * people]
        return mark_missing(block.reshape(people, frames, *block.shape[1:]))

    def place(self, clip: int) -> JointPlace | None:
        """Return where the joints of one clip lie in their file; None where there are none."""
        entry = self.entry[clip]
        if entry < 0 or not isinstance(self.rows, np.memmap):
            return None
        joints, coordinates = self.rows.shape[1:]
        start = self.rows.offset + int(self.offset[entry]) * joints * coordinates * 4
        shape = (int(self.people[entry]), int(self.frames[entry]), joints, coordinates)
        return JointPlace(Path(str(self.rows.filename)), start, shape)

    def digest(self) -> bytes:
        """Return the SHA-256 of the joints and their index, the same on every machine."""
        digest = hashlib.sha256(repr(self.rows.shape).encode())
        for block in self._blocks():
            digest.update(block.astype("<f4").tobytes())
        digest.update("\n".join(self.ids).encode())
        for numbers in (self.offset, self.frames, self.people):
            digest.update(numbers.astype("<i8").tobytes())
        return digest.digest()

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all rows, read and not mapped: mapped ones would count as memory of the process."""
        if not isinstance(self.rows, np.memmap):
            yield np.asarray(self.rows)
            return
        each = int(np.prod(self.rows.shape[1:]))
        with Path(str(self.rows.filename)).open("rb") as file:
            file.seek(self.rows.offset)
            for start in range(0, len(self.rows), _HASH_ROWS):
                rows = min(_HASH_ROWS, len(self.rows) - start)
                yield np.frombuffer(file.read(rows * each * 4), dtype=np.float32)


def mark_missing(positions: Float[np.ndarray, "*b v c"]) -> Float[np.ndarray, "*b v c"]:
    """Return a float32 copy in which a joint with any NaN or infinite coordinate is all NaN.

    Numbers too large for float32 count as infinite, hence as missing.
    """
    # a signalling NaN is invalid to convert, and missing like any other
    with np.errstate(over="ignore", invalid="ignore"):
        copy = np.array(positions, dtype=np.float32)
    copy[~np.isfinite(copy).all(axis=-1)] = np.nan
    return copy


def zeros_are_missing(positions: Float[np.ndarray, "*b v c"]) -> Float[np.ndarray, "*b v c"]:
    """Return a float32 copy in which a joint exactly at the origin is NaN.

    For formats whose sensor writes zeros for a joint it did not see.
    """
    copy = mark_missing(positions)
    copy[(copy == 0).all(axis=-1)] = np.nan
    return copy


def open_store(
    root: Path, space: Space, info: SkeletonInfo, clip_ids: NDArray[np.str_]
) -> SkeletonStore:
    """Map the joints of ``space`` and match their index with the clips.

    Entries of the index that no clip names are kept aside: a person may delete rows of clips.csv.

    Raises:
        AnnotationError: ``DATA-011`` when the array or its index is missing, damaged, or they do
            not match.
        SkeletonError: ``SKEL-004`` when the joint count is not the layout's.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    path = array_path(root, space)
    rows = _map_rows(path)
    require_joint_count(rows.shape[1], get_layout(info.layout), file=str(path))
    if rows.shape[2] != info.dimensions:
        raise AnnotationError(
            "DATA-011",
            f"joints have {rows.shape[2]} coordinates, dataset.yaml says {info.dimensions}",
            file=path,
        )
    ids, (offset, frames, people) = _read_index(index_path(root, space), len(rows))
    return SkeletonStore(rows, ids, offset, frames, people, _match(clip_ids, ids))


def _map_rows(path: Path) -> Float[np.ndarray, "r v c"]:
    def refuse(text: str) -> AnnotationError:
        return AnnotationError("DATA-011", text, file=path, mend="import the data set again")

    try:
        size = require_regular_file(path, refuse)
        with path.open("rb") as stream:
            header = read_header(stream, refuse)
        if header.dtype != np.float32 or len(header.shape) != 3 or header.column_major:
            raise refuse(
                f"found {header.dtype} {header.shape}, expected float32 (rows, joints, coordinates)"
            )
        if size != header.offset + header.bytes:
            raise refuse(f"found {size} bytes, expected {header.offset + header.bytes}")
        if header.bytes == 0:
            return np.empty(header.shape, dtype=np.float32)
        return np.memmap(
            path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape
        )
    except FileNotFoundError as fault:
        raise refuse("the file is missing, but dataset.yaml lists these skeletons") from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault


def _read_index(path: Path, rows: int) -> tuple[NDArray[np.str_], list[NDArray[np.int64]]]:
    def refuse(text: str) -> AnnotationError:
        return AnnotationError("DATA-011", text, file=path, mend="import the data set again")

    try:
        arrays: dict[str, NDArray[Any]] = read_npz(path, refuse)
    except FileNotFoundError as fault:
        raise refuse("the index of the skeletons is missing") from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    names = ("ids", "offset", "frames", "people")
    kinds = ("U", "iu", "iu", "iu")
    for name, kind in zip(names, kinds, strict=True):
        if name not in arrays or arrays[name].ndim != 1 or arrays[name].dtype.kind not in kind:
            raise refuse(f"array {name!r} is missing or of the wrong type")
        if len(arrays[name]) != len(arrays["ids"]):
            raise refuse(f"{len(arrays['ids'])} ids, but {len(arrays[name])} of {name}")
    ids = arrays["ids"].astype(np.str_)
    # each bounded by the rows first, so that their product cannot overflow
    numbers = [np.clip(arrays[name].astype(np.int64), -1, rows + 1) for name in names[1:]]
    offset, frames, people = numbers
    wrong = (offset < 0) | (frames < 1) | (people < 1) | (offset + frames * people > rows)
    if wrong.any():
        raise refuse(f"clip {str(ids[wrong.argmax()])!r} lies outside the array of {rows} rows")
    if len(np.unique(ids)) != len(ids):
        raise refuse("an id is in the index twice")
    return ids, numbers


def _match(clip_ids: NDArray[np.str_], index_ids: NDArray[np.str_]) -> Int[np.ndarray, " n"]:
    if len(index_ids) == 0:
        return np.full(len(clip_ids), -1, dtype=np.int64)
    if np.array_equal(clip_ids, index_ids):
        return np.arange(len(clip_ids), dtype=np.int64)
    order = np.argsort(index_ids)
    near = order[np.searchsorted(index_ids, clip_ids, sorter=order).clip(max=len(order) - 1)]
    return np.where(index_ids[near] == clip_ids, near, -1)


def check_positions(
    positions: NDArray[Any], info: SkeletonInfo, *, file: Path | None, where: str | None = None
) -> Float[np.ndarray, "m t v c"]:
    """Return joints as float32 with NaN for missing ones, or refuse them.

    Raises:
        SkeletonError: ``SKEL-004`` joint count, ``SKEL-005`` shape, ``SKEL-008`` a value beyond a
            million.
    """
    if positions.ndim != 4 or positions.shape[3] != info.dimensions or 0 in positions.shape[:2]:
        raise SkeletonError(
            "SKEL-005",
            f"found shape {positions.shape}, expected (people, frames, joints, {info.dimensions})",
            file=file,
            where=where,
            mend="give at least one person and one frame",
        )
    require_joint_count(
        positions.shape[2], get_layout(info.layout), file=None if file is None else str(file)
    )
    joints = mark_missing(positions)
    largest = float(np.abs(np.nan_to_num(joints)).max())
    if largest > VALUE_LIMIT:
        raise SkeletonError(
            "SKEL-008",
            f"a coordinate of {largest:.3g}, the limit is {VALUE_LIMIT:.0e}",
            file=file,
            where=where,
            mend="give joints in pixels or in metres",
        )
    return joints
