"""Score files of other tools that are arrays or text: ``.npz``, ``.npy``, CSV, and lists of ids."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from poselens.data.arrays import Refuse, read_npy, read_npz, require_regular_file
from poselens.data.info import cannot_read
from poselens.errors import InputError
from poselens.evaluation.foreign_pickles import Table

TEXT_LIMIT = 1 << 30
"""Largest CSV that is read, in bytes."""

SCORE_NAMES = ("logits", "scores", "score", "pred_scores", "probabilities", "probs", "pred")
ID_NAMES = ("ids", "id", "names", "name", "sample_name", "clips")
LABEL_NAMES = ("labels", "label", "y", "y_true", "gt_labels")
CLASS_NAMES = ("classes", "class_names")
_SEPARATORS = ",;\t"


def refused(path: Path, where: str | None = None) -> Refuse:
    """Return what makes this module's error from what is wrong with a file."""

    def refuse(message: str) -> InputError:
        return InputError(
            "FUS-025",
            message,
            file=path,
            where=where,
            mend="give an .npz of logits and ids, a .npy, or a CSV of id and one column per class",
        )

    return refuse


def read_score_npz(path: Path) -> Table:
    """Read an archive with an array of scores, and perhaps ids, labels and class names.

    Raises:
        InputError: ``FUS-025`` without such an array, or when arrays do not fit each other.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    refuse = refused(path)
    try:
        arrays = read_npz(path, refuse)
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    values = _named(arrays, SCORE_NAMES)
    if values is None:
        raise refuse(
            f"no array of scores; found {', '.join(arrays) or 'none'}, expected one of "
            f"{', '.join(SCORE_NAMES)}"
        )
    table = _numbers(values, path)
    ids, labels, classes = (_named(arrays, names) for names in (ID_NAMES, LABEL_NAMES, CLASS_NAMES))
    for name, array, length in (
        ("ids", ids, len(table)),
        ("labels", labels, len(table)),
        ("classes", classes, table.shape[1]),
    ):
        if array is not None and array.shape != (length,):
            raise refuse(f"{name} has shape {array.shape}, expected ({length},)")
    if labels is not None and labels.dtype.kind not in "iuU":
        raise refuse(f"labels has type {labels.dtype}, expected class indices or names")
    return Table(
        table,
        None if ids is None else [str(name) for name in ids.tolist()],
        labels=None if labels is None else labels.tolist(),
        classes=None if classes is None else [str(name) for name in classes.tolist()],
    )


def read_score_npy(path: Path) -> Table:
    """Read an array of scores; a list of ids has to name its rows.

    Raises:
        InputError: ``FUS-025`` when it is no array of numbers with two axes.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    try:
        return Table(_numbers(read_npy(path, refused(path)), path), None)
    except OSError as fault:
        raise cannot_read(fault, path) from fault


def _named(arrays: dict[str, NDArray[Any]], names: tuple[str, ...]) -> NDArray[Any] | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _numbers(values: NDArray[Any], path: Path) -> NDArray[np.float64]:
    if values.ndim != 2 or values.dtype.kind not in "fiu" or values.shape[1] < 2:
        raise refused(path)(
            f"scores are {values.dtype} of shape {values.shape}, expected numbers (clips, classes)"
        )
    return values.astype(np.float64)


def read_score_csv(path: Path) -> Table:
    """Read a table with a header: an id, perhaps ``label``, and one column per class.

    Fields may be separated by commas, semicolons or tabs. A clip without scores has empty fields
    throughout.

    Raises:
        InputError: ``FUS-025`` with the line, for a header or a row that cannot be read.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    lines = _rows(path)
    _, header = next(lines, (1, []))
    labelled = len(header) > 1 and header[1].lower() in ("label", "class", "true")
    first = 2 if labelled else 1
    classes = header[first:]
    if header[:1] and header[0].lower() not in ("id", "name", "clip", "file", "video", "sample"):
        raise refused(path, "line 1")(f"the first column is {header[0]!r}, expected id")
    if len(classes) < 2 or len(set(classes)) != len(classes) or "" in classes:
        raise refused(path, "line 1")("expected a column id, and one of its own for every class")
    names: list[str] = []
    labels: list[int | str] = []
    values: list[NDArray[np.float64]] = []
    for line, fields in lines:
        if len(fields) != len(header) or not fields[0]:
            raise refused(path, f"line {line}")(
                f"found {len(fields)} fields, expected {len(header)}"
                if fields[0]
                else "the id is empty"
            )
        names.append(fields[0])
        labels.append(fields[1] if labelled else -1)
        values.append(_row_of(fields[first:], path, line))
    if not values:
        raise refused(path)("found no row")
    return Table(
        np.stack(values), names, labels=labels if labelled else None, classes=classes,
        where=("line", 2),
    )  # fmt: skip


def _row_of(fields: list[str], path: Path, line: int) -> NDArray[np.float64]:
    if not any(fields):
        return np.full(len(fields), np.nan)
    try:
        row = np.array([float(field) if field.isascii() else np.nan for field in fields])
    except ValueError as fault:
        raise refused(path, f"line {line}")(f"found a score that is no number: {fault}") from fault
    if not np.isfinite(row).all():
        raise refused(path, f"line {line}")("found a score that is no finite number")
    return row


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of the rows of a CSV that are not blank."""
    line = 1
    try:
        size = require_regular_file(path, refused(path))
        if size > TEXT_LIMIT:
            raise refused(path)(f"the file has {size} bytes, the limit is {TEXT_LIMIT}")
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline(1 << 20)
            separator = max(_SEPARATORS, key=header.count)
            file.seek(0)
            reader = csv.reader(file, strict=True, delimiter=separator)
            for fields in reader:
                if any(fields):
                    yield line, [field.strip() for field in fields]
                line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as fault:
        raise refused(path, f"line {line}")(
            f"not UTF-8 CSV text ({type(fault).__name__})"
        ) from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault


def read_label_csv(path: Path) -> list[tuple[int, str, str]]:
    """Read line, id and label of each row of a table of labels, whose header names both.

    Raises:
        InputError: ``FUS-029`` without the columns ``id`` and ``label``, or for a row without
            either; ``FUS-025`` when it is no CSV text.
        EnvironmentFault: ``ENV-004`` not readable.
    """

    def refuse(message: str, line: int) -> NoReturn:
        raise InputError(
            "FUS-029", message, file=path, where=f"line {line}",
            mend="give a CSV with the columns id and label",
        )  # fmt: skip

    lines = _rows(path)
    _, header = next(lines, (1, []))
    names = [name.lower() for name in header]
    if "id" not in names or "label" not in names:
        refuse(f"found the columns {', '.join(header) or 'none'}, expected id and label", 1)
    where = names.index("id"), names.index("label")
    rows = []
    for line, fields in lines:
        if len(fields) != len(header) or not all(fields[place] for place in where):
            refuse("a row without id or label", line)
        rows.append((line, fields[where[0]], fields[where[1]]))
    return rows


def read_id_lines(path: Path) -> list[str]:
    """Read a list of ids, one a line.

    Raises:
        InputError: ``FUS-026`` when it is missing, no text, or empty.
    """

    def refuse(message: str) -> InputError:
        return InputError("FUS-026", message, file=path, mend="give one id a line")

    try:
        if require_regular_file(path, refuse) > TEXT_LIMIT:
            raise refuse(f"larger than {TEXT_LIMIT} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise refuse("not UTF-8 text") from fault
    except FileNotFoundError as fault:
        raise refuse("the file is missing") from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise refuse("found no id")
    return ids
