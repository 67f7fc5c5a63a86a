"""``clips.csv``: one row per clip, read into arrays."""

import csv
import json
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.data.info import COLUMN_NAMES, PARTS, DatasetInfo, cannot_read, nearest
from poselens.errors import AnnotationError

CLIPS_FILE = "clips.csv"
SPLIT_PREFIX = "split:"
PENDING_FILE = ".poselens-split.json"
"""Names of protocols that are being written; see ``resplit.write_protocols``."""
PENDING_LIMIT = 1 << 20
ID_LIMIT = 200
CHUNK = 4096
COLUMNS = (
    "id", "video", "label", "subject", "view", "source", "start_s", "end_s", "width", "height",
)  # fmt: skip
RareColumn = Literal["session", "event"]
RARE_COLUMNS: tuple[RareColumn, ...] = get_args(RareColumn)
"""Columns that a data set has only where its importer knows them."""
_WHOLE = re.compile(r"[0-9]{1,6}")
_PLAIN_NUMBERS = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,12})?(?:,|$))*")
DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,12})?(?:[eE][+-]?[0-9]{1,2})?")


class Texts:
    """Many short texts in two arrays: a hundred thousand clips hold no Python objects."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])

    def extend(self, texts: Sequence[str]) -> None:
        """Add texts."""
        joined = "".join(texts)
        lengths = map(len, texts) if joined.isascii() else (len(text.encode()) for text in texts)
        self._ends.extend(accumulate(lengths, initial=self._ends.pop()))
        self._bytes += joined.encode()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, position: int) -> str:
        return self._bytes[self._ends[position] : self._ends[position + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        return (text.decode() for text in self._raw())

    def _raw(self) -> Iterator[bytes]:
        return map(bytes(self._bytes).__getitem__, map(slice, self._ends, self._ends[1:]))

    def coded(self) -> tuple[Int[np.ndarray, " n"], list[str]]:
        """Return a number for each text, -1 for an empty one, and the distinct texts in order."""
        numbers = _Numbers({b"": -1})
        codes = np.fromiter(map(numbers.__getitem__, self._raw()), np.int64, len(self))
        return codes, [text.decode() for text in numbers if text]


class _Numbers(dict[bytes, int]):
    """Gives the next number to every text it has not met."""

    def __missing__(self, text: bytes) -> int:
        self[text] = len(self) - 1
        return self[text]


@dataclass(frozen=True, eq=False)
class ClipTable:
    """The columns of ``clips.csv``.

    Attributes:
        ids: Clip ids.
        labels: Class indices, -1 where unknown.
        texts: ``video`` and the columns of ``COLUMN_NAMES`` by name; empty where unknown.
        times: ``start_s`` and ``end_s``, NaN where not given.
        sizes: ``width`` and ``height``, 0 where not given.
        splits: For each protocol 0 for a clip outside it, else 1 + position in ``PARTS``.
    """

    ids: NDArray[np.str_]
    labels: Int[np.ndarray, " n"]
    texts: dict[str, Texts]
    times: Float[np.ndarray, "2 n"]
    sizes: Int[np.ndarray, "2 n"]
    splits: dict[str, Int[np.ndarray, " n"]]


def id_fault(clip_id: str) -> str | None:
    """Return what is wrong with a clip id, or None."""
    if not clip_id:
        return "the id is empty"
    if len(clip_id) > ID_LIMIT:
        return f"the id has {len(clip_id)} characters, the limit is {ID_LIMIT}"
    if not clip_id.isprintable():
        return "the id has characters that cannot be printed"
    return None


def leaves_folder(path: str) -> bool:
    """Tell whether a path written in ``clips.csv`` is absolute, climbs, or is no path at all.

    Symbolic links are looked at when a video is opened.
    """
    if ".." not in path and "\\" not in path and ":" not in path and "\0" not in path:
        return path.startswith("/")
    return (
        "\0" in path
        or "\\" in path
        or PurePosixPath(path).is_absolute()
        or bool(PureWindowsPath(path).drive)
        or ".." in PurePosixPath(path).parts
    )


def span_fault(start_s: float | None, end_s: float | None) -> str | None:
    """Return what is wrong with the part of a video that a clip covers, or None."""
    for name, time in (("start_s", start_s), ("end_s", end_s)):
        if time is not None and not 0 <= time < math.inf:
            return f"{name} is {time}, expected seconds from 0"
    if end_s is not None and end_s <= (start_s or 0):
        return f"end_s is {end_s}, which is not after start_s ({start_s or 0})"
    return None


def read_clips(root: Path, info: DatasetInfo) -> ClipTable:
    """Read and check ``clips.csv`` of the data set in ``root``.

    Raises:
        AnnotationError: ``DATA-002`` missing file, ``DATA-004`` wrong columns, ``DATA-005`` a bad
            row, ``DATA-006`` a label that is unknown, or missing where a clip trains, ``DATA-007``
            an id given twice, ``DATA-008`` a wrong split value, ``DATA-009`` a video outside the
            folder.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    path = root / CLIPS_FILE
    line = 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            builder = _Builder(next(reader, []), info, path)
            line = reader.line_num + 1
            rows: list[list[str]] = []
            lines: list[int] = []
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(line)
                line = reader.line_num + 1
                if len(rows) == CHUNK:
                    builder.add(rows, lines)
                    rows, lines = [], []
            builder.add(rows, lines)
    except FileNotFoundError as fault:
        raise AnnotationError("DATA-002", f"{CLIPS_FILE} is missing", file=root) from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    except UnicodeDecodeError as fault:
        raise AnnotationError(
            "DATA-005", "not UTF-8 text", file=path, where=f"line {line}", mend="save it as UTF-8"
        ) from fault
    except csv.Error as fault:
        raise AnnotationError(
            "DATA-005", f"not valid CSV: {fault}", file=path, where=f"line {line}"
        ) from fault
    return builder.table()


