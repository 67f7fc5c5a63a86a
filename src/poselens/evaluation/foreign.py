"""Scores of other tools, as ``Scores``: named, labelled, checked."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from poselens.data.info import nearest
from poselens.errors import InputError
from poselens.evaluation.foreign_pickles import Table, annotated_names, read_score_pickle
from poselens.evaluation.foreign_tables import (
    read_id_lines,
    read_label_csv,
    read_score_csv,
    read_score_npy,
    read_score_npz,
)
from poselens.fusion.scores import present, read_scores
from poselens.types import Scores

Kind = Literal["auto", "logits", "probabilities"]

READERS = {
    ".pkl": read_score_pickle,
    ".pickle": read_score_pickle,
    ".npz": read_score_npz,
    ".npy": read_score_npy,
    ".csv": read_score_csv,
    ".tsv": read_score_csv,
}
"""What reads a score file, by the end of its name."""

_OURS = {"logits.npy", "ids.npy", "labels.npy", "classes.npy", "stream.npy"}
_SUM_SLACK = 5e-3
_VIDEO_ENDS = (".skeleton", ".avi", ".mp4", ".mkv", ".mov", ".webm", ".npy", ".json")


@dataclass(frozen=True)
class Known:
    """What is known about the clips from elsewhere.

    Attributes:
        ids: Ids in the order of the other tool's list, or None.
        classes: Class names, or None.
        labels: Class index by id, -1 where unknown: of a data set, an annotation file or a CSV.
        complete: Whether ``labels`` names every clip there can be, so that others are refused.
    """

    ids: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    labels: Mapping[str, int] | None = None
    complete: bool = False


def is_score_file(path: Path) -> bool:
    """Return whether a path is a file that may hold scores, and neither a run nor a bundle."""
    return path.is_file() or (path.suffix.lower() in READERS and not path.is_dir())


def read_score_file(
    path: Path, known: Known | None = None, *, stream: str | None = None, kind: Kind = "auto"
) -> Scores:
    """Read a score file of this package or of another tool.

    Args:
        path: ``.pkl`` (``poselens.evaluation.foreign_pickles``), ``.npz``, ``.npy`` or ``.csv``
            (``poselens.evaluation.foreign_tables``), or what ``write_scores`` wrote.
        known: Ids, classes and labels, as far as they are known.
        stream: Name of the stream; that in the file, or else the file's, when left out.
        kind: Whether numbers are logits or probabilities; ``auto`` takes them for probabilities
            where every row lies in [0, 1] and sums to one.

    Departure: of probabilities the logarithm is taken, with zeros at the smallest float32, so that
    the softmax of fusion gives them back. An id that the data set does not know is tried without
    an ending such as ``.skeleton``.

    Raises:
        InputError: ``FUS-024`` no such file or kind of file, ``FUS-025`` contents that are no
            scores, ``FUS-026`` rows without names, ``FUS-027`` ids that the data set does not know,
            ``FUS-028`` other classes, ``FUS-029`` labels that cannot be or that contradict what is
            known, ``FUS-004`` scores that are not finite, ``FUS-006`` a damaged file of our own.
        AnnotationError: ``PKL-001`` to ``PKL-005`` for a pickle.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    known = known or Known()
    if not path.is_file():
        raise InputError("FUS-024", "no score file at this path", file=path, mend="check the path")
    if _is_ours(path):
        own = read_scores(path)
        table = Table(
            own.logits.astype(np.float64), list(own.ids), labels=own.labels.tolist(),
            classes=list(own.classes),
        )  # fmt: skip
        made = _complete(table, path, known, "logits")
        return replace(made, stream=stream or own.stream, views=own.views)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            "FUS-024",
            f"no kind of score file ends in {path.suffix or path.name!r}",
            file=path,
            mend=f"give {', '.join(READERS)}",
        )
    return replace(_complete(reader(path), path, known, kind), stream=stream or path.stem)


