"""What is made in place of the names that a pickle of plain data asks for: arrays above all.

An array is checked against its bytes before anything is allocated. What NumPy arrays are pickled
as: ``numpy.ndarray.__reduce__`` and ``numpy.dtype.__reduce__``, whose state is the same since NumPy
1.0; only the module's name has changed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

AXES_LIMIT = 8
ARRAY_LIMIT = 256 * 1024**2
_KINDS = re.compile(r"[biufSU][1-9][0-9]{0,3}")
_ENCODINGS = ("latin1", "latin-1", "iso-8859-1")


class WrongArray(ValueError):
    """What a pickle says of an array contradicts itself, or is no array of numbers or text."""


@dataclass(frozen=True, eq=False)
class PickledBytes:
    """A long string that stays in the file until it is asked for.

    Attributes:
        stream: The open file.
        offset: Position of its first byte.
        count: Bytes in the file.
        text: Whether these are UTF-8 text.
        latin1: Whether the text stands for bytes, one a character, as protocols 0 to 2 write them.
    """

    stream: IO[bytes]
    offset: int
    count: int
    text: bool
    latin1: bool = False

    def read(self) -> bytes:
        """Return the bytes that this stands for.

        Raises:
            WrongArray: When the file has become shorter, or the text is none.
            OSError: When the file cannot be read any more.
        """
        self.stream.seek(self.offset)
        data = self.stream.read(self.count)
        if len(data) != self.count:
            raise WrongArray("the file was cut while it was read")
        if not self.latin1:
            return data
        try:
            return data.decode().encode("latin1")
        except UnicodeError as fault:
            raise WrongArray("bytes written as text cannot be read") from fault


class PickledDtype:
    """The type of an element, first without its byte order."""

    __slots__ = ("numpy",)

    def __init__(self, arguments: tuple[object, ...]) -> None:
        name = as_bytes(arguments[0]).decode("latin1") if arguments else ""
        if name[:1] in ("O", "V", "M", "m", "c") or "|O" in name:
            raise WrongArray(f"an array of type {name[:20]!r}, expected numbers or text")
        if not _KINDS.fullmatch(name):
            raise WrongArray(f"an array of unknown type {name[:20]!r}")
        try:
            self.numpy: np.dtype[Any] = np.dtype(name)
        except TypeError as fault:
            raise WrongArray(f"an array of unknown type {name[:20]!r}") from fault

    def set_state(self, state: object) -> None:
        """Set the byte order; everything else in the state has to be empty."""
        if not isinstance(state, tuple) or len(state) not in (8, 7, 6, 5):
            raise WrongArray("the type of an array has an unknown state")
        order = as_bytes(state[1])
        if order not in (b"<", b">", b"|", b"=") or any(part is not None for part in state[2:5]):
            raise WrongArray("an array of records, expected numbers or text")
        self.numpy = self.numpy.newbyteorder(">" if order == b">" else "<")


class PickledArray:
    """An array that is read when asked for.

    Attributes:
        shape: Sizes of the axes.
        dtype: Type of an element.
    """

    __slots__ = ("_column_major", "_data", "dtype", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype[Any] = np.dtype("u1")
        self._column_major = False
        self._data: bytes | PickledBytes | None = None

    def set_state(self, state: object) -> None:
        """Take shape, type, order and bytes from ``ndarray.__reduce__``'s state."""
        if self._data is not None:
            raise WrongArray("the state of an array is set twice")
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise WrongArray("the state of an array is unknown")
        shape, dtype, column_major, data = state[-4:]
        if isinstance(data, list):
            raise WrongArray("an array of objects, expected numbers or text")
        self.fill(shape, dtype, column_major, data)

    def fill(self, shape: object, dtype: object, column_major: object, data: object) -> None:
        """Take the parts of an array, or refuse them."""
        if not isinstance(dtype, PickledDtype) or not isinstance(column_major, bool | int):
            raise WrongArray("the state of an array is unknown")
        if not isinstance(shape, tuple) or len(shape) > AXES_LIMIT:
            raise WrongArray("an array without a shape, or of too many axes")
        if not all(isinstance(size, int) and 0 <= size < 2**40 for size in shape):
            raise WrongArray("an array whose shape is no list of sizes")
        self.shape, self.dtype, self._column_major = shape, dtype.numpy, bool(column_major)
        claimed = prod(shape) * self.dtype.itemsize
        if claimed > ARRAY_LIMIT:
            raise WrongArray(f"an array of {claimed} bytes, the limit is {ARRAY_LIMIT}")
        if isinstance(data, PickledBytes):
            if data.text and not data.latin1:
                raise WrongArray("an array whose data is text")
            fewest = data.count // 2 if data.latin1 else data.count
            fits = fewest <= claimed <= data.count
            found = data.count
        else:
            data = as_bytes(data)
            found = len(data)
            fits = claimed == found
        if not fits:
            sizes = "x".join(map(str, shape))
            raise WrongArray(f"{sizes} of {self.dtype} is {claimed} bytes, found {found}")
        self._data = data

    def read(self) -> NDArray[Any]:
        """Return the array, which cannot be written to.

        Raises:
            WrongArray: When its bytes are not what the shape says.
            OSError: When the file cannot be read any more.
        """
        if self._data is None:
            raise WrongArray("an array without a state")
        data = self._data.read() if isinstance(self._data, PickledBytes) else self._data
        if len(data) != prod(self.shape) * self.dtype.itemsize:
            raise WrongArray(f"{self.shape} of {self.dtype} in {len(data)} bytes")
        if not data:
            return np.zeros(self.shape, self.dtype)
        flat = np.frombuffer(data, self.dtype)
        return flat.reshape(self.shape, order="F" if self._column_major else "C")


