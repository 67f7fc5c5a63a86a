"""The bytes of a pickle, read instruction by instruction, and what is said when they are wrong."""

import re
from pathlib import Path
from typing import IO, NoReturn

from poselens.data.pickled_arrays import PickledBytes
from poselens.errors import AnnotationError

LINE_LIMIT = 64 * 1024**2
NUMBER_LIMIT = 16
INLINE_LIMIT = 2_048
"""Longer strings stay in the file until they are asked for."""

MEND_AGAIN = "copy or download it again"
MEND_PARTS = "save its parts as files of their own"
MEND_CODE = "do not open it with pickle; ask its maker for plain dicts, lists and arrays"
MEND_ARRAY = "save arrays of plain numbers"
_INTEGER = re.compile(rb"[+-]?[0-9]{1,38}")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.|$)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_LOOKS = {b"\x1f": "; looks like gzip", b"P": "; looks like a zip", b"<": "; looks like HTML"}


class PickleSource:
    """A file that is read forwards.

    Args:
        stream: The open file.
        size: Its bytes.
        path: The user's own path, for error texts.
    """

    def __init__(self, stream: IO[bytes], size: int, path: Path) -> None:
        self._stream, self._size, self._path = stream, size, path
        self.read = stream.read

    def fault(self, code: str, message: str, mend: str) -> AnnotationError:
        """Return an error that names file and place."""
        place = f"byte {self._stream.tell()}"
        return AnnotationError(code, message, file=self._path, where=place, mend=mend)

    def damaged(self, message: str) -> NoReturn:
        """Refuse the file as damaged: ``PKL-001``."""
        raise self.fault("PKL-001", message, MEND_AGAIN)

    def limit(self, message: str) -> NoReturn:
        """Refuse the file as too large or too deep: ``PKL-003``."""
        raise self.fault("PKL-003", message, MEND_PARTS)

    def unknown(self, code: bytes) -> NoReturn:
        """Refuse what is no instruction: ``PKL-001``."""
        if not code:
            self.damaged("the file ends in the middle: it is cut short")
        if self._stream.tell() == 1:
            self.damaged(f"not a pickle (first byte 0x{code[0]:02x}){_LOOKS.get(code, '')}")
        self.damaged(f"0x{code[0]:02x} is no instruction of a pickle")

    def require(self, count: int) -> None:
        """Refuse a claim of more bytes than the file has left."""
        if count > self._size - self._stream.tell():
            self.damaged(f"{count} bytes are claimed, but the file ends before: it is cut short")

    def take(self, count: int) -> bytes:
        """Return the next few bytes."""
        data = self._stream.read(count)
        if len(data) != count:
            self.damaged("the file ends in the middle: it is cut short")
        return data

    def number(self, width: int, *, signed: bool = False) -> int:
        """Return a whole number of ``width`` bytes."""
        return int.from_bytes(self.take(width), "little", signed=signed)

    def long(self, width: int) -> int:
        """Return a whole number whose own length is written in ``width`` bytes."""
        count = self.number(width)
        if count > NUMBER_LIMIT:
            self.limit(f"a whole number of {count} bytes, the limit is {NUMBER_LIMIT}")
        return self.number(count, signed=True)

    def line(self, limit: int = LINE_LIMIT) -> bytes:
        """Return what stands before the next line end."""
        line = self._stream.readline(limit + 1)
        if not line.endswith(b"\n"):
            if len(line) > limit:
                self.limit(f"a line of more than {limit} bytes")
            self.damaged("the file ends in the middle: it is cut short")
        return line[:-1]

    def decimal(self) -> int:
        """Return a whole number, or truth value, that is written as a line of digits."""
        line = self.line(64).removesuffix(b"L")
        if not _INTEGER.fullmatch(line):
            self.damaged("a whole number that cannot be read")
        return line == b"01" if line in (b"00", b"01") else int(line)

    def quoted(self) -> bytes:
        """Return a string of Python 2, a line in quotes."""
        line = self.line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            self.damaged("a string without quotes")
        return _ESCAPE.sub(self._unescape, line[1:-1])

    def _unescape(self, match: re.Match[bytes]) -> bytes:
        escaped: bytes = match[1]
        if len(escaped) == 3:
            return bytes([int(escaped[1:], 16)])
        if escaped not in _ESCAPED:
            self.damaged("a string with an unknown escape")
        return _ESCAPED[escaped]

    def byte_string(self, width: int) -> bytes | PickledBytes:
        """Return a string of bytes whose length is written in ``width`` bytes."""
        count = self.number(width)
        return self.take(count) if count <= INLINE_LIMIT else self._leave(count, text=False)

    def unicode(self, width: int) -> str | PickledBytes:
        """Return UTF-8 text whose length in bytes is written in ``width`` bytes."""
        count = self.number(width)
        if count > INLINE_LIMIT:
            return self._leave(count, text=True)
        return self.take(count).decode("utf-8", "surrogatepass")

    def _leave(self, count: int, *, text: bool) -> PickledBytes:
        self.require(count)
        offset = self._stream.tell()
        self._stream.seek(offset + count)
        return PickledBytes(self._stream, offset, count, text)
