"""Writing protocols into a data set that is there: ``clips.csv`` and ``dataset.yaml`` together."""

import csv
import fcntl
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from poselens.data.disk import write_replacing
from poselens.data.folder import ClipFolder
from poselens.data.info import INFO_FILE, cannot_read
from poselens.data.parting import Parted
from poselens.data.protocol_text import with_protocols, without_protocols
from poselens.data.table import CLIPS_FILE, PENDING_FILE, SPLIT_PREFIX
from poselens.errors import AnnotationError, UsageError, disk_fault

NAME = re.compile(r"\w[\w.+-]{0,99}")
_MARK = "\ufeff"


def require_names(folder: ClipFolder, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuse names that a protocol cannot have, or that one has already.

    Raises:
        UsageError: ``DATA-055`` not a name, ``DATA-057`` the protocol is there.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(
                "DATA-055",
                f"found protocol name {name!r}",
                mend="use letters, digits and . + - _, at most 100 of them",
            )
        if name in folder.info.protocols and not overwrite:
            raise UsageError(
                "DATA-057",
                f"the data set has a protocol {name!r} already",
                file=folder.root,
                mend="choose another --name, or add --overwrite; its numbers so far are of the "
                "old one",
            )


@contextmanager
def only_writer(root: Path) -> Iterator[None]:
    """Keep every other process from writing protocols into this data set meanwhile.

    Raises:
        UsageError: ``DATA-001`` no such folder, ``DATA-058`` another process is at it.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` the folder cannot be written.
    """
    if not root.is_dir():
        found = "is not a folder" if root.exists() else "does not exist"
        raise UsageError("DATA-001", f"the data set {found}", file=root.absolute())
    try:
        descriptor = os.open(root, os.O_RDONLY)
    except OSError as fault:
        raise disk_fault(fault, root) from fault
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise UsageError(
                "DATA-058",
                "another process is writing a split into this data set",
                file=root,
                mend="wait for it",
            ) from fault
        except OSError:
            # some network file systems have no locks
            pass
        yield
    finally:
        os.close(descriptor)


def write_protocols(folder: ClipFolder, made: Sequence[Parted]) -> str | None:
    """Write protocols, and replace those of the same names; return a remark on comments, or None.

    A crash at any moment leaves a data set that opens, with a protocol as it was, as it is to be,
    or without it. First a file names the columns to come, so that reading passes over a column
    whose protocol is not described. Then a protocol that is replaced leaves ``dataset.yaml``, its
    column enters ``clips.csv``, and its description comes last. The skeletons are not touched.

    Raises:
        AnnotationError: ``DATA-059`` the data set has changed since it was opened.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    root = folder.root
    info_path, clips_path, pending = root / INFO_FILE, root / CLIPS_FILE, root / PENDING_FILE
    text = _read(info_path)
    names = [parted.name for parted in made]
    again = [name for name in names if name in folder.info.protocols]
    reduced, _ = without_protocols(text, again)
    final, kept = with_protocols(reduced, {parted.name: parted.about for parted in made})
    rows = _with_columns(_read(clips_path), folder, made)
    write_replacing(pending, json.dumps(names).encode())
    if again:
        write_replacing(info_path, reduced.encode())
    write_replacing(clips_path, rows.encode())
    write_replacing(info_path, final.encode())
    try:
        pending.unlink()
    except OSError as fault:
        raise disk_fault(fault, pending) from fault
    return None if kept else f"{INFO_FILE} was written anew: comments in it are gone"


def _read(path: Path) -> str:
    try:
        # newlines as they are
        return path.read_bytes().decode()
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    except UnicodeDecodeError as fault:
        raise _changed(path) from fault


def _changed(path: Path) -> AnnotationError:
    return AnnotationError(
        "DATA-059", "the file has changed since it was read", file=path, mend="split again"
    )


def _with_columns(text: str, folder: ClipFolder, made: Sequence[Parted]) -> str:
    """Return ``clips.csv`` with a column for each protocol, at its place where it has one."""
    path = folder.root / CLIPS_FILE
    mark = _MARK if text.startswith(_MARK) else ""
    try:
        rows = [row for row in csv.reader(io.StringIO(text[len(mark) :], newline="")) if row]
    except csv.Error as fault:
        raise _changed(path) from fault
    header = [name.strip() for name in rows[0]] if rows else []
    if "id" not in header or any(len(row) != len(header) for row in rows):
        raise _changed(path)
    place = header.index("id")
    if [row[place].strip() for row in rows[1:]] != folder.ids.tolist():
        raise _changed(path)
    for parted in made:
        column = SPLIT_PREFIX + parted.name
        if column in header:
            at = header.index(column)
            for row, part in zip(rows[1:], parted.parts, strict=True):
                row[at] = part
        else:
            header.append(column)
            rows[0].append(column)
            for row, part in zip(rows[1:], parted.parts, strict=True):
                row.append(part)
    ending = "\r\n" if "\r\n" in text else "\n"
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=ending).writerows(rows)
    return mark + out.getvalue()
