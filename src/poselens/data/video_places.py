"""Where a video lies that an annotation file names.

Annotation files keep the path of the machine they were made on. Only its last parts mean something
here: a video is looked for under the folder that is given, or beside the annotation file.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from poselens.data.annotated import AnnotatedClip
from poselens.data.class_folders import SUFFIXES
from poselens.data.importing import ImportReport, clip_id
from poselens.data.info import ClipRecord
from poselens.data.table import ID_LIMIT, span_fault

FOLDER_LIMIT = 200_000
_DRIVE = re.compile(r"(?:file:/*)?(?:[A-Za-z]:)?")


class VideoPlaces:
    """The videos below one folder, by name.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = {}
        count = 0
        for folder, folders, files in os.walk(root):
            folders.sort()
            count += len(files)
            if count > FOLDER_LIMIT:
                break
            for name in sorted(files):
                if name.lower().endswith(SUFFIXES):
                    self._by_name.setdefault(name, []).append(Path(folder, name))

    def of(self, named: str) -> Path | None:
        """Return the video that a path or URL of another machine means.

        Of several with its name, the one that shares the most folders with it; None where that is
        not one, or there is none.
        """
        text = unquote(named) if named.startswith("file:") else named
        parts = _DRIVE.sub("", text.replace("\\", "/"), count=1).split("/")
        found = self._by_name.get(parts[-1], [])
        shared = {path: _same_end(path.parts, parts) for path in found}
        most = max(shared.values(), default=0)
        best = [path for path, count in shared.items() if count == most]
        return best[0] if len(best) == 1 else None


def _same_end(one: Iterable[str], other: Iterable[str]) -> int:
    count = 0
    for here, there in zip(reversed(list(one)), reversed(list(other)), strict=False):
        if here != there:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Stretch:
    """One annotation that is to become a clip.

    Attributes:
        file: The annotation file.
        place: Where the annotation stands in it.
        named: The video as the file names it.
        label: Class.
        start: Seconds in the video.
        end: Seconds in the video.
        subject: Who acts; empty where unknown.
    """

    file: Path
    place: str
    named: str
    label: str
    start: float
    end: float
    subject: str = ""


def clips_of(
    stretches: Iterable[Stretch], places: VideoPlaces, report: ImportReport
) -> list[AnnotatedClip]:
    """Return the clips of annotations; what cannot be one is left out, with a reason."""
    clips = []
    taken: set[str] = set()
    for one in stretches:
        where = f"{one.file}:{one.place}"
        video = places.of(one.named)
        if video is None:
            report.skip("DATA-048", where, f"no video {one.named!r}, or several, in {places.root}")
            continue
        relative = video.relative_to(places.root).as_posix()
        fault = _text_fault(one.label) or span_fault(one.start, one.end)
        if fault:
            report.skip("DATA-005", where, fault)
            continue
        if relative != _printable(relative) or "\\" in relative or ":" in relative:
            fault = "the video's name is not UTF-8, or has a backslash or colon; rename it"
            report.skip("DATA-021", where, fault)
            continue
        name = f"{Path(relative).with_suffix('').as_posix()}@{one.start:.3f}"
        record = ClipRecord(
            id=clip_id(name, taken),
            video=f"videos/{relative}",
            subject=one.subject,
            source=relative,
            start_s=round(one.start, 6),
            end_s=round(one.end, 6),
        )
        clips.append(AnnotatedClip(record, one.label, one.place, video))
    return clips


def _text_fault(label: str) -> str | None:
    if not label:
        return "an annotation without text"
    if len(label) > ID_LIMIT or "\0" in label or label != _printable(label):
        return f"a text of {len(label)} characters, or not Unicode, that names no class"
    return None


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
