"""What is kept while joints are estimated, so that whatever is killed can go on.

::

    OUT.pose/                        beside the data set that is to be made
    |-- about.json                   source and settings; another run with others is refused
    |-- ledger-1-of-4.jsonl          a line for each clip that is finished, by each shard
    `-- parts/00012/00012345.npz     the joints of each clip, written beside and renamed

A clip's joints are on the disk before its line is written, and only a line counts. A clip that was
at work when everything was killed has no line and is done again; its part is replaced. So each clip
is in the output once, whole.
"""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.checkpoint import make_folder, write_json
from poselens.data.arrays import read_npz
from poselens.errors import AnnotationError, UsageError, disk_fault
from poselens.recognition.pose_clip import NUMBERS, part_path

POSED, FAILED = 1, 2
COUNTS = ("frames", "people", "found", "tries")
_ABOUT = "about.json"
_LEDGER = re.compile(r"ledger-([0-9]{1,6})-of-([0-9]{1,6})\.jsonl")


@dataclass(frozen=True)
class Shard:
    """Every ``of``-th clip, beginning with number ``number`` (from 1)."""

    number: int = 1
    of: int = 1

    def clips(self, count: int) -> Int[np.ndarray, " n"]:
        """Return the clips of this shard; neighbours fall into different ones."""
        return np.arange(self.number - 1, count, self.of)


