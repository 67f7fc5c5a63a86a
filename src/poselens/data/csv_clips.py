"""Importer for a CSV file that lists videos and labels."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from poselens.data.disk import require_free
from poselens.data.folds import joined
from poselens.data.importing import (
    ImportReport,
    Link,
    clip_id,
    place_videos,
    require_clips,
    video_roots,
)
from poselens.data.info import (
    PARTS,
    ClipRecord,
    Column,
    DatasetInfo,
    Part,
    ProtocolInfo,
    cannot_read,
    nearest,
)
from poselens.data.splits import carve
from poselens.data.table import DECIMAL, id_fault, span_fault
from poselens.data.writer import FolderWriter
from poselens.errors import AnnotationError, PoselensError, UsageError

COLUMNS = ("video", "label", "id", "subject", "view", "source", "start", "end", "split")
REQUIRED = ("video", "label")
GIVEN, RANDOM = "given", "random"
FEWEST_GROUPS = 3
"""One for each part."""


def import_csv(
    src: Path, out: Path, *, videos: Path | None = None, link: Link = "copy", seed: int = 0
) -> ImportReport:
    """Import a CSV file with columns video and label.

    Optional columns: id, subject, view, source, start and end (seconds), split (train, val, test).
    Videos are relative to the CSV's folder, or absolute below it. Clips of one video share it and,
    unless ``source`` says otherwise, its path as their source.

    With a split column the protocol is ``given``. Without one it is ``random``: about 20 % test,
    then 20 % validation, by whole subjects and sources together, classes as even as that allows;
    where that leaves fewer than three groups, by whole subjects where every clip has one, else by
    whole sources, and the protocol says what it shares. No clip is mirrored; set ``mirror`` in
    dataset.yaml.

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
    report = ImportReport()
    rows = _probed(rows, src, report)
    require_clips(len(rows), src, report)
    classes = sorted({row.label for row in rows})
    protocol, about, parts = _parts(rows, seed)
    origins = {row.record.video or "": row.origin for row in rows}
    info = DatasetInfo(
        name=src.stem or "clips",
        classes=classes,
        protocols={protocol: about},
        mirror="none",
        source=f"CSV file {src.name}",
        video_roots=video_roots(link, origins),
    )
    with FolderWriter(out, info) as writer:
        for row, part in zip(rows, parts, strict=True):
            record = replace(row.record, label=classes.index(row.label))
            writer.add(record, {protocol: part}, {})
        place_videos(origins, writer.staging, link)
        report.imported = len(rows)
        report.write(writer.staging)
    return report


@dataclass(frozen=True, slots=True)
class _Row:
    record: ClipRecord
    label: str
    split: str | None
    origin: Path
    line: int


def _read_rows(src: Path, root: Path) -> list[_Row]:
    line = 1

    def refuse(code: str, message: str, mend: str | None = None) -> AnnotationError:
        return AnnotationError(code, message, file=src, where=f"line {line}", mend=mend)

    rows: list[_Row] = []
    lines: dict[str, int] = {}
    taken: set[str] = set()
    try:
        with src.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            for name in header:
                if name not in COLUMNS or header.count(name) > 1:
                    raise refuse(
                        "DATA-004", f"unknown or repeated column {name!r}{nearest(name, COLUMNS)}",
                        f"use {', '.join(COLUMNS)}",
                    )  # fmt: skip
            for name in REQUIRED:
                if name not in header:
                    raise refuse("DATA-004", f"column {name!r} is missing")
            line = reader.line_num + 1
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise refuse("DATA-005", f"found {len(fields)} fields, expected {len(header)}")
                if fields:
                    values = dict(zip(header, (field.strip() for field in fields), strict=True))
                    row = _row(values, src, root, line, taken)
                    first = lines.setdefault(row.record.id, line)
                    if first != line:
                        raise refuse(
                            "DATA-007",
                            f"id {row.record.id!r} is there twice, in lines {first} and {line}",
                        )
                    rows.append(row)
                line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as fault:
        raise refuse("DATA-005", f"not UTF-8 CSV text ({type(fault).__name__})") from fault
    except OSError as fault:
        raise cannot_read(fault, src) from fault
    return rows


