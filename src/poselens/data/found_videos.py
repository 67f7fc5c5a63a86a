"""Videos that lie somewhere below a folder: found by name, and looked at in child processes."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from poselens.data.children import Limits, in_children
from poselens.data.class_folders import SUFFIXES
from poselens.data.importing import ImportReport
from poselens.data.table import leaves_folder
from poselens.errors import AnnotationError, PoselensError, UsageError

_LIMITS = Limits(seconds=60.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a video is like.

    Attributes:
        width: Columns of the upright picture.
        height: Rows of the upright picture.
        frames: Frames, None where they were not counted.
        fps: Mean frame rate, 0 where unknown.
        duration_s: Promised duration, None where the container does not say.
    """

    width: int
    height: int
    frames: int | None
    fps: float
    duration_s: float | None


class FoundVideos:
    """Every video below a folder, by its name without suffix.

    Args:
        folder: Where to look, sub-folders included; links to folders are not followed.
        report: Takes what cannot be listed.
        ending: What a name may end with beside the clip's id, such as ``_rgb``.

    Raises:
        UsageError: ``DATA-001`` when it is no folder.
    """

    def __init__(self, folder: Path, report: ImportReport, *, ending: str = "") -> None:
        if not folder.is_dir():
            raise UsageError(
                "DATA-001", "the folder of videos does not exist", file=folder.absolute(),
                mend="check --videos",
            )  # fmt: skip
        self.folder = folder
        self._by_path: dict[str, list[Path]] = {}
        self._by_name: dict[str, list[Path]] = {}

        def unreadable(fault: OSError) -> None:
            report.skip("ENV-004", str(fault.filename), f"cannot read: {fault.strerror}")

        for place, folders, files in os.walk(folder, onerror=unreadable):
            folders.sort()
            for name in sorted(files):
                path = Path(place, name)
                if path.suffix.lower() in SUFFIXES and _usable(path.relative_to(folder)):
                    stem = path.stem.removesuffix(ending)
                    inside = path.relative_to(folder).parent / stem
                    self._by_path.setdefault(inside.as_posix(), []).append(path)
                    self._by_name.setdefault(stem, []).append(path)

    def place(self, path: Path) -> str:
        """Return where a video of the folder goes in the data set."""
        return f"videos/{path.relative_to(self.folder).as_posix()}"

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def find(self, name: str) -> Path | None:
        """Return the video of a name, which may be a path below the folder; None without one.

        Raises:
            AnnotationError: ``PKL-010`` when several videos have the name.
        """
        known = Path(name)
        stem = name if known.suffix.lower() not in SUFFIXES else known.with_suffix("").as_posix()
        found = self._by_path.get(stem) or self._by_name.get(stem.rsplit("/", 1)[-1]) or []
        if len(found) > 1:
            places = " and ".join(str(path.relative_to(self.folder)) for path in found[:2])
            raise AnnotationError(
                "PKL-010",
                f"clip {name!r} has {len(found)} videos: {places}",
                file=self.folder,
                mend="leave one of them there",
            )
        return found[0] if found else None


def _usable(inside: Path) -> bool:
    text = inside.as_posix()
    hidden = any(part.startswith(".") for part in inside.parts)
    printed = text == text.encode(errors="replace").decode()
    return printed and not hidden and not leaves_folder(text)


def look_at(
    paths: Iterable[Path], *, count: bool, workers: int | None = None
) -> Mapping[Path, Seen | PoselensError]:
    """Look at videos in child processes, each once.

    Args:
        paths: The videos.
        count: Whether to count the frames, for which the whole file is read.
        workers: Child processes; None for one a core.

    Returns:
        What each is like, or the error that says why it cannot be used.
    """
    work = _counted if count else _probed
    found: dict[Path, Seen | PoselensError] = {}
    files: list[Path] = []
    for path in dict.fromkeys(paths):
        if os.path.isfile(path):
            files.append(path)
            continue
        # nothing that is no file is opened, and no child is started for a list of missing ones
        try:
            found[path] = work(path)
        except PoselensError as fault:
            found[path] = fault
    found.update(in_children(work, files, file_of=Path, workers=workers, limits=_LIMITS))
    return found


def _probed(path: Path) -> Seen:
    # video reading loads FFmpeg; opening a finished data set does not need it
    from poselens.data.video import probe

    seen = probe(path)
    return Seen(seen.width, seen.height, None, seen.fps, seen.duration_s)


def _counted(path: Path) -> Seen:
    from poselens.data.video import count_frames, probe

    seen = probe(path)
    return Seen(seen.width, seen.height, count_frames(path), seen.fps, seen.duration_s)
