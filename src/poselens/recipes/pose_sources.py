"""What joints are estimated of: the clips of a data set, or plain videos."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from poselens.data.class_folders import SUFFIXES
from poselens.data.folder import ClipFolder, open_folder
from poselens.data.importing import clip_id
from poselens.data.info import INFO_FILE
from poselens.data.table import CLIPS_FILE
from poselens.errors import UsageError
from poselens.recognition.pose_clip import PoseItem


class PoseSource(Protocol):
    """Clips by number."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def __len__(self) -> int: ...

    def item(self, clip: int) -> PoseItem | None:
        """Return a clip, None for one without a video."""
        ...

    def digest(self) -> str:
        """Return what changes when a clip is added, removed or becomes another one."""
        ...


class DataSetClips:
    """The clips of a data set folder."""

    def __init__(self, folder: ClipFolder) -> None:
        self.folder = folder
        self.name = folder.info.name

    def __len__(self) -> int:
        return len(self.folder)

    def item(self, clip: int) -> PoseItem | None:
        """Return a clip, None for one without a video.

        Raises:
            AnnotationError: ``DATA-009`` for a video that is a link out of the data set.
        """
        path = self.folder.video_path(clip)
        if path is None:
            return None
        record = self.folder.record(clip)
        return PoseItem(clip, record.id, path.absolute(), record.start_s, record.end_s)

    def digest(self) -> str:
        """Return the SHA-256 of clips.csv."""
        with (self.folder.root / CLIPS_FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class Videos:
    """Videos that belong to no data set, each a clip; see ``find_videos``."""

    def __init__(self, files: list[Path], ids: list[str], name: str) -> None:
        self.files = files
        self.ids = ids
        self.name = name

    def __len__(self) -> int:
        return len(self.files)

    def item(self, clip: int) -> PoseItem | None:
        """Return a video."""
        return PoseItem(clip, self.ids[clip], self.files[clip].absolute())

    def digest(self) -> str:
        """Return the SHA-256 of the videos' names and ids, in order."""
        listed = [[str(file), one] for file, one in zip(self.files, self.ids, strict=True)]
        return hashlib.sha256(json.dumps(listed).encode(errors="backslashreplace")).hexdigest()


def open_source(paths: Iterable[Path]) -> DataSetClips | Videos:
    """Take one data set folder, or videos and folders of videos.

    Raises:
        UsageError: ``POSE-014`` for no path or video, or a data set among other paths;
            ``DATA-001`` for a path that is not there.
        AnnotationError: As ``open_folder``.
    """
    given = list(paths)
    sets = [path for path in given if (path / INFO_FILE).is_file()]
    if not given or (sets and len(given) > 1):
        found = "nothing" if not given else f"a data set ({sets[0]}) among {len(given)} paths"
        raise UsageError("POSE-014", f"found {found}, expected one data set folder, or videos")
    return DataSetClips(open_folder(sets[0])) if sets else find_videos(given)


def find_videos(paths: list[Path]) -> Videos:
    """Collect videos; those below folders by their suffix, in the order of their names.

    A video's id is its path without suffix: below its folder, or its name alone.

    Raises:
        UsageError: ``DATA-001`` for a path that is not there, ``POSE-014`` when no video is in
            any folder.
    """
    files: list[Path] = []
    ids: list[str] = []
    taken: set[str] = set()
    for path in paths:
        if not path.exists():
            raise UsageError("DATA-001", "there is nothing here", file=path)
        found = [(path, Path(path.name))] if path.is_file() else _below(path)
        for file, relative in found:
            files.append(file)
            ids.append(clip_id(relative.with_suffix("").as_posix(), taken))
    if not files:
        raise UsageError(
            "POSE-014",
            f"found no video (known: {' '.join(SUFFIXES)})",
            file=paths[0],
            mend="give a data set folder, a folder of videos, or videos",
        )
    name = paths[0].resolve().name if len(paths) == 1 else f"{len(files)} videos"
    return Videos(files, ids, name)


def _below(root: Path) -> list[tuple[Path, Path]]:
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                found.append((path, path.relative_to(root)))
    return found
