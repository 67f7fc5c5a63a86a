"""Score pickles of other tools, read without running anything they ask for.

Forms: CTR-GCN, SkeletonGCL, 2s-AGCN and their kin write a dict of sample name to logits
(``main.py``: ``dict(zip(sample_name, score))``); names are those of the feeder, which for NTU are
``test_0``, ``test_1``, ..., for NW-UCLA 0, 1, .... PYSKL (``tools/test.py --out``) and MMAction2
before 1.0 write a list of arrays in the order of the annotation file; MMAction2 since then
(``tools/test.py --dump``) a list of dicts with ``pred_score`` and ``gt_label`` (in its first
versions ``pred_scores`` and ``gt_labels``, dicts of ``item``), which are torch tensors.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from poselens.data.pickled_arrays import PickledArray, WrongArray
from poselens.data.pickled_tensors import PickledTensor
from poselens.data.pickles import open_pickle
from poselens.data.pyskl_file import NAME_KEYS, text_of
from poselens.errors import AnnotationError, InputError

SCORE_KEYS = ("pred_score", "pred_scores", "scores", "score", "logits")
LABEL_KEYS = ("gt_label", "gt_labels", "label")
_NUMBERED = re.compile(r"(?:train|val|test)_?([0-9]{1,9})")


@dataclass(frozen=True, eq=False)
class Table:
    """What a score file says, before anything is known about its clips.

    Attributes:
        values: ``(n, k)`` numbers; rows of NaN where the file has nothing for a clip.
        names: Name of each row, None where rows are told apart by their order alone.
        places: Place of each row in the feeder's list, where names are such places; else None.
        labels: Class index of each row, -1 where unknown, or the text that stands there.
        classes: Names of the columns, None where the file has none.
        where: What a row is called in error texts, such as ``line``; and the first one's number.
    """

    values: NDArray[np.float64]
    names: list[str] | None
    places: list[int] | None = None
    labels: list[int | str] | None = None
    classes: list[str] | None = None
    where: tuple[str, int] = ("row", 0)


def read_score_pickle(path: Path) -> Table:
    """Read a score pickle.

    Raises:
        InputError: ``FUS-025`` when it is neither a dict nor a list of scores, or rows are of
            different lengths.
        AnnotationError: ``PKL-001`` to ``PKL-005`` as ``poselens.data.pickles.open_pickle``.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    with open_pickle(path, tensors=True) as content:
        return _table(content, path)


def _table(content: object, path: Path) -> Table:
    if isinstance(content, dict):
        names = [str(name) for name in content]
        rows = [_row(value, path, repr(name)) for name, value in content.items()]
        return Table(_stacked(rows, path), names, _places(content))
    if isinstance(content, list | tuple) and all(isinstance(each, dict) for each in content):
        return _samples(content, path)
    if isinstance(content, list | tuple):
        rows = [_row(value, path, f"row {place}") for place, value in enumerate(content)]
        return Table(_stacked(rows, path), None)
    array = _array(content, path, "the pickle")
    if array is None or array.ndim != 2 or array.dtype.kind not in "fiu":
        _refuse(f"found a {type(content).__name__}", path, "the pickle")
    return Table(array.astype(np.float64), None)


def _samples(content: list[Any] | tuple[Any, ...], path: Path) -> Table:
    """Read MMAction2's list of dicts."""
    rows, names = [], []
    labels: list[int | str] = []
    for place, entry in enumerate(content):
        where = f"row {place}"
        score = next((entry[key] for key in SCORE_KEYS if key in entry), None)
        if isinstance(score, dict):
            score = score.get("item")
        if score is None:
            found = ", ".join(map(str, list(entry)[:6])) or "nothing"
            _refuse(f"found a dict of {found}, expected pred_score", path, where)
        rows.append(_row(score, path, where))
        name = next((text_of(entry[key]) for key in NAME_KEYS if text_of(entry.get(key))), None)
        names.append(name)
        labels.append(_label(entry, path, where))
    known = [name for name in names if name is not None]
    return Table(_stacked(rows, path), known if len(known) == len(names) else None, labels=labels)


