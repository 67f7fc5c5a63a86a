"""What earlier checks of a data set found out, a line a clip; and the columns of all clips."""

import base64
import fcntl
import hashlib
import json
import os
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from poselens.data.duplicates import BANDS, Likeness, likeness_from
from poselens.data.inspect import VERSION, ClipTask, FileTask, Inspected
from poselens.errors import UsageError

_HEAD = '{"key":"'
_SUM = '","sum":"'
_KEY_DIGITS, _SUM_DIGITS = 16, 8
_SUM_AT = len(_HEAD) + _KEY_DIGITS + len(_SUM)


class Ledger:
    """A file of one JSON line per clip or pair of clips that was looked at.

    Lines are flushed as they are written, so that a check that was killed goes on; a line that
    was cut short is left out. Only numbers are held: of each line its key and place.

    Args:
        path: The file; where it cannot be written, lines are kept for this run alone.
        fresh: Whether to begin anew.

    Attributes:
        kept: Whether lines outlive this run.

    Raises:
        UsageError: ``CHK-029`` when another check has the file open.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.kept = True
        self._file: IO[bytes]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError:
            # a data set that may not be written to can be checked all the same
            self.kept = False
            self._file = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - lives as long as this
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            self._file.close()
            raise UsageError(
                "CHK-029", "another check of this data set is running", file=path,
                mend="wait until it is done",
            ) from fault  # fmt: skip
        if fresh:
            self._file.truncate(0)
        self._places = self._scan()

    def _scan(self) -> dict[int, int]:
        places: dict[int, int] = {}
        self._file.seek(0)
        place = 0
        for line in self._file:
            if not line.endswith(b"}\n"):
                # cut short by a kill; what follows begins on a line of its own
                self._file.truncate(place)
                break
            key = _key_of(line)
            if key is not None:
                places[key] = place
            place += len(line)
        self._end = place
        return places

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def place(self, key: int) -> int:
        """Return where the line of a key begins."""
        return self._places[key]

    def read(self, place: int) -> dict[str, Any]:
        """Return the content of a line; nothing where it is damaged."""
        self._file.seek(place)
        line = self._file.readline()
        if line[_SUM_AT : _SUM_AT + _SUM_DIGITS] != _checksum(line[_SUM_AT + _SUM_DIGITS :]):
            return {}
        content: dict[str, Any] = json.loads(line)
        return content

    def add(self, key: int, content: dict[str, Any]) -> int:
        """Write a line and return where it begins."""
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
        rest = f'",{text[1:]}\n'.encode()
        line = _beginning(key) + _checksum(rest) + rest
        self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        place, self._end = self._end, self._end + len(line)
        self._places[key] = place
        return place

    def close(self) -> None:
        """Close the file and let others in."""
        self._file.close()


def _key_of(line: bytes) -> int | None:
    """Return the key of a line, None where its beginning is not as it was written."""
    try:
        key = int(line[len(_HEAD) : len(_HEAD) + _KEY_DIGITS], 16)
    except ValueError:
        return None
    return key if line.startswith(_beginning(key)) else None


def _beginning(key: int) -> bytes:
    return f"{_HEAD}{key:0{_KEY_DIGITS}x}{_SUM}".encode()


def _checksum(content: bytes) -> bytes:
    return f"{zlib.crc32(content):0{_SUM_DIGITS}x}".encode()


def clip_key(task: FileTask, clip: ClipTask) -> int:
    """Return a number that changes with whatever the facts of a clip follow from.

    Size and date of the video, the span in it, place and date of its joints, and the version of
    what is looked at.
    """
    said: list[object] = [VERSION, task.quick, clip.start_s, clip.end_s]
    if task.video is not None:
        said += [str(task.video), *_stamp(task.video)]
    for place in (clip.pixels, clip.metres):
        if place is not None:
            said += [str(place.path), place.start, place.shape, *_stamp(place.path)]
    return _number(said)


def pair_key(first: int, second: int) -> int:
    """Return the key of two clips that were compared, from the keys of both."""
    return _number(["pair", *sorted((first, second))])


def _number(said: list[object]) -> int:
    text = repr(said).encode(errors="backslashreplace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_KEY_DIGITS // 2).digest())


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


_VIDEO = ("decoded", "promised", "damaged", "fps", "uneven", "rotation", "height", "width", "sizes")
_JOINTS = (
    "frames", "people", "coverage", "missing", "outside", "frozen", "stuck", "collapsed", "size",
    "motion", "lowest", "highest",
)  # fmt: skip
COLUMNS = (
    *(f"video_{name}" for name in _VIDEO),
    "frames",
    "motion",
    *(f"{space}_{name}" for space in ("pixels", "metres") for name in _JOINTS),
)


class Columns:
    """The facts of all clips as arrays; NaN where a clip has no such fact.

    Attributes:
        numbers: ``(clips,)`` float32 by name, see ``COLUMNS``.
        fault: Number of the clip's fault in ``codes``, -1 without one.
        codes: Codes of faults that occurred.
        content: First 64 bits of the hash of the clip's content, 0 where not known.
        bands: Keys of ``duplicates.band_keys``.
        comparable: Whether ``bands`` are known.
        key: Key of the clip's line, 0 where there is none.
        place: Where its line begins in the ledger, -1 where there is none.
    """

    def __init__(self, clips: int) -> None:
        self.numbers = {name: np.full(clips, np.nan, np.float32) for name in COLUMNS}
        self.fault = np.full(clips, -1, np.int16)
        self.codes: list[str] = []
        self.content = np.zeros(clips, np.uint64)
        self.bands = np.zeros((clips, BANDS), np.uint32)
        self.comparable = np.zeros(clips, np.bool_)
        self.key = np.zeros(clips, np.uint64)
        self.place = np.full(clips, -1, np.int64)

    def __len__(self) -> int:
        return len(self.fault)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.numbers[name]

    def take(self, clip: int, line: dict[str, Any], key: int, place: int) -> None:
        """Take the facts of one clip from its line."""
        self.key[clip], self.place[clip] = key, place
        for prefix, facts in (("video", line["video"]), *line["joints"].items()):
            for name, value in (facts or {}).items():
                self.numbers[f"{prefix}_{name}"][clip] = value
        if line["video"]:
            self.numbers["frames"][clip] = line["frames"]
            self.numbers["motion"][clip] = line["motion"]
        if line["fault"]:
            self._take_fault(clip, line["fault"]["code"])
        if line["content"]:
            self.content[clip] = int(line["content"][:16], 16)
        if line["bands"]:
            self.bands[clip] = np.frombuffer(base64.b64decode(line["bands"]), "<u4")
            self.comparable[clip] = True

    def _take_fault(self, clip: int, code: str) -> None:
        if code not in self.codes:
            self.codes.append(code)
        self.fault[clip] = self.codes.index(code)


def as_line(clip_id: str, found: Inspected) -> dict[str, Any]:
    """Return the facts of one clip for the ledger."""
    return {
        "clip": clip_id,
        "video": None if found.video is None else asdict(found.video),
        "frames": found.frames,
        "joints": {space: facts.as_dict() for space, facts in found.joints.items()},
        "content": found.content,
        "motion": found.motion,
        "moves": "" if found.likeness is None else found.likeness.to_text(),
        "bands": "" if found.bands is None else _as_text(found.bands),
        "fault": found.fault.as_dict() if found.fault else None,
    }


def _as_text(bands: NDArray[np.uint32]) -> str:
    return base64.b64encode(bands.astype("<u4").tobytes()).decode()


def likeness_at(ledger: Ledger, place: int) -> Likeness:
    """Return the likeness that a line keeps."""
    return likeness_from(ledger.read(place)["moves"])
