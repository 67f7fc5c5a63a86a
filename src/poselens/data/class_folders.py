"""Importer for a folder of videos with one sub-folder per class."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from poselens.data.importing import (
    ImportReport,
    Link,
    clip_id,
    place_videos,
    require_clips,
    require_source,
    video_roots,
)
from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo
from poselens.data.splits import at_random
from poselens.data.writer import FolderWriter
from poselens.errors import PoselensError

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg")
PROTOCOL = "random"


def import_class_folders(
    src: Path, out: Path, *, link: Link = "copy", seed: int = 0
) -> ImportReport:
    """Import ``CLASS/.../video.mp4``; the first folder below ``src`` is the class.

    Each video is taken as its own source and its subject is unknown. Protocol ``random``: 60 % of
    each class train, 20 % validation, 20 % test, in an order hashed from ``seed`` and the ids. No
    clip is mirrored; set ``mirror`` in dataset.yaml where mirroring keeps the class.

    Raises:
        UsageError: ``DATA-001``, ``DATA-020``, see ``require_source``.
        AnnotationError: ``DATA-012`` when nothing is left to import.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    require_source(src, out)
    report = ImportReport()
    found = _find_videos(src, report)
    require_clips(len(found), src, report)
    classes = sorted({name for _, name, _ in found})
    records = [replace(record, label=classes.index(name)) for record, name, _ in found]
    parts = at_random(
        [record.id for record in records], [record.label for record in records], seed=seed
    )
    videos = {record.video or "": origin for record, _, origin in found}
    info = DatasetInfo(
        name=src.resolve().name or "videos",
        classes=classes,
        protocols={
            PROTOCOL: ProtocolInfo(
                description=f"random split by clip (60/20/20 of each class, seed {seed}): people "
                "and recordings may be in train and test, so results on new people will be lower",
                group="id",
                chance=1 / len(classes),
            )
        },
        mirror="none",
        source=f"folder of videos, one sub-folder per class ({src.resolve().name})",
        video_roots=video_roots(link, videos),
    )
    with FolderWriter(out, info) as writer:
        for record, part in zip(records, parts, strict=True):
            writer.add(record, {PROTOCOL: part}, {})
        place_videos(videos, writer.staging, link)
        report.imported = len(records)
        report.write(writer.staging)
    return report


def _find_videos(src: Path, report: ImportReport) -> list[tuple[ClipRecord, str, Path]]:
    # imported here: it takes the suffixes from this module
    from poselens.data.found_videos import look_at

    paths: list[Path] = []
    for path in _walk(src, report):
        reason = _unusable(path.relative_to(src))
        if reason:
            report.skip("DATA-021", path, reason)
        else:
            paths.append(path)
    found: list[tuple[ClipRecord, str, Path]] = []
    taken: set[str] = set()
    looks = look_at(paths, count=False)
    for path in paths:
        relative, seen = path.relative_to(src), looks[path]
        if isinstance(seen, PoselensError):
            report.skip_fault(seen, path)
            continue
        name = clip_id(relative.with_suffix("").as_posix(), taken)
        record = ClipRecord(
            id=name,
            video=f"videos/{relative.as_posix()}",
            source=name,
            width=seen.width,
            height=seen.height,
        )
        found.append((record, relative.parts[0].strip(), path))
    return found


def _unusable(relative: Path) -> str | None:
    text = str(relative)
    if relative.suffix.lower() not in SUFFIXES:
        return f"not a video by its name (known: {' '.join(SUFFIXES)})"
    if any(part.startswith(".") for part in relative.parts):
        return "hidden"
    if len(relative.parts) == 1:
        return "not in the folder of a class"
    if text != text.encode(errors="replace").decode() or "\\" in text or ":" in text:
        return "the name is not UTF-8, or has a backslash or colon; rename it"
    if not relative.parts[0].strip():
        return "the class's name is blank"
    return None


def _walk(src: Path, report: ImportReport) -> Iterator[Path]:
    def unreadable(fault: OSError) -> None:
        report.skip("ENV-004", str(fault.filename), f"cannot read: {fault.strerror}")

    for folder, folders, files in os.walk(src, onerror=unreadable):
        folders.sort()
        for name in folders:
            inside = Path(folder) / name
            if inside.is_symlink():
                report.skip("DATA-021", inside, "a link to a folder is not followed")
            elif Path(folder) == src and not any(inside.iterdir()):
                report.skip("DATA-012", inside, "the class has no files")
        for name in sorted(files):
            yield Path(folder) / name