def read_shard(text: str) -> Shard:
    """Read ``2/8``.

    Raises:
        UsageError: ``POSE-010`` for anything else.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return Shard(int(found[1]), int(found[2]))
    raise UsageError("POSE-010", f"found shard {text!r}, expected I/N with I from 1 to N")


@dataclass(frozen=True, eq=False)
class Standing:
    """What the ledgers say about every clip, in arrays.

    Attributes:
        status: 0 unknown, ``POSED`` or ``FAILED``.
        stamps: ``(2, n)`` size and time of change (ns) of each clip's video when it was read.
        numbers: ``quality``, ``confidence``, ``coverage``, ``jitter`` of each clip.
        counts: ``frames``, ``people`` kept and ``found``, ``tries``.
        failures: Code and message of the clips that failed.
    """

    status: NDArray[np.int8]
    stamps: NDArray[np.int64]
    numbers: dict[str, Float[np.ndarray, " n"]]
    counts: dict[str, Int[np.ndarray, " n"]]
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)


class Workplace:
    """The folder beside ``out`` in which a run keeps what it has.

    Args:
        out: The data set or folder that is to be made.
        about: Source and settings, to be the same whenever work goes on.

    Raises:
        UsageError: ``POSE-011`` when the folder belongs to a run with other settings.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """

    def __init__(self, out: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder_of(out)
        make_folder(self.folder)
        written = self.folder / _ABOUT
        if written.exists():
            require_same(_read_object(written), about, self.folder)
        else:
            write_json(written, about)

    def lock(self, shard: Shard) -> "Ledger":
        """Open the ledger of a shard for writing.

        Raises:
            UsageError: ``POSE-012`` when another process works on this shard or on the whole; for
                the whole (1 of 1), when one works on any.
        """
        for other, path in self._ledgers():
            if other != shard and Shard() in (shard, other):
                Ledger(path).close()
        return Ledger(self.folder / f"ledger-{shard.number}-of-{shard.of}.jsonl")

    def _ledgers(self) -> list[tuple[Shard, Path]]:
        found = [(_LEDGER.fullmatch(path.name), path) for path in sorted(self.folder.iterdir())]
        return [(Shard(int(name[1]), int(name[2])), path) for name, path in found if name]

    def shards(self) -> list[Shard]:
        """Return the shards that have begun."""
        return [shard for shard, _ in self._ledgers()]

    def standing(self, count: int) -> Standing:
        """Read every ledger; of several lines about a clip the latest counts.

        A last line that was cut off, and any that is no record, leaves its clip unknown.
        """
        standing = Standing(
            status=np.zeros(count, np.int8),
            stamps=np.zeros((2, count), np.int64),
            numbers={name: np.full(count, np.nan, np.float32) for name in NUMBERS},
            counts={name: np.zeros(count, np.int64) for name in COUNTS},
        )
        times = np.full(count, -np.inf)
        for _, path in self._ledgers():
            for record in _records(path):
                clip = record["clip"]
                if clip < count and record["time"] >= times[clip]:
                    times[clip] = record["time"]
                    _take(standing, clip, record)
        return standing

    def remove(self) -> None:
        """Remove all of it; what it held is in the output."""
        shutil.rmtree(self.folder, ignore_errors=True)


def folder_of(out: Path) -> Path:
    """Return where work towards ``out`` is kept."""
    return out.parent / f"{out.name}.pose"


def require_same(written: Mapping[str, Any], about: Mapping[str, Any], place: Path) -> None:
    """Refuse to go on with another source or other settings.

    Raises:
        UsageError: ``POSE-011`` naming what differs.
    """
    as_read = json.loads(json.dumps(about))
    differing = [name for name in as_read if written.get(name) != as_read[name]]
    if differing:
        name = differing[0]
        raise UsageError(
            "POSE-011",
            f"begun with {name} {written.get(name)!r}, now {as_read[name]!r}"
            + (f" ({', '.join(differing[1:])} differ as well)" if differing[1:] else ""),
            file=place,
            mend="give the same options as before, or another --out",
        )


class Ledger:
    """A file of records that only grows, locked while it is open.

    Raises:
        UsageError: ``POSE-012`` when another process has it.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            os.close(self._file)
            raise UsageError(
                "POSE-012",
                "another process works on this shard",
                file=path,
                mend="wait for it, or give another --shard",
            ) from fault
        except OSError as fault:
            raise disk_fault(fault, path) from fault
        self._drop_cut_line()

    def _drop_cut_line(self) -> None:
        """Take off a last line that a killed process did not finish."""
        end = os.lseek(self._file, 0, os.SEEK_END)
        tail = os.pread(self._file, min(end, 1 << 16), max(end - (1 << 16), 0))
        os.ftruncate(self._file, end - (len(tail) - (tail.rfind(b"\n") + 1)))
        os.lseek(self._file, 0, os.SEEK_END)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line, in one piece."""
        line = json.dumps({**record, "time": time.time()}, ensure_ascii=False) + "\n"
        try:
            os.write(self._file, line.encode(errors="backslashreplace"))
        except OSError as fault:
            raise disk_fault(fault, self._path) from fault

    def close(self) -> None:
        """Give the file to others."""
        os.close(self._file)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_part(
    work: Path, clip: int
) -> tuple[Float[np.ndarray, "m t v 2"], Float[np.ndarray, "m t v"]]:
    """Read what ``write_part`` wrote.

    Raises:
        AnnotationError: ``POSE-013`` when it is missing or damaged.
    """
    path = part_path(work, clip)

    def refuse(text: str) -> AnnotationError:
        return AnnotationError(
            "POSE-013",
            f"the ledger says that this clip is done, but its joints: {text}",
            file=path,
            mend=f"remove {work} and start again",
        )

    try:
        arrays = read_npz(path, refuse)
    except OSError as fault:
        raise refuse(fault.strerror or "cannot be read") from fault
    if not {"pixels", "scores"} <= arrays.keys() or arrays["pixels"].ndim != 4:
        raise refuse("hold other arrays")
    return arrays["pixels"], arrays["scores"]


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict) and _is_record(record):
                yield record


def _is_record(record: Mapping[str, Any]) -> bool:
    whole = ("clip", "size", "mtime_ns", *COUNTS)
    return (
        all(type(record.get(name)) is int and record[name] >= 0 for name in whole)
        and type(record.get("time")) is float
        and record.get("status") in ("posed", "failed")
        and all(isinstance(record.get(name), int | float | None) for name in NUMBERS)
    )


def _take(standing: Standing, clip: int, record: Mapping[str, Any]) -> None:
    posed = record["status"] == "posed"
    standing.status[clip] = POSED if posed else FAILED
    standing.stamps[:, clip] = record["size"], record["mtime_ns"]
    for name in NUMBERS:
        value = record[name]
        standing.numbers[name][clip] = np.nan if value is None else value
    for name in COUNTS:
        standing.counts[name][clip] = record[name]
    standing.failures.pop(clip, None)
    if not posed:
        standing.failures[clip] = (str(record.get("code")), str(record.get("message")))
