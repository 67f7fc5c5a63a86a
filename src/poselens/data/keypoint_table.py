"""CSV tables of key points that nobody has vouched for, row by row."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.data.keypoint_people import damaged

COLUMN_LIMIT = 4096
_DIGITS = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_FIELD = rf"(?:[+-]?(?:{_DIGITS}|(?i:nan|inf|infinity)))?"
_FIELDS = re.compile(rf"{_FIELD}(?:\n{_FIELD})*", re.ASCII)
_FRAME = re.compile(r"([0-9]{1,9})(?:\.0*)?")
_FEW = 6


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the fields of every row that is not blank.

    Separated as the first line is: by commas, semicolons or tabs.

    Raises:
        SkeletonError: ``SKEL-061`` for what is no UTF-8 CSV text, or rows too wide.
        OSError: When it is missing or not permitted.
    """
    line = 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, strict=True, delimiter=max(",;\t", key=head.count))
            for fields in reader:
                if len(fields) > COLUMN_LIMIT:
                    raise damaged(path, f"{len(fields)} columns", f"line {line}")
                if any(fields):
                    yield line, fields
                line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as fault:
        raise damaged(
            path, f"not UTF-8 CSV text ({type(fault).__name__})", f"line {line}"
        ) from fault


def numbers_of(fields: Sequence[str], path: Path, line: int) -> NDArray[np.float64]:
    """Return the numbers of fields, NaN for empty ones.

    Raises:
        SkeletonError: ``SKEL-061`` for anything that is no plain number.
    """
    fields = [field.strip() for field in fields]
    joined = "\n".join(fields)
    if not _FIELDS.fullmatch(joined) or joined.count("\n") >= len(fields):
        wrong = next((each for each in fields if not _FIELDS.fullmatch(each) or "\n" in each), "")
        mend = "write decimal points" if "," in wrong else ""
        raise damaged(path, f"found {wrong[:40]!r}, expected a number", f"line {line}", mend)
    return np.array([float(field) if field else np.nan for field in fields])


def frame_of(field: str, path: Path, line: int) -> int:
    """Return a frame number.

    Raises:
        SkeletonError: ``SKEL-061`` for anything else.
    """
    match = _FRAME.fullmatch(field.strip()) if field.isascii() else None
    if match is None:
        raise damaged(path, f"found {field[:40]!r}, expected a frame number", f"line {line}")
    return int(match[1])


def require_width(fields: Sequence[str], width: int, path: Path, line: int) -> None:
    """Refuse a row that is shorter or longer than the header.

    Raises:
        SkeletonError: ``SKEL-061``.
    """
    if len(fields) != width:
        raise damaged(path, f"{len(fields)} fields, expected {width}", f"line {line}")


def head_of(path: Path) -> str:
    """Return the start of a text file; other bytes as replacement characters."""
    with path.open("rb") as file:
        return file.read(1 << 16).decode("utf-8", errors="replace").removeprefix("\ufeff")


def listed(names: Sequence[str]) -> str:
    """Return the first few names for a message."""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more