def _label(entry: Mapping[Any, Any], path: Path, where: str) -> int:
    value = next((entry[key] for key in LABEL_KEYS if key in entry), None)
    if isinstance(value, dict):
        value = value.get("item")
    if value is None:
        return -1
    array = _array(value, path, where)
    found = value if array is None else array.ravel().tolist()
    if isinstance(found, list | tuple) and len(found) == 1:
        found = found[0]
    if isinstance(found, bool) or not isinstance(found, int):
        raise InputError(
            "FUS-029",
            "the label is not one class",
            file=path,
            where=where,
            mend="give scores of clips with one class each",
        )
    return found


def _places(content: Mapping[Any, Any]) -> list[int] | None:
    """Return the places that names such as ``test_7`` or 7 stand for, if all are such."""
    places = []
    for name in content:
        match = None if isinstance(name, int) else _NUMBERED.fullmatch(str(name))
        if isinstance(name, int) and not isinstance(name, bool) and name >= 0:
            places.append(name)
        elif match:
            places.append(int(match[1]))
        else:
            return None
    return places


def _row(value: object, path: Path, where: str) -> NDArray[np.float64]:
    array = _array(value, path, where)
    if array is None and isinstance(value, list | tuple):
        if not all(isinstance(each, int | float) for each in value):
            _refuse("found a list of other things than numbers", path, where)
        array = np.array(value, dtype=np.float64)
    if array is None or array.dtype.kind not in "fiu":
        kind = type(value).__name__ if array is None else array.dtype
        _refuse(f"found {kind}, expected a row of numbers", path, where)
    row = array.squeeze()
    if row.ndim != 1 or len(row) < 2:
        _refuse(f"found numbers of shape {array.shape}, expected one per class", path, where)
    return row.astype(np.float64)


def _array(value: object, path: Path, where: str) -> NDArray[Any] | None:
    if not isinstance(value, PickledArray | PickledTensor):
        return None
    try:
        return value.read()
    except WrongArray as fault:
        raise AnnotationError(
            "PKL-004", str(fault), file=path, where=where, mend="save arrays of numbers"
        ) from fault


def _stacked(rows: list[NDArray[np.float64]], path: Path) -> NDArray[np.float64]:
    if not rows:
        _refuse("found no scores at all", path, "the pickle")
    for place, row in enumerate(rows):
        if len(row) != len(rows[0]):
            _refuse(
                f"found {len(row)} classes, but {len(rows[0])} in the first row",
                path, f"row {place}",
            )  # fmt: skip
    return np.stack(rows)


def _refuse(message: str, path: Path, where: str) -> NoReturn:
    raise InputError(
        "FUS-025",
        message,
        file=path,
        where=where,
        mend="give a dict of name to scores, or a list of scores or of MMAction2's results",
    )


def annotated_names(path: Path, split: str | None) -> Iterator[tuple[str, int]]:
    """Yield name and label of the clips of an annotation pickle, in its order.

    Args:
        path: A file of PYSKL or MMAction2, a dict of ``annotations`` and ``split``.
        split: Which of its splits; None takes every annotation.

    Raises:
        InputError: ``FUS-026`` for a split that the file does not have, ``FUS-025`` when it is no
            list of annotations.
        AnnotationError: ``PKL-001`` to ``PKL-005`` as ``poselens.data.pickles.open_pickle``.
    """
    with open_pickle(path) as content:
        listed: object = content.get("annotations") if isinstance(content, dict) else content
        splits = content.get("split") if isinstance(content, dict) else None
        wanted = None if split is None else _split(splits, split, path)
        if not isinstance(listed, list | tuple):
            _refuse("found no list of annotations", path, "the pickle")
        for place, entry in enumerate(listed):
            fields = entry if isinstance(entry, dict) else {}
            name = next(
                (text_of(fields[key]) for key in NAME_KEYS if text_of(fields.get(key))), None
            )
            if name is None:
                _refuse("found an annotation without a name", path, f"row {place}")
            if wanted is None or name in wanted:
                yield name, _label(fields, path, f"row {place}")


def _split(splits: object, split: str, path: Path) -> set[str | None]:
    names = splits.get(split) if isinstance(splits, dict) else None
    if isinstance(names, PickledArray):
        read = _array(names, path, f"split {split}")
        names = [] if read is None else read.ravel().tolist()
    if not isinstance(names, list | tuple):
        known = ", ".join(map(str, splits)) if isinstance(splits, dict) else "none"
        raise InputError(
            "FUS-026",
            f"no split {split!r}; found {known}",
            file=path,
            mend="name one of them, as in FILE:SPLIT",
        )
    return {text_of(name) for name in names}