def array_of(arguments: tuple[object, ...]) -> PickledArray:
    """Return what ``numpy.core.numeric._frombuffer`` would make: protocol 5."""
    data, dtype, shape, order = arguments
    array = PickledArray()
    array.fill(shape, dtype, as_bytes(order) == b"F", data)
    return array


def scalar_of(arguments: tuple[object, ...]) -> object:
    """Return the Python number or text of a NumPy scalar."""
    dtype, data = arguments
    array = PickledArray()
    # never from the file: its reader stands elsewhere
    array.fill((), dtype, False, as_bytes(data))
    value: object = array.read().item()
    return value


def bytes_of(arguments: tuple[object, ...]) -> bytes | PickledBytes:
    """Return the bytes that protocols 0 to 2 write as ``_codecs.encode(text, "latin1")``."""
    text, *encoding = arguments
    if len(encoding) != 1 or as_bytes(encoding[0]).decode("latin1").lower() not in _ENCODINGS:
        raise WrongArray("bytes in another encoding than latin1")
    if isinstance(text, PickledBytes) and text.text and not text.latin1:
        return PickledBytes(text.stream, text.offset, text.count, True, latin1=True)
    if not isinstance(text, str):
        raise WrongArray("bytes that are not written as text")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError as fault:
        raise WrongArray("bytes written as text beyond latin1") from fault


def as_bytes(value: object) -> bytes:
    """Return a short string, of either kind that Python 2 and 3 write, as bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value.isascii():
        return value.encode()
    raise WrongArray(f"found {type(value).__name__}, expected bytes")


def key_of(value: object) -> str | int:
    """Return the key of a dict: text or a whole number, so that looking it up costs nothing."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, str | int):
        return value
    raise WrongArray(f"a key of a dict is {type(value).__name__}, expected text")


def _array(arguments: tuple[object, ...]) -> PickledArray:
    if len(arguments) != 3 or not isinstance(arguments[0], Name) or arguments[1] != (0,):
        raise WrongArray("an array that is not made as NumPy makes it")
    return PickledArray()


def _ordered(arguments: tuple[object, ...]) -> dict[object, object]:
    made: dict[object, object] = {}
    for pair in arguments[0] if arguments and isinstance(arguments[0], list) else ():
        key, value = pair
        made[key_of(key)] = value
    return made


def _no_bytes(arguments: tuple[object, ...]) -> bytes:
    if arguments:
        raise WrongArray("bytes that are not written as text")
    return b""


def _nothing(_arguments: tuple[object, ...]) -> object:
    raise WrongArray("an array that is not made as NumPy makes it")


ALLOWED: dict[str, Callable[[tuple[object, ...]], object]] = {
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": scalar_of,
    "numpy._core.multiarray.scalar": scalar_of,
    "numpy.core.numeric._frombuffer": array_of,
    "numpy._core.numeric._frombuffer": array_of,
    "numpy.dtype": PickledDtype,
    "numpy.ndarray": _nothing,
    "_codecs.encode": bytes_of,
    "collections.OrderedDict": _ordered,
    "builtins.bytes": _no_bytes,
    "__builtin__.bytes": _no_bytes,
}
"""Names that a pickle of plain data may ask for, and what is made in their place."""


class Name:
    """What stands for an allowed name on the stack of a pickle; it cannot be called."""

    __slots__ = ("make", "text")

    def __init__(self, text: str, make: Callable[[tuple[object, ...]], object]) -> None:
        self.text, self.make = text, make
