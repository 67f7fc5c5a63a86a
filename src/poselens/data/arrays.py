"""Reading ``.npy`` and ``.npz`` files that nobody has vouched for.

``numpy.load`` allocates what the header claims and parses the header as Python; here the header is
matched against the few forms that numbers and text need, and compared with the bytes that are there
before anything is allocated.
"""

import errno
import re
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from poselens.errors import PoselensError

NPZ_LIMIT = 2 * 1024**3
RATIO_LIMIT = 200
RATIO_FLOOR = 64 * 1024**2
Refuse = Callable[[str], PoselensError]
"""Makes the caller's error, with its code and place, from what is wrong."""

_DAMAGED = "not an .npz archive, or damaged"
_HEADER = re.compile(
    r"\{\s*'descr':\s*'(?P<descr>[^']{1,20})',\s*'fortran_order':\s*(?P<order>True|False),"
    r"\s*'shape':\s*\((?P<shape>[0-9, ]{0,200})\),?\s*\}\s*"
)
_NUMBERS_OR_TEXT = re.compile(r"[<>|=]?(?:[fiu][1248]|b1|U[0-9]{1,6})")


@dataclass(frozen=True)
class ArrayHeader:
    """What the first bytes of an ``.npy`` file say.

    Attributes:
        dtype: Type of an element.
        shape: Sizes of the axes.
        column_major: True when the first axis varies fastest.
        offset: Bytes before the data.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    column_major: bool
    offset: int

    @property
    def bytes(self) -> int:
        """Size of the data."""
        return prod(self.shape) * self.dtype.itemsize


def require_regular_file(path: Path, refuse: Refuse) -> int:
    """Return the size of ``path`` in bytes.

    Raises:
        refuse: For a folder, pipe, device or empty file.
        OSError: For a file that is missing or not permitted.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise refuse("not a regular file")
    if found.st_size == 0:
        raise refuse("the file is empty (0 bytes)")
    return found.st_size


def read_header(stream: IO[bytes], refuse: Refuse) -> ArrayHeader:
    """Read the header of an ``.npy`` stream that stands at its first byte.

    Raises:
        refuse: For anything but an array of numbers or text.
    """
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise refuse("not an .npy array")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > 10_000:
        raise refuse(f"the array's header claims {length} bytes")
    text = stream.read(length).decode("latin1")
    if "'|O'" in text or "'O'" in text:
        raise refuse(
            "an object array, which is a pickle and is never opened; save plain numbers instead"
        )
    match = _HEADER.fullmatch(text)
    if match is None or not _NUMBERS_OR_TEXT.fullmatch(match["descr"]):
        raise refuse("the array's header is damaged or of an unsupported type")
    sizes = [size.strip() for size in match["shape"].split(",")]
    if any(not size.isdigit() for size in sizes[:-1]) or len(sizes) > 8:
        raise refuse("the array's header is damaged or of an unsupported type")
    shape = tuple(int(size) for size in sizes if size.isdigit())
    return ArrayHeader(
        np.dtype(match["descr"]), shape, match["order"] == "True", 8 + width + length
    )


def read_data(stream: IO[bytes], header: ArrayHeader, present: int, refuse: Refuse) -> NDArray[Any]:
    """Read the array after its header; ``present`` is how many bytes the stream has in all.

    Raises:
        refuse: When the header claims more, or fewer, bytes than are there.
    """
    if header.offset + header.bytes != present:
        raise refuse(
            f"the header claims {header.bytes} bytes of data, found {present - header.offset}"
        )
    data = stream.read(header.bytes)
    if len(data) != header.bytes:
        raise refuse(f"found {len(data)} bytes of data, expected {header.bytes}")
    array = np.frombuffer(data, dtype=header.dtype)
    return array.reshape(header.shape, order="F" if header.column_major else "C")


def read_npy(path: Path, refuse: Refuse) -> NDArray[Any]:
    """Read one ``.npy`` file of numbers or text.

    Raises:
        refuse: When it is not one, or is cut short.
        OSError: When it is missing or not permitted.
    """
    size = require_regular_file(path, refuse)
    with path.open("rb") as stream:
        return read_data(stream, read_header(stream, refuse), size, refuse)


def read_npz(path: Path, refuse: Refuse, *, limit: int = NPZ_LIMIT) -> dict[str, NDArray[Any]]:
    """Read every array of an ``.npz`` archive.

    Args:
        path: The archive.
        refuse: Makes the error to raise.
        limit: Largest sum of the sizes that the archive's directory declares, in bytes.

    Raises:
        refuse: When it is no archive, is damaged, repeats a name, declares more than
            ``limit``, unpacks to more than 200 times its size, or holds objects.
        OSError: When it is missing or not permitted.
    """
    size = require_regular_file(path, refuse)
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            declared = sum(member.file_size for member in members)
            if declared > limit:
                raise refuse(f"declares {declared} bytes, the limit is {limit}")
            if declared > RATIO_FLOOR and declared > RATIO_LIMIT * size:
                raise refuse(
                    f"unpacks to {declared // size} times its size, the limit is {RATIO_LIMIT}"
                )
            if len({member.filename for member in members}) != len(members):
                raise refuse("two members of the archive have one name")
            return {
                member.filename.removesuffix(".npy"): _member(archive, member, refuse)
                for member in members
            }
    except (
        zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError,
        OverflowError,
    ) as fault:  # fmt: skip
        raise refuse(_DAMAGED) from fault
    except OSError as fault:
        if fault.errno != errno.EINVAL:
            raise
        # the archive's directory points before the file's first byte
        raise refuse(_DAMAGED) from fault


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, refuse: Refuse) -> NDArray[Any]:
    def refuse_member(text: str) -> PoselensError:
        return refuse(f"{member.filename}: {text}")

    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refuse_member("compressed in an unsupported way")
    with archive.open(member) as stream:
        header = read_header(stream, refuse_member)
        return read_data(stream, header, member.file_size, refuse_member)
