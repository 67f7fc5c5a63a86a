"""Importer for a CSV file that lists videos and labels."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from poselens.data.annotated import AnnotatedClip, seconds, write_annotated
from poselens.data.disk import require_free
from poselens.data.importing import ImportReport, Link, clip_id
from poselens.data.info import PARTS, ClipRecord, cannot_read, nearest
from poselens.data.table import id_fault, span_fault
from poselens.errors import AnnotationError, UsageError

COLUMNS = (
    "video", "label", "id", "subject", "view", "source", "session", "event", "start", "end",
    "split",
)  # fmt: skip
REQUIRED = ("video", "label")
SEPARATORS = (",", ";", "\t")


def import_csv(
    src: Path, out: Path, *, videos: Path | None = None, link: Link = "copy", seed: int = 0
) -> ImportReport:
    """Import a CSV file with columns video and label.

    Optional columns: id, subject, view, source, session, event, start and end (seconds, or
    h:mm:ss.mmm), split (train, val, test). Fields are separated as the header is, by commas,
    semicolons or tabs. Videos are relative to the CSV's folder, or absolute below it. Clips of one
    video share it and, unless ``source`` says otherwise, its path as their source.

    With a split column the protocol is ``given``. Without one it is ``random``: about 20 % test,
    then 20 % validation, by whole subjects and sources together, classes as even as that allows;
    where that leaves fewer than three groups, by whole subjects where every clip has one, and the
    protocol says that it shares sources; else by whole sources, whoever is in them. No clip is
    mirrored; set ``mirror`` in dataset.yaml.

    Args:
        src: The CSV file.
        out: Folder to make.
        videos: Folder that holds the videos; the CSV's own by default.
        link: How videos come into the folder.
        seed: Seed of the random split.

    Raises:
        UsageError: ``DATA-001`` source missing, ``DATA-020`` output exists, ``DATA-014`` too few
            groups for a random split.
        AnnotationError: ``DATA-004`` to ``DATA-009`` with the line, ``DATA-012`` when nothing is
            left to import.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    if not src.is_file():
        raise UsageError("DATA-001", "the CSV file does not exist", file=src.absolute())
    require_free(out)
    root = (videos or src.parent).resolve()
    rows = _read_rows(src, root)
    return write_annotated(
        rows, src, out,
        source=f"CSV file {src.name}", report=ImportReport(), link=link, seed=seed,
    )  # fmt: skip


def _read_rows(src: Path, root: Path) -> list[AnnotatedClip]:
    rows: list[AnnotatedClip] = []
    lines: dict[str, int] = {}
    taken: set[str] = set()
    for line, values in read_table(src, COLUMNS, REQUIRED):
        row = _row(values, src, root, line, taken)
        first = lines.setdefault(row.record.id, line)
        if first != line:
            raise AnnotationError(
                "DATA-007",
                f"id {row.record.id!r} is there twice, in lines {first} and {line}",
                file=src,
                where=f"line {line}",
                mend="give every clip an id of its own",
            )
        rows.append(row)
    return rows


def read_table(
    src: Path, columns: Sequence[str], required: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
    """Read a table with a header into the line and the fields by column of each row.

    Args:
        src: A CSV file, separated as its header is: by commas, semicolons or tabs.
        columns: The columns that may be there.
        required: Those that must.

    Raises:
        AnnotationError: ``DATA-004`` for a column that is unknown, missing or there twice,
            ``DATA-005`` for a row that cannot be read, each with the line.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    line = 1

    def refuse(code: str, message: str, mend: str) -> AnnotationError:
        return AnnotationError(code, message, file=src, where=f"line {line}", mend=mend)

    rows: list[tuple[int, dict[str, str]]] = []
    try:
        with src.open(newline="", encoding="utf-8-sig") as file:
            separator = _separator(file.readline(), columns)
            file.seek(0)
            reader = csv.reader(file, strict=True, delimiter=separator)
            header = [name.strip().lower() for name in next(reader, [])]
            for name in header:
                if name not in columns or header.count(name) > 1:
                    raise refuse(
                        "DATA-004", f"unknown or repeated column {name!r}{nearest(name, columns)}",
                        f"use {', '.join(columns)}",
                    )  # fmt: skip
            for name in required:
                if name not in header:
                    raise refuse("DATA-004", f"column {name!r} is missing", "add it")
            line = reader.line_num + 1
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise refuse(
                        "DATA-005", f"found {len(fields)} fields, expected {len(header)}",
                        "put fields that hold a separator in quotes",
                    )  # fmt: skip
                if fields:
                    values = dict(zip(header, (field.strip() for field in fields), strict=True))
                    rows.append((line, values))
                line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as fault:
        raise refuse(
            "DATA-005", f"not UTF-8 CSV text ({type(fault).__name__})", "save it as UTF-8 CSV"
        ) from fault
    except OSError as fault:
        raise cannot_read(fault, src) from fault
    return rows


def _separator(header: str, columns: Sequence[str]) -> str:
    """Return the separator under which most names of the header are columns."""

    def known(separator: str) -> int:
        names = [name.strip(' "\ufeff\r\n').lower() for name in header.split(separator)]
        return sum(name in columns for name in names)

    return max(SEPARATORS, key=known)


def _row(
    values: Mapping[str, str], src: Path, root: Path, line: int, taken: set[str]
) -> AnnotatedClip:
    def refuse(code: str, message: str, mend: str) -> AnnotationError:
        return AnnotationError(code, message, file=src, where=f"line {line}", mend=mend)

    for name in REQUIRED:
        if not values[name]:
            raise refuse("DATA-005", f"{name} is empty", "fill it, or remove the line")
    inside = path_below(values["video"], root, "video", refuse)
    split = values.get("split")
    if split is not None and split not in ("", *PARTS):
        raise refuse(
            "DATA-008", f"split is {split!r}, expected train, val, test or nothing", "correct it"
        )
    span = [seconds(values.get(name, ""), name, refuse) for name in ("start", "end")]
    relative = inside.relative_to(root).as_posix()
    name = values.get("id") or clip_id(str(Path(relative).with_suffix("")), taken)
    fault = id_fault(name) or span_fault(*span)
    if fault:
        raise refuse("DATA-005", fault, "correct the line")
    record = ClipRecord(
        id=name,
        video=f"videos/{relative}",
        source=values.get("source") or relative,
        subject=values.get("subject", ""),
        view=values.get("view", ""),
        session=values.get("session", ""),
        event=values.get("event", ""),
        start_s=span[0],
        end_s=span[1],
    )
    return AnnotatedClip(record, values["label"], f"line {line}", inside, split)


def path_below(
    text: str, root: Path, what: str, refuse: Callable[[str, str, str], AnnotationError]
) -> Path:
    """Return the path that a table names, relative to ``root`` or absolute, but below it.

    Raises:
        refuse: ``DATA-009`` when it leads out of ``root``.
    """
    if "\0" in text:
        raise refuse("DATA-009", f"the {what}'s path has a NUL character", "correct it")
    # without following links: a link inside the folder that points elsewhere is the user's own
    inside = Path(_normal(Path(root, text)))
    if not inside.is_relative_to(root):
        raise refuse(
            "DATA-009",
            f"{what} {text!r} is outside {root}",
            "give the folder that holds all videos",
        )
    return inside


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return str(Path(*parts))
