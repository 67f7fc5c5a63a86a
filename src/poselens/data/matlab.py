"""Reading arrays of numbers from MATLAB's version 5 files that nobody has vouched for.

Only what recordings need is read: full, real, numeric arrays, compressed or not. Structures, cells,
text, sparse and complex arrays and objects are left alone, and what an element claims is compared
with the bytes that are there before anything is allocated.

Source: MAT-File Format, The MathWorks, chapter "MAT-File Level 5 File Format".
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from poselens.data.arrays import RATIO_FLOOR, RATIO_LIMIT, Refuse, require_regular_file
from poselens.errors import PoselensError

FILE_LIMIT = 256 * 1024**2
UNPACKED_LIMIT = 512 * 1024**2
_HEADER_BYTES = 128
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_FIRST_NUMERIC_CLASS, _LAST_NUMERIC_CLASS = 6, 15
_COMPLEX = 0x08
_AXIS_LIMIT = 8


class _Element(NamedTuple):
    kind: int
    data: memoryview


def read_matlab(path: Path, wanted: Collection[str], refuse: Refuse) -> dict[str, NDArray[Any]]:
    """Read the arrays of the given names.

    Args:
        path: The ``.mat`` file.
        wanted: Names of variables; others are passed over.
        refuse: Makes the error to raise.

    Returns:
        Arrays by name, in the type they are stored in; names that are not there are left out.

    Raises:
        refuse: When it is no such file, is cut short or damaged, is over a limit (256 MB, 512 MB
            unpacked, 200 times its size), or a wanted variable is no full real numeric array.
        OSError: When it is missing or not permitted.
    """
    size = require_regular_file(path, refuse)
    if size > FILE_LIMIT:
        raise refuse(f"{size} bytes, the limit is {FILE_LIMIT}")
    content = path.read_bytes()
    if content.startswith(b"MATLAB 7.3"):
        raise refuse("saved as version 7.3, which is HDF5; save it in MATLAB with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if len(content) < _HEADER_BYTES or order is None:
        raise refuse("not a MATLAB version 5 file")
    budget = UNPACKED_LIMIT
    found: dict[str, NDArray[Any]] = {}
    count = 0

    def refuse_here(text: str) -> PoselensError:
        fault = refuse(text)
        fault.where = f"variable {count}"
        return fault

    for kind, data in _elements(memoryview(content)[_HEADER_BYTES:], order, refuse_here, False):
        count += 1
        if kind == _COMPRESSED:
            unpacked = _unpacked(data, budget, refuse_here)
            budget -= len(unpacked)
            kind, data = next(_elements(memoryview(unpacked), order, refuse_here, False))
        if kind != _MATRIX:
            continue
        name, array = _matrix(data, order, wanted, refuse_here)
        if array is not None:
            if name in found:
                raise refuse_here(f"variable {name!r} is there twice")
            found[name] = array
    return found


def _elements(
    rest: memoryview, order: str, refuse: Refuse, padded: bool = True
) -> Iterator[_Element]:
    """Yield the elements that lie one after another; inside a matrix each begins at eight bytes."""
    while len(rest):
        if len(rest) < 8:
            raise refuse("cut short")
        first, count = struct.unpack(f"{order}II", rest[:8])
        start = 8
        if first >> 16:
            # four bytes or fewer are stored in the tag itself
            first, count, start = first & 0xFFFF, first >> 16, 4
            if count > 4:
                raise refuse("damaged: a small element claims more than 4 bytes")
        if start + count > len(rest):
            raise refuse(f"an element claims {count} bytes, found {len(rest) - start}")
        yield _Element(first, rest[start : start + count])
        taken = 8 if start == 4 else start + (-(-count // 8) * 8 if padded else count)
        rest = rest[taken:]


def _unpacked(data: memoryview, budget: int, refuse: Refuse) -> bytes:
    limit = min(budget, max(RATIO_FLOOR, RATIO_LIMIT * len(data)))
    try:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(data, limit + 1)
    except zlib.error as fault:
        raise refuse("a compressed variable is damaged") from fault
    if len(unpacked) > limit:
        raise refuse(f"unpacks to more than {limit} bytes")
    if not unpacking.eof or len(unpacked) < 8:
        raise refuse("a compressed variable is cut short")
    return unpacked


def _matrix(
    data: memoryview, order: str, wanted: Collection[str], refuse: Refuse
) -> tuple[str, NDArray[Any] | None]:
    parts = _elements(data, order, refuse)
    flags, sizes, name = next(parts, None), next(parts, None), next(parts, None)
    if flags is None or sizes is None or name is None or len(flags.data) != 8:
        raise refuse("damaged: a variable without a head")
    # a name cut or made strange is no wanted one
    text = bytes(name.data).decode("latin1")
    if text not in wanted:
        return text, None
    (word,) = struct.unpack(f"{order}I", flags.data[:4])
    kind = word & 0xFF
    if not _FIRST_NUMERIC_CLASS <= kind <= _LAST_NUMERIC_CLASS or (word >> 8) & _COMPLEX:
        raise refuse(f"variable {text!r} is no array of real numbers")
    if sizes.kind != 5 or len(sizes.data) % 4 or not 2 <= len(sizes.data) // 4 <= _AXIS_LIMIT:
        raise refuse(f"the sizes of {text!r} are damaged")
    shape = struct.unpack(f"{order}{len(sizes.data) // 4}i", sizes.data)
    numbers = next(parts, None)
    if numbers is None or numbers.kind not in _NUMBERS:
        raise refuse(f"variable {text!r} has no numbers")
    dtype = np.dtype(order + _NUMBERS[numbers.kind])
    if min(shape) < 0 or prod(shape) * dtype.itemsize != len(numbers.data):
        raise refuse(f"variable {text!r} claims {shape}, found {len(numbers.data)} bytes")
    return text, np.frombuffer(numbers.data, dtype=dtype).reshape(shape, order="F")