def _is_ours(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= _OURS
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _complete(table: Table, path: Path, known: Known, kind: Kind) -> Scores:
    ids = _matched(_ids(table, path, known), path, known)
    values, classes = _columns(table, path, known)
    labels = _labels(table, ids, classes, path, known)
    logits = _logits(values, path, kind)
    made = Scores(logits, ids, labels, classes, path.stem)
    try:
        present(made)
    except InputError as fault:
        raise InputError("FUS-004", fault.message, file=path, mend=fault.mend) from fault
    return made


def _ids(table: Table, path: Path, known: Known) -> list[str]:
    """Return the name of every row: its own, or that at its place in a list."""
    rows = len(table.values)
    if known.ids is None:
        if table.names is None:
            raise InputError(
                "FUS-026",
                f"its {rows} rows have no names",
                file=path,
                mend="name them: a list of ids, one a line, or an annotation file and its split",
            )
        return table.names
    if table.names is not None and table.places is None:
        return table.names
    places = list(range(rows)) if table.places is None else table.places
    if len(known.ids) != rows or max(places) >= rows:
        raise InputError(
            "FUS-026",
            f"found {rows} rows, but {len(known.ids)} ids for them"
            if len(known.ids) != rows
            else f"a name stands for place {max(places)}, but there are {rows} rows",
            file=path,
            mend="give the list that these scores were made in the order of",
        )
    return [known.ids[place] for place in places]


def _matched(ids: list[str], path: Path, known: Known) -> list[str]:
    """Return the ids as the data set spells them."""
    seen: dict[str, int] = {}
    found = []
    labels = known.labels or {}
    for row, name in enumerate(ids):
        bare = name.removesuffix(PurePosixPath(name).suffix) if name.endswith(_VIDEO_ENDS) else name
        spelled = name if name in labels or bare not in labels else bare
        if known.complete and spelled not in labels:
            raise InputError(
                "FUS-027",
                f"{name!r} is no clip of the data set{nearest(name, list(labels)[:20_000])}",
                file=path,
                where=f"row {row}",
                mend="give the data set that these clips are of, or a list of its ids (--ids) "
                "where names are places in a list",
            )
        if spelled in seen:
            raise InputError(
                "FUS-025",
                f"{spelled!r} is there twice, in rows {seen[spelled]} and {row}",
                file=path,
                mend="give every clip one row",
            )
        seen[spelled] = row
        found.append(spelled)
    return found


def _columns(table: Table, path: Path, known: Known) -> tuple[NDArray[np.float64], list[str]]:
    """Return the scores in the order of the known classes, and these."""
    values, own = table.values, table.classes
    columns = values.shape[1]
    if own is not None and len(set(own)) != len(own):
        raise InputError("FUS-028", "two columns have one class", file=path, mend="rename one")
    if known.classes is None:
        return values, own or [str(column) for column in range(columns)]
    classes = list(known.classes)
    if columns != len(classes):
        raise InputError(
            "FUS-028",
            f"found {columns} classes, expected {len(classes)}",
            file=path,
            mend="give scores of the classes of the data set",
        )
    if own is None or own == classes or own == [str(column) for column in range(columns)]:
        return values, classes
    strange = [name for name in own if name not in classes]
    if strange:
        raise InputError(
            "FUS-028",
            f"found a class {strange[0]!r}{nearest(strange[0], classes)}",
            file=path,
            mend="name the columns as the data set names its classes",
        )
    return values[:, [own.index(name) for name in classes]], classes


def _labels(
    table: Table, ids: Sequence[str], classes: Sequence[str], path: Path, known: Known
) -> Int[np.ndarray, " n"]:
    """Return class indices: what the file says, where it agrees with what is known."""
    index = {name: column for column, name in enumerate(classes)}
    labels = np.full(len(ids), -1, dtype=np.int64)
    noun, first = table.where
    for row, clip in enumerate(ids):
        told = -1 if table.labels is None else table.labels[row]
        own = class_index(told, index)
        where = f"{noun} {row + first}"
        if own is None:
            raise InputError(
                "FUS-029",
                f"the label of {clip!r} is {told!r}, expected a class or 0 to {len(classes) - 1}",
                file=path,
                where=where,
                mend="correct it",
            )
        other = -1 if known.labels is None else known.labels.get(clip, -1)
        if other >= len(classes):
            raise InputError(
                "FUS-029",
                f"{clip!r} is labelled {other}, but there are {len(classes)} classes",
                file=path,
                where=where,
                mend="give the labels of these classes",
            )
        if own >= 0 and other >= 0 and own != other:
            raise InputError(
                "FUS-029",
                f"{clip!r} is {classes[own]!r} here, but {classes[other]!r} in its data set",
                file=path,
                where=where,
                mend="bring classes and clips into the order of the data set",
            )
        labels[row] = max(own, other)
    return labels


def class_index(told: int | str, index: Mapping[str, int]) -> int | None:
    """Return the class that a name or a number stands for, -1 for none, None when it cannot be."""
    if isinstance(told, str):
        if told in ("", "-1"):
            return -1
        if told in index:
            return index[told]
        told = int(told) if told.isascii() and told.isdigit() and len(told) < 10 else -2
    return told if -1 <= told < len(index) else None


def _logits(values: NDArray[np.float64], path: Path, kind: Kind) -> NDArray[np.float32]:
    finite = values[np.isfinite(values).all(axis=1)]
    inside = bool(len(finite)) and bool((finite >= 0).all() and (finite <= 1 + _SUM_SLACK).all())
    sums = inside and bool(np.allclose(finite.sum(axis=1), 1, atol=_SUM_SLACK))
    if kind == "probabilities" and not inside:
        raise InputError(
            "FUS-025",
            "found numbers outside [0, 1], expected probabilities",
            file=path,
            mend="say --scores-are logits",
        )
    if kind == "probabilities" or (kind == "auto" and sums):
        values = np.log(np.maximum(values, np.finfo(np.float32).tiny))
    largest = np.finfo(np.float32).max
    if len(finite) and np.abs(finite).max() > largest:
        raise InputError(
            "FUS-004", "scores beyond what single precision holds", file=path,
            mend="compute these scores again",
        )  # fmt: skip
    logits: NDArray[np.float32] = values.astype(np.float32)
    return logits


def read_ids(text: str) -> tuple[list[str], dict[str, int] | None]:
    """Return the ids of a list in its order, and their labels where the list has them.

    Args:
        text: A text file, one id a line; or ``FILE`` or ``FILE:SPLIT``, an annotation pickle of
            PYSKL or MMAction2, whose order its scores have.

    Raises:
        InputError: ``FUS-026`` no such list or split, or an id that is there twice; ``FUS-025``,
            ``FUS-029`` as ``foreign_pickles.annotated_names``.
        AnnotationError: ``PKL-001`` to ``PKL-005`` for a pickle.
    """
    whole, _, split = text.rpartition(":")
    path = Path(text) if Path(text).is_file() or not whole else Path(whole)
    labels = None
    if path.suffix.lower() in (".pkl", ".pickle"):
        pairs = list(annotated_names(path, None if str(path) == text else split))
        ids, labels = [name for name, _ in pairs], dict(pairs)
    else:
        ids = read_id_lines(path)
    twice = len(ids) - len(set(ids))
    if twice or not ids:
        raise InputError(
            "FUS-026",
            f"{twice} ids are there twice" if ids else "found no id",
            file=path,
            mend="give every clip an id of its own",
        )
    return ids, labels


def read_labels(path: Path, classes: Sequence[str] | None) -> dict[str, int]:
    """Return class indices by id from a CSV with the columns ``id`` and ``label``.

    Args:
        path: The CSV.
        classes: Class names, where labels may be names; else they are indices.

    Raises:
        InputError: ``FUS-029`` for a label that is no class, or an id with two labels;
            ``FUS-025`` when it is no CSV text.
    """
    index = {name: column for column, name in enumerate(classes or [])}
    labels: dict[str, int] = {}
    for line, clip, told in read_label_csv(path):
        if classes is None:
            whole = told.isascii() and told.isdigit() and len(told) < 10
            label = int(told) if whole else None
        else:
            label = class_index(told, index)
        if label is None or labels.get(clip, label) != label:
            raise InputError(
                "FUS-029",
                f"{clip!r} has the label {told!r}"
                + ("" if label is None else ", and another one before"),
                file=path,
                where=f"line {line}",
                mend="give class indices from 0, or names of the data set's classes",
            )
        labels[clip] = label
    return labels
