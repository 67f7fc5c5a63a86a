"""Reading the field's annotation files, which are pickles, without running anything they ask for.

A pickle is a program for a stack machine; some of its instructions call whatever function the file
names. Here the instructions are followed by functions of this module alone: they make dict, list,
tuple, str, bytes, int, float, bool, None, and arrays of plain numbers or text. A name is looked up
in a closed table of texts and never imported, and what stands for it cannot be called.

The instructions are those that Python's ``pickletools`` documents, protocols 0 to 5.

Departure: a set becomes a list, an ``OrderedDict`` a dict, a NumPy scalar the Python number.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from poselens.data.arrays import require_regular_file
from poselens.data.info import cannot_read
from poselens.data.pickle_source import (
    MEND_AGAIN,
    MEND_ARRAY,
    MEND_CODE,
    PickleSource,
)
from poselens.data.pickled_arrays import (
    ALLOWED,
    Name,
    PickledArray,
    PickledDtype,
    WrongArray,
    key_of,
)
from poselens.data.pickled_tensors import ALLOWED_WITH_TENSORS
from poselens.errors import AnnotationError

FILE_LIMIT = 2 * 1024**3
STEP_LIMIT = 12_000_000
VALUE_LIMIT = 3_000_000
STACK_LIMIT = 1_000_000
DEPTH_LIMIT = 1_000
TEXT_LIMIT = 256 * 1024**2
NAME_LIMIT = 512


@contextmanager
def open_pickle(path: Path, *, tensors: bool = False) -> Iterator[object]:
    """Read a pickle of plain data; its larger arrays are read when asked for, while it is open.

    Args:
        path: The file, at most 2 GB.
        tensors: Also read torch tensors, which become ``PickledTensor``.

    Yields:
        The value: of dict, list, tuple, str, bytes, int, float, bool, None, ``PickledArray`` and
        ``PickledBytes``. Strings of Python 2 are bytes, except as keys.

    Raises:
        AnnotationError: ``PKL-001`` damaged, cut short or no pickle, ``PKL-002`` it asks for a name
            that is no plain data, ``PKL-003`` over a limit, ``PKL-004`` an array that cannot be,
            ``PKL-005`` an object, or data outside the file.
        EnvironmentFault: ``ENV-004`` not readable.
    """

    def refuse(text: str) -> AnnotationError:
        return AnnotationError("PKL-001", text, file=path, where="byte 0", mend=MEND_AGAIN)

    try:
        size = require_regular_file(path, refuse)
        stream = path.open("rb", buffering=1 << 16)
    except FileNotFoundError as fault:
        raise refuse("the file is missing") from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    with stream:
        source = PickleSource(stream, size, path)
        if size > FILE_LIMIT:
            source.limit(f"the file has {size} bytes, the limit is {FILE_LIMIT}")
        try:
            value = _Machine(source, ALLOWED_WITH_TENSORS if tensors else ALLOWED).run()
        except OSError as fault:
            raise cannot_read(fault, path) from fault
        yield value


class _Machine:
    """The stack machine: one function an instruction.

    Attributes:
        stack: Values that wait for the instruction that takes them.
    """

    def __init__(
        self,
        source: PickleSource,
        allowed: Mapping[str, Callable[[tuple[object, ...]], object]],
    ) -> None:
        self.stack: list[object] = []
        self._source = source
        self._allowed = allowed
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._values = 0
        self._text_bytes = 0

    def run(self) -> object:
        """Follow the instructions to the end and return the value."""
        source, stack, steps = self._source, self.stack, self._steps()
        read = source.read
        try:
            for count in range(STEP_LIMIT):
                code = read(1)
                step = steps.get(code)
                if step is None:
                    if code == b".":
                        return self._end()
                    source.unknown(code)
                step()
                if not count & 1023 and len(stack) > STACK_LIMIT:
                    source.limit(f"more than {STACK_LIMIT} values wait for their container")
        except WrongArray as fault:
            raise source.fault("PKL-004", str(fault), MEND_ARRAY) from fault
        except (LookupError, TypeError, ValueError, OverflowError, struct.error) as fault:
            # a value of another kind than the instruction works on
            raise source.fault("PKL-001", "not a pickle, or damaged", MEND_AGAIN) from fault
        return source.limit(f"more than {STEP_LIMIT} instructions")

    def _end(self) -> object:
        if len(self.stack) != 1 or self._marks:
            self._source.damaged("the pickle ends with values left over")
        return self.stack[0]

    def _steps(self) -> dict[bytes, Callable[[], object]]:
        source, stack, new, put = self._source, self.stack, self._new, self._put
        push, number, above, memo = stack.append, source.number, self._above_mark, self._memo
        outside = partial(self._object, "data outside the file")
        return {
            b"(": self._mark, b"0": self._pop, b"1": above, b"2": lambda: push(stack[-1]),
            b"N": partial(push, None), b"\x88": partial(push, True), b"\x89": partial(push, False),
            b"\x80": self._protocol, b"\x95": lambda: source.require(number(8)),
            b"I": lambda: new(source.decimal()), b"L": lambda: new(source.decimal()),
            b"F": lambda: new(float(source.line(64))), b"K": lambda: push(source.take(1)[0]),
            b"M": lambda: new(number(2)), b"J": lambda: new(number(4, signed=True)),
            b"\x8a": lambda: new(source.long(1)), b"\x8b": lambda: new(source.long(4)),
            b"G": lambda: new(struct.unpack(">d", source.take(8))[0]),
            b"S": lambda: self._string(source.quoted()),
            b"V": lambda: self._string(source.line().decode("raw-unicode-escape")),
            b"U": lambda: self._string(source.byte_string(1)),
            b"C": lambda: self._string(source.byte_string(1)),
            b"T": lambda: self._string(source.byte_string(4)),
            b"B": lambda: self._string(source.byte_string(4)),
            b"\x8e": lambda: self._string(source.byte_string(8)),
            b"\x96": lambda: self._string(source.byte_string(8)),
            b"\x8c": lambda: self._string(source.unicode(1)),
            b"X": lambda: self._string(source.unicode(4)),
            b"\x8d": lambda: self._string(source.unicode(8)),
            b"]": lambda: new([]), b"\x8f": lambda: new([]), b"l": lambda: new(above()),
            b"\x91": lambda: new(above()), b"}": lambda: new({}), b"d": self._dict,
            b")": partial(push, ()), b"t": lambda: new(tuple(above())),
            b"\x85": partial(self._tuple, 1), b"\x86": partial(self._tuple, 2),
            b"\x87": partial(self._tuple, 3),
            b"a": lambda: self._extend([stack.pop()]), b"e": lambda: self._extend(above()),
            b"\x90": lambda: self._extend(above()),
            b"s": lambda: self._fill([stack.pop(), stack.pop()][::-1]),
            b"u": lambda: self._fill(above()),
            b"p": lambda: put(source.decimal()), b"q": lambda: put(number(1)),
            b"r": lambda: put(number(4)), b"\x94": lambda: put(len(memo)),
            b"g": lambda: push(memo[source.decimal()]), b"h": lambda: push(memo[number(1)]),
            b"j": lambda: push(memo[number(4)]),
            b"c": lambda: self._name(*self._written_name()), b"\x93": self._name_on_stack,
            b"R": self._reduce, b"b": self._build,
            b"i": self._instance, b"o": partial(self._class, "o"),
            b"\x81": partial(self._class, "\x81"), b"\x92": partial(self._class, "\x92"),
            b"P": outside, b"Q": outside, b"\x97": outside, b"\x98": outside,
            b"\x82": self._extension, b"\x83": self._extension, b"\x84": self._extension,
        }  # fmt: skip

    def _new(self, value: object) -> None:
        """Push a value that takes memory of its own."""
        self._values += 1
        if self._values > VALUE_LIMIT:
            self._source.limit(f"more than {VALUE_LIMIT} values")
        self.stack.append(value)

    def _string(self, value: object) -> None:
        if isinstance(value, str | bytes):
            self._text_bytes += len(value) if isinstance(value, bytes) else 4 * len(value)
            if self._text_bytes > TEXT_LIMIT:
                self._source.limit(f"more than {TEXT_LIMIT} bytes of text")
        self._new(value)

    def _put(self, place: int) -> None:
        if len(self._memo) == VALUE_LIMIT:
            self._source.limit(f"more than {VALUE_LIMIT} values remembered")
        self._memo[place] = self.stack[-1]

    def _mark(self) -> None:
        if len(self._marks) == DEPTH_LIMIT:
            self._source.limit(f"containers nested more than {DEPTH_LIMIT} deep")
        self._marks.append(len(self.stack))

    def _above_mark(self) -> list[object]:
        start = self._marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _pop(self) -> None:
        if self._marks and self._marks[-1] == len(self.stack):
            self._marks.pop()
        else:
            self.stack.pop()

    def _protocol(self) -> None:
        version = self._source.number(1)
        if version > 5:
            self._source.damaged(f"pickle protocol {version}, known are 0 to 5")

    def _dict(self) -> None:
        values = self._above_mark()
        self._new({})
        self._fill(values)

    def _fill(self, values: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            self._source.damaged("keys and values without a dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[key_of(key)] = value

    def _extend(self, values: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            self._source.damaged("values without a list")
        target.extend(values)

    def _tuple(self, count: int) -> None:
        values = tuple(self.stack[-count:])
        if len(values) != count:
            self._source.damaged("a tuple lacks values")
        del self.stack[-count:]
        self._new(values)

    def _written_name(self) -> tuple[str, str]:
        module, name = self._source.line(NAME_LIMIT), self._source.line(NAME_LIMIT)
        return module.decode("utf-8", "replace"), name.decode("utf-8", "replace")

    def _name_on_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            self._source.damaged("a name that is no text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        text = f"{module}.{name}"
        make = self._allowed.get(text)
        if make is None:
            self._refuse_name(text)
        self._new(Name(text, make))

    def _refuse_name(self, text: str) -> NoReturn:
        shown = text[:200].encode("ascii", "backslashreplace").decode()
        shown = "".join(letter if letter.isprintable() else "?" for letter in shown)
        message = f"it asks for {shown}, which is no plain data; nothing was run"
        raise self._source.fault("PKL-002", message, MEND_CODE)

    def _object(self, what: str) -> NoReturn:
        raise self._source.fault("PKL-005", f"it asks for {what}; nothing was run", MEND_CODE)

    def _extension(self) -> NoReturn:
        self._object("a name by its number in a table outside the file")

    def _instance(self) -> NoReturn:
        self._refuse_name(".".join(self._written_name()))

    def _class(self, code: str) -> NoReturn:
        stack = self.stack
        place = {"o": self._marks[-1] if code == "o" else 0, "\x81": -2, "\x92": -3}[code]
        made = stack[place]
        self._object(f"an object of {made.text if isinstance(made, Name) else 'a value'}")

    def _reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            self._object("a call of what is no name")
        self._new(name.make(arguments))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, PickledArray | PickledDtype):
            self._object("the state of an object to be set")
        target.set_state(state)
