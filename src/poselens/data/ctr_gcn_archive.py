"""CTR-GCN's archives read clip by clip: larger than memory, and nobody vouches for them."""

import errno
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.data.arrays import (
    RATIO_FLOOR,
    RATIO_LIMIT,
    ArrayHeader,
    Refuse,
    read_data,
    read_header,
    require_regular_file,
)
from poselens.data.clip_limits import FRAME_LIMIT
from poselens.data.info import cannot_read
from poselens.errors import AnnotationError, PoselensError

ARCHIVE_LIMIT = 32 * 1024**3
"""Bytes that an archive may declare: that of NTU RGB+D 120 has 20.6 GB."""

CLASS_COUNTS = (60, 120)
ROW = 150
"""Numbers of a frame: two people, 25 joints, x, y and z."""

_DAMAGED = "not an .npz archive, or damaged"
_HALVES = ("train", "test")


@dataclass(frozen=True, eq=False)
class Half:
    """The clips of train or test: their classes, and what their array says of itself."""

    name: str
    labels: Int[np.ndarray, " n"]
    frames: int


class Archive:
    """An opened archive, read forwards, an array at a time."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self.classes = 0

    def halves(self) -> list[Half]:
        """Read the classes, and compare them with what the arrays of joints say of themselves."""
        halves = []
        for name in _HALVES:
            classes = self._classes(name)
            refuse = _refusing(self._path, f"array y_{name}")
            if self.classes not in (0, classes.shape[1]):
                raise refuse(f"{classes.shape[1]} classes, but {self.classes} in train")
            self.classes = classes.shape[1]
            with self._member(f"x_{name}") as (_, header, _):
                shape = header.shape
            if shape[0] != len(classes):
                raise refuse(f"classes of {len(classes)} clips, but joints of {shape[0]}")
            halves.append(Half(name, classes.argmax(axis=1), shape[1]))
        return halves

    def _classes(self, half: str) -> NDArray[Any]:
        refuse = _refusing(self._path, f"array y_{half}")
        with self._member(f"y_{half}") as (stream, header, present):
            if len(header.shape) != 2 or header.shape[1] not in CLASS_COUNTS:
                raise refuse(f"found {header.shape}, expected (clips, 60) or (clips, 120)")
            classes = read_data(stream, header, present, refuse)
        if classes.dtype.kind not in "fiu" or not (
            ((classes == 0) | (classes == 1)).all() and (classes.sum(axis=1) == 1).all()
        ):
            raise refuse("not one class for every clip")
        return classes

    def clips(self, halves: Sequence[Half]) -> Iterator[Float[np.ndarray, "t 150"]]:
        """Yield the rows of every clip, in the order of the archive."""
        for half in halves:
            with self._member(f"x_{half.name}") as (stream, header, _):
                size = half.frames * ROW * header.dtype.itemsize
                for number in range(1, len(half.labels) + 1):
                    data = stream.read(size)
                    if len(data) != size:
                        where = f"array x_{half.name}, clip {number}"
                        raise _refusing(self._path, where)("the array ends here")
                    yield np.frombuffer(data, dtype=header.dtype).reshape(half.frames, ROW)
                # at its end the archive's checksum is compared
                stream.read(1)

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[Any, ArrayHeader, int]]:
        """Open an array at its first number, its header checked against the archive's directory."""
        refuse = _refusing(self._path, f"array {name}")
        try:
            member = self._archive.getinfo(f"{name}.npy")
        except KeyError as fault:
            raise refuse("the array is missing") from fault
        encrypted = member.flag_bits & 1
        if encrypted or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse("encrypted, or compressed in an unsupported way")
        try:
            opened = self._archive.open(member)
        except (ValueError, RuntimeError) as fault:
            # a member's own heading that is not what the directory says
            raise refuse(_DAMAGED) from fault
        with opened as stream:
            header = read_header(stream, refuse)
            present = member.file_size - header.offset
            if header.bytes != present:
                raise refuse(f"claims {header.bytes} bytes of data, found {present}")
            if name.startswith("x"):
                _check_shape(header, refuse)
            yield stream, header, member.file_size


def _check_shape(header: ArrayHeader, refuse: Refuse) -> None:
    shape = header.shape
    fits = len(shape) == 3 and 1 <= shape[1] <= FRAME_LIMIT and shape[2] == ROW
    if not fits or header.dtype.kind != "f" or header.column_major:
        raise refuse(
            f"found {header.dtype} {shape}, expected float32 (clips, frames, {ROW}) of at most "
            f"{FRAME_LIMIT} frames"
        )


def _refusing(path: Path, where: str | None = None) -> Refuse:
    def refuse(text: str) -> PoselensError:
        return AnnotationError(
            "DATA-012", text, file=path, where=where,
            mend="give an archive of CTR-GCN's preparation, or copy it again",
        )  # fmt: skip

    return refuse


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive within limits, and give what is wrong with its bytes a name."""
    refuse = _refusing(path)
    try:
        size = require_regular_file(path, refuse)
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            declared = sum(member.file_size for member in members)
            if declared > ARCHIVE_LIMIT:
                raise refuse(f"declares {declared} bytes, the limit is {ARCHIVE_LIMIT}")
            if declared > RATIO_FLOOR and declared > RATIO_LIMIT * size:
                raise refuse(
                    f"unpacks to {declared // size} times its size, the limit is {RATIO_LIMIT}"
                )
            if len({member.filename for member in members}) != len(members):
                raise refuse("two members of the archive have one name")
            yield Archive(archive, path)
    except (
        zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OverflowError,
        UnicodeDecodeError,
    ) as fault:  # fmt: skip
        raise refuse(_DAMAGED) from fault
    except OSError as fault:
        if fault.errno == errno.EINVAL:
            raise refuse(_DAMAGED) from fault
        raise cannot_read(fault, path) from fault