def _row(values: Mapping[str, str], src: Path, root: Path, line: int, taken: set[str]) -> _Row:
    def refuse(code: str, message: str, mend: str | None = None) -> AnnotationError:
        return AnnotationError(code, message, file=src, where=f"line {line}", mend=mend)

    for name in REQUIRED:
        if not values[name]:
            raise refuse("DATA-005", f"{name} is empty")
    if "\0" in values["video"]:
        raise refuse("DATA-009", "the video's path has a NUL character")
    # without following links: a link inside the folder that points elsewhere is the user's own
    origin = Path(root, values["video"])
    inside = Path(_normal(origin))
    if not inside.is_relative_to(root):
        raise refuse(
            "DATA-009",
            f"video {values['video']!r} is outside {root}",
            "give the folder that holds all videos",
        )
    split = values.get("split")
    if split is not None and split not in ("", *PARTS):
        raise refuse("DATA-008", f"split is {split!r}, expected train, val, test or nothing")
    span: list[float | None] = []
    for name in ("start", "end"):
        text = values.get(name, "")
        if text and not DECIMAL.fullmatch(text):
            raise refuse("DATA-005", f"{name} is {text!r}, expected seconds")
        span.append(float(text) if text else None)
    relative = inside.relative_to(root).as_posix()
    name = values.get("id") or clip_id(str(Path(relative).with_suffix("")), taken)
    fault = id_fault(name) or span_fault(*span)
    if fault:
        raise refuse("DATA-005", fault)
    record = ClipRecord(
        id=name,
        video=f"videos/{relative}",
        subject=values.get("subject", ""),
        view=values.get("view", ""),
        source=values.get("source") or relative,
        start_s=span[0],
        end_s=span[1],
    )
    return _Row(record, values["label"], split, inside, line)


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return str(Path(*parts))


def _probed(rows: list[_Row], src: Path, report: ImportReport) -> list[_Row]:
    # video reading loads FFmpeg; opening a finished data set does not need it
    from poselens.data.video import probe

    sizes: dict[Path, tuple[int, int] | PoselensError] = {}
    kept: list[_Row] = []
    for row in rows:
        if row.origin not in sizes:
            try:
                seen = probe(row.origin)
                sizes[row.origin] = (seen.width, seen.height)
            except PoselensError as fault:
                sizes[row.origin] = fault
        size = sizes[row.origin]
        if isinstance(size, PoselensError):
            report.skip(size.code, f"{src}:line {row.line}", f"{row.origin}: {size.message}")
            continue
        kept.append(replace(row, record=replace(row.record, width=size[0], height=size[1])))
    return kept


def _parts(rows: list[_Row], seed: int) -> tuple[str, ProtocolInfo, list[str]]:
    if rows[0].split is not None:
        chance = 1 / len({row.label for row in rows})
        about = ProtocolInfo(description="the split column of the CSV file", chance=chance)
        return GIVEN, about, [row.split or "" for row in rows]
    by_subject = all(row.record.subject for row in rows)
    group: Column = "subject" if by_subject else "source"
    other: Column = "source" if by_subject else "subject"
    groups = joined([[getattr(row.record, name) for row in rows] for name in ("subject", "source")])
    shares: dict[Column, str] = {}
    if len(set(groups)) < FEWEST_GROUPS:
        # hardly anything is apart from anything: what is known best is kept whole, the rest is told
        groups = [getattr(row.record, group) for row in rows]
        shares[other] = f"there are not enough {other}s to tell the parts apart by them too"
    labels = [sorted({row.label for row in rows}).index(row.label) for row in rows]
    parts: list[Part] = ["train"] * len(rows)
    parts = carve(groups, labels, parts, into="test", share=0.2, seed=seed)
    if len({name for name, part in zip(groups, parts, strict=True) if part == "train"}) > 1:
        parts = carve(groups, labels, parts, into="val", share=0.25, seed=seed + 1)
    about = ProtocolInfo(
        description=f"random split by whole {group}s (about 60/20/20, seed {seed})",
        group=group,
        shares=shares,
        chance=1 / len(set(labels)),
    )
    return RANDOM, about, [str(part) for part in parts]
