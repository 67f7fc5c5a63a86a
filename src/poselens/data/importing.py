"""What every importer shares: the report of what came in, and placing videos."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from poselens.data.arrays import read_npz
from poselens.data.disk import require_free, write_flushed
from poselens.data.info import cannot_read
from poselens.data.table import ID_LIMIT
from poselens.errors import (
    AnnotationError,
    PoselensError,
    SkeletonError,
    UsageError,
    disk_fault,
)

REPORT_FILE = "import_report.json"
LENGTH_TOLERANCE = 0.02
"""Share of its frames by which the skeleton of a clip may be longer or shorter than its video."""

Link = Literal["copy", "hard", "symbolic"]
"""How a video comes into the folder: its bytes, a second name, or a pointer to it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file or row that was left out, with the reason."""

    code: str
    file: str
    message: str


@dataclass
class ImportReport:
    """What an importer did; also written to ``import_report.json`` in the data set.

    Attributes:
        imported: Clips written.
        skipped: What was left out; nothing is left out without an entry here.
        counts: What was found, by its name, where the importer counts more than clips.
        notes: Sentences on the whole: what is missing, what differs from what is published.
        details: Longer tables, for the file alone.
    """

    imported: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)

    def skip(self, code: str, file: Path | str, message: str) -> None:
        """Note one file or row that is left out."""
        self.skipped.append(Skipped(code, _printable(str(file)), _printable(message)))

    def skip_fault(self, fault: PoselensError, file: Path | str) -> None:
        """Note a file that is left out because of ``fault``."""
        self.skip(fault.code, file, fault.message)

    def as_dict(self) -> dict[str, object]:
        """Return the report for JSON: counts, counts per code, and the list."""
        return {
            "imported": self.imported,
            "skipped": len(self.skipped),
            "skipped_by_code": dict(sorted(Counter(entry.code for entry in self.skipped).items())),
            "counts": self.counts,
            "notes": self.notes,
            "details": self.details,
            "list": [asdict(entry) for entry in self.skipped],
        }

    def write(self, folder: Path) -> None:
        """Write ``import_report.json``."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
        write_flushed(folder / REPORT_FILE, text.encode())


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def require_source(src: Path, out: Path) -> None:
    """Refuse a source that is no folder, and an output that is in use or inside the source.

    Raises:
        UsageError: ``DATA-001`` source missing, ``DATA-020`` output exists or lies in the source.
    """
    if not src.is_dir():
        found = "is not a folder" if src.exists() else "does not exist"
        raise UsageError("DATA-001", f"the source {found}", file=src.absolute())
    if out.resolve().is_relative_to(src.resolve()):
        raise UsageError(
            "DATA-020", "the output lies inside the source", file=out, mend="choose another --out"
        )
    require_free(out)


def require_clips(count: int, src: Path, report: ImportReport) -> None:
    """Refuse an import that would give an empty data set.

    Raises:
        AnnotationError: ``DATA-012`` with the first reason, when nothing is left.
    """
    if count:
        return
    reason = ""
    if report.skipped:
        first = report.skipped[0]
        reason = f"; {len(report.skipped)} skipped, the first: {first.file}: {first.message}"
    raise AnnotationError(
        "DATA-012", f"nothing to import{reason}", file=src, mend="check the source folder"
    )


def require_same_length(video: int, skeleton: int) -> None:
    """Refuse a skeleton that is not as long as its video, in frames.

    Raises:
        SkeletonError: ``SKEL-009`` when they differ by more than 2 %.
    """
    if abs(video - skeleton) > LENGTH_TOLERANCE * max(video, skeleton):
        raise SkeletonError("SKEL-009", f"the video has {video} frames, the skeleton {skeleton}")


def place_videos(videos: Mapping[str, Path], staging: Path, link: Link) -> None:
    """Bring videos, by their path in the data set, into the folder being written.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    for name, origin in videos.items():
        target = staging / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if link == "hard":
                os.link(origin.resolve(), target)
            elif link == "symbolic":
                target.symlink_to(origin.resolve())
            else:
                shutil.copyfile(origin, target)
                shutil.copystat(origin, target)
                target.chmod(0o644)
        except OSError as fault:
            raise disk_fault(fault, target) from fault


def video_roots(link: Link, videos: Mapping[str, Path]) -> list[str]:
    """Return the folders that the data set's symbolic links lead to."""
    if link != "symbolic":
        return []
    return sorted({str(origin.resolve().parent) for origin in videos.values()})


def clip_id(name: str, taken: set[str]) -> str:
    """Turn a file's name into a printable id that is not in ``taken``, and add it there."""
    base = "".join(letter if letter.isprintable() else "_" for letter in name)[-(ID_LIMIT - 8) :]
    unique, count = base, 1
    while unique in taken:
        count += 1
        unique = f"{base}~{count}"
    taken.add(unique)
    return unique


def read_recordings(
    path: Path, shape: tuple[int, int], *, more: Sequence[str] = ()
) -> tuple[list[str], list[NDArray[Any]], dict[str, NDArray[Any]]]:
    """Read recordings that lie one after another in an ``.npz``: ``names``, ``lengths``, ``xyz``.

    Args:
        path: The archive.
        shape: Joints and coordinates of a row of ``xyz``.
        more: Other arrays that have to be there.

    Returns:
        The names, the rows of each recording, and all arrays.

    Raises:
        AnnotationError: ``DATA-012`` when the archive or what its arrays say cannot be used.
        SkeletonError: ``SKEL-005`` for rows of another shape.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when it cannot be read.
    """

    def refuse(text: str) -> AnnotationError:
        return AnnotationError("DATA-012", text, file=path, mend="check the source folder")

    try:
        arrays: dict[str, NDArray[Any]] = read_npz(path, refuse)
    except FileNotFoundError as fault:
        raise refuse("the file is missing") from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    for name in ("names", "lengths", "xyz", *more):
        if name not in arrays:
            raise refuse(f"array {name!r} is missing")
    names, lengths, rows = arrays["names"], arrays["lengths"], arrays["xyz"]
    if rows.ndim != 3 or rows.shape[1:] != shape or rows.dtype.kind != "f":
        expected = ", ".join(map(str, shape))
        raise SkeletonError(
            "SKEL-005",
            f"found {rows.dtype} {rows.shape}, expected (rows, {expected}) of floats",
            file=path,
        )
    if names.dtype.kind != "U" or lengths.dtype.kind not in "iu" or names.shape != lengths.shape:
        raise refuse("names and lengths do not match")
    if names.ndim != 1 or (lengths < 1).any() or int(lengths.sum()) != len(rows):
        raise refuse(f"lengths add up to {lengths.sum()}, but there are {len(rows)} rows")
    if len(np.unique(names)) != len(names):
        raise refuse("a name is there twice")
    return names.tolist(), np.split(rows, np.cumsum(lengths)[:-1]), arrays