def _is_pending(column: str, path: Path) -> bool:
    """Tell whether a column belongs to a protocol that was being written when the machine stopped.

    Such a column is passed over, as if it were not there: writing the protocol again mends it.
    """
    if not column.startswith(SPLIT_PREFIX):
        return False
    try:
        with path.open("rb") as file:
            names = json.loads(file.read(PENDING_LIMIT))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(names, list) and column.removeprefix(SPLIT_PREFIX) in names


class _Builder:
    """Collects rows into compact columns and refuses the first bad one."""

    def __init__(self, header: list[str], info: DatasetInfo, path: Path) -> None:
        self._path = path
        self._protocols = list(info.protocols)
        self._classes = {name: position for position, name in enumerate(info.classes)}
        self._classes[""] = -1
        self._parts = {"": 0} | {part: position for position, part in enumerate(PARTS, start=1)}
        self._width = len(header)
        self._place = self._find_columns([name.strip() for name in header])
        self._lines: dict[str, int] = {}
        self._labels = array("q")
        self._texts = {name: Texts() for name in ("video", *COLUMN_NAMES)}
        self._times = {"start_s": array("d"), "end_s": array("d")}
        self._sizes = {"width": array("q"), "height": array("q")}
        self._splits = {name: array("b") for name in self._protocols}

    def _find_columns(self, header: list[str]) -> dict[str, int]:
        splits = [SPLIT_PREFIX + name for name in self._protocols]
        known = [*COLUMNS, *RARE_COLUMNS, *splits]
        for name in header:
            if name not in known and not _is_pending(name, self._path.parent / PENDING_FILE):
                raise self._refuse(
                    "DATA-004",
                    f"unknown column {name!r}{nearest(name, known)}",
                    1,
                    "rename or remove it; a split column needs its protocol in dataset.yaml",
                )
            if header.count(name) > 1:
                raise self._refuse("DATA-004", f"column {name!r} is there twice", 1)
        for name in ("id", "label", *splits):
            if name not in header:
                raise self._refuse(
                    "DATA-004", f"column {name!r} is missing (found {', '.join(header)})", 1
                )
        return {name: header.index(name) if name in header else -1 for name in known}

    def _refuse(
        self, code: str, message: str, line: int, mend: str | None = None
    ) -> AnnotationError:
        return AnnotationError(code, message, file=self._path, where=f"line {line}", mend=mend)

    def add(self, rows: list[list[str]], lines: list[int]) -> None:
        """Add rows, or refuse the first bad one."""
        columns = self._columns(rows)
        if columns is None or not self._plainly_fit(columns, lines):
            for row, line in zip(rows, lines, strict=True):
                self._check(row, line)
            columns = self._columns(rows) or {}
        self._lines.update(zip(columns["id"], lines, strict=True))
        self._labels.extend(self._classes[text] for text in columns["label"])
        for name, texts in self._texts.items():
            texts.extend(columns[name])
        for name, times in self._times.items():
            times.extend(float(text) if text else math.nan for text in columns[name])
        for name, sizes in self._sizes.items():
            sizes.extend(int(text) if text else 0 for text in columns[name])
        for name, parts in self._splits.items():
            parts.extend(self._parts[text] for text in columns[SPLIT_PREFIX + name])

    def _columns(self, rows: list[list[str]]) -> dict[str, list[str]] | None:
        """Turn rows into columns by name; None when a row has too few or too many fields."""
        if any(len(row) != self._width for row in rows):
            return None
        absent = [""] * len(rows)
        return {
            name: absent if place < 0 else [row[place].strip() for row in rows]
            for name, place in self._place.items()
        }

    def _plainly_fit(self, columns: dict[str, list[str]], lines: list[int]) -> bool:
        """Tell, a whole column at a time, that no row can be bad; False sends rows to ``_check``.

        A hundred thousand rows pass here in a fraction of the time of looking at every field.
        """
        ids = dict(zip(columns["id"], lines, strict=True))
        labelled = [text != "" for text in columns["label"]]
        plain_parts = {(part, True) for part in self._parts} | {("", False), ("test", False)}
        numbers = ",".join(
            text for name in (*self._times, *self._sizes) for text in columns[name] if text
        )
        return (
            len(ids) == len(lines)
            and self._lines.keys().isdisjoint(ids)
            and not any(map(id_fault, ids))
            and not any(map(leaves_folder, columns["video"]))
            and self._classes.keys() >= set(columns["label"])
            and all(
                plain_parts >= set(zip(columns[SPLIT_PREFIX + name], labelled, strict=True))
                for name in self._splits
            )
            and _PLAIN_NUMBERS.fullmatch(numbers) is not None
            and all(
                _WHOLE.fullmatch(text)
                for name in self._sizes
                for text in set(columns[name])
                if text
            )
            and all(
                not end or float(end) > float(start or 0)
                for start, end in zip(columns["start_s"], columns["end_s"], strict=True)
            )
        )

    def _check(self, row: list[str], line: int) -> None:
        if len(row) != self._width:
            raise self._refuse("DATA-005", f"found {len(row)} fields, expected {self._width}", line)
        field = {
            name: "" if place < 0 else row[place].strip() for name, place in self._place.items()
        }
        fault = id_fault(field["id"])
        if fault:
            raise self._refuse("DATA-005", fault, line)
        first = self._lines.setdefault(field["id"], line)
        if first != line:
            raise self._refuse(
                "DATA-007",
                f"id {field['id']!r} is there twice, in lines {first} and {line}",
                line,
                "give every clip its own id",
            )
        if leaves_folder(field["video"]):
            raise self._refuse(
                "DATA-009",
                f"video {field['video']!r} leads out of the data set's folder",
                line,
                "put videos under the folder and write their relative path with /",
            )
        label = self._label(field["label"], line)
        self._check_numbers(field, line)
        for name in self._splits:
            self._check_part(field[SPLIT_PREFIX + name], name, label, line)

    def _label(self, text: str, line: int) -> int:
        label = self._classes.get(text)
        if label is None:
            known = [name for name in self._classes if name]
            raise self._refuse(
                "DATA-006",
                f"unknown label {text!r} ({len(known)} classes){nearest(text, known)}",
                line,
                "use a class name of dataset.yaml, or leave it empty",
            )
        return label

    def _check_part(self, text: str, protocol: str, label: int, line: int) -> None:
        if text not in self._parts:
            raise self._refuse(
                "DATA-008",
                f"{SPLIT_PREFIX}{protocol} is {text!r}, expected train, val, test or nothing",
                line,
            )
        if label < 0 and text in ("train", "val"):
            raise self._refuse(
                "DATA-006",
                f"the clip has no label, but is in the {text} part of {protocol!r}",
                line,
                "label it, or leave its split empty",
            )

    def _check_numbers(self, field: dict[str, str], line: int) -> None:
        for names, form, unit in (
            (self._times, DECIMAL, "seconds"),
            (self._sizes, _WHOLE, "pixels"),
        ):
            for name in names:
                if field[name] and not form.fullmatch(field[name]):
                    raise self._refuse(
                        "DATA-005", f"{name} is {field[name]!r}, expected {unit}", line
                    )
        span = [float(field[name]) if field[name] else None for name in self._times]
        fault = span_fault(*span)
        if fault:
            raise self._refuse("DATA-005", fault, line)

    def table(self) -> ClipTable:
        return ClipTable(
            ids=np.array(list(self._lines), dtype=np.str_),
            labels=np.array(self._labels, dtype=np.int64),
            texts=self._texts,
            times=np.array(list(self._times.values()), dtype=np.float64),
            sizes=np.array(list(self._sizes.values()), dtype=np.int64),
            splits={name: np.array(parts, dtype=np.int8) for name, parts in self._splits.items()},
        )
