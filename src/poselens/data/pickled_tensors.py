"""What is made in place of the names by which a pickle stores torch tensors: MMAction2's results.

Form: ``torch.Tensor.__reduce_ex__`` writes ``torch._utils._rebuild_tensor_v2(storage, offset,
sizes, strides, ...)`` and its storage as ``torch.storage._load_from_bytes(data)``, where ``data``
is what ``torch.save`` wrote before it wrote archives: a magic number, a few pickles of which one
names the type, the list of keys, the number of elements, and the elements. Nothing of it is
unpickled here: the type's name is looked for, and the sizes have to fit to the byte.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from poselens.data.pickled_arrays import (
    ALLOWED,
    ARRAY_LIMIT,
    AXES_LIMIT,
    PickledBytes,
    WrongArray,
)

_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_TYPE = re.compile(rb"ctorch\n([A-Za-z0-9]{1,20})Storage\n")
_TYPES = {
    b"Float": "<f4", b"Double": "<f8", b"Half": "<f2", b"Long": "<i8", b"Int": "<i4",
    b"Short": "<i2", b"Char": "i1", b"Byte": "u1", b"Bool": "?",
}  # fmt: skip
_HEAD = 4096


@dataclass(frozen=True, eq=False)
class PickledStorage:
    """The numbers of a tensor, still in the file or not.

    Attributes:
        data: What ``torch.save`` wrote.
    """

    data: bytes | PickledBytes

    def read(self) -> NDArray[Any]:
        """Return the elements, flat.

        Raises:
            WrongArray: When the bytes are not those of one storage of plain numbers.
        """
        data = self.data.read() if isinstance(self.data, PickledBytes) else self.data
        head = data[:_HEAD]
        found = _TYPE.findall(head)
        if not data.startswith(_START) or len(found) != 1:
            raise WrongArray("a tensor whose storage torch did not write")
        if found[0] not in _TYPES:
            raise WrongArray(f"a tensor of {found[0].decode()}, expected plain numbers")
        dtype = np.dtype(_TYPES[found[0]])
        for end in re.finditer(rb"\.", head):
            start = end.end() + 8
            count = int.from_bytes(data[end.end() : start], "little")
            if start <= len(data) and start + count * dtype.itemsize == len(data):
                return np.frombuffer(data, dtype, count, start)
        raise WrongArray("a tensor whose elements are not as many as it says")


@dataclass(frozen=True, eq=False)
class PickledTensor:
    """A tensor that is read when asked for.

    Attributes:
        storage: Its numbers, perhaps with those of other tensors.
        offset: Place of its first element.
        shape: Sizes of the axes.
        strides: Elements from one to the next, along each axis.
    """

    storage: PickledStorage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> NDArray[Any]:
        """Return the array, which cannot be written to.

        Raises:
            WrongArray: When it reaches beyond its storage.
            OSError: When the file cannot be read any more.
        """
        flat = self.storage.read()
        if 0 in self.shape:
            return np.zeros(self.shape, flat.dtype)
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        if last >= len(flat):
            raise WrongArray(f"a tensor of {self.shape} beyond its {len(flat)} elements")
        steps = tuple(stride * flat.itemsize for stride in self.strides)
        return as_strided(flat[self.offset :], self.shape, steps, writeable=False)


def _storage(arguments: tuple[object, ...]) -> PickledStorage:
    if len(arguments) != 1 or not isinstance(arguments[0], bytes | PickledBytes):
        raise WrongArray("a tensor whose storage torch did not write")
    return PickledStorage(arguments[0])


def _tensor(arguments: tuple[object, ...]) -> PickledTensor:
    if len(arguments) < 4 or not isinstance(arguments[0], PickledStorage):
        raise WrongArray("a tensor that is not made as torch makes it")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise WrongArray("a tensor without a shape")
    numbers = (offset, *shape, *strides)
    fits = all(isinstance(number, int) and 0 <= number < 2**40 for number in numbers)
    if not fits or len(shape) != len(strides) or len(shape) > AXES_LIMIT:
        raise WrongArray("a tensor whose shape is no list of sizes")
    # steps of 0 would make much of few numbers
    if 8 * prod(shape) > ARRAY_LIMIT:
        raise WrongArray(f"a tensor of {shape}, the limit is {ARRAY_LIMIT} bytes")
    assert isinstance(storage, PickledStorage)
    assert isinstance(offset, int)
    return PickledTensor(storage, offset, shape, strides)


ALLOWED_WITH_TENSORS: dict[str, Callable[[tuple[object, ...]], object]] = {
    **ALLOWED,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.storage._load_from_bytes": _storage,
}
"""Names that a pickle of plain data and tensors may ask for, and what is made in their place."""
