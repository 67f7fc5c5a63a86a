"""Regions decoded once: every clip's activity region as small frames in one file.

A data set is read dozens of times. Decoding it once to the size the network's crops are cut from
turns each later read into a few small reads at known places.

A cache only grows. ``frames.bin`` holds frames one after another, ``frames.table`` a row of place
and length for each, ``clips.jsonl`` a line for each clip. A line is written after what it speaks of
has reached the disk, and what no line speaks of is cut off by the next writer: a build that was
killed goes on where it was, and a cache of some clips takes more of them later.
"""

import fcntl
import json
import os
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any, cast, get_args

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from poselens.checkpoint import write_json
from poselens.clips.packed import Format, unpack
from poselens.data.children import live_with_the_parent
from poselens.errors import AnnotationError, EnvironmentFault, InputError, disk_fault

FRAMES_FILE = "frames.bin"
TABLE_FILE = "frames.table"
LEDGER_FILE = "clips.jsonl"
ABOUT_FILE = "about.json"
LOCK_FILE = ".lock"
VERSION = 1

_ROW = np.dtype([("place", "<u8"), ("length", "<u4"), ("sum", "<u4")])
_AHEAD = 4
"""Clips each decoding process may be ahead of the writer."""
_COMMIT_S = 5.0
"""Seconds between two commits: what a killed build does again."""

Encode = Callable[[int], list[bytes]]
"""Returns the kept frames of the clip at one position of the data set."""


@dataclass(frozen=True)
class Entry:
    """A line of the ledger.

    Attributes:
        stamp: What the clip was made from, as its maker describes it.
        first: Row of its first frame.
        frames: Number of frames.
        size: Bytes of all its frames.
        skipped: Why it is left out, None where it is not.
    """

    stamp: str
    first: int = 0
    frames: int = 0
    size: int = 0
    skipped: str | None = None


@dataclass(frozen=True)
class Ledger:
    """What a cache holds.

    Attributes:
        entries: The latest line of every clip.
        rows: Frames that lines speak of.
        size: Bytes of these frames.
        length: Bytes of the ledger up to the end of its last whole line.
    """

    entries: dict[int, Entry]
    rows: int
    size: int
    length: int


def read_ledger(folder: Path) -> Ledger:
    """Read which clips a cache holds; a folder without one holds none.

    Raises:
        AnnotationError: ``DATA-027`` when a line is damaged or speaks of more than is there.
    """
    try:
        content = (folder / LEDGER_FILE).read_bytes()
    except FileNotFoundError:
        return Ledger({}, 0, 0, 0)
    # a line that was cut short by a crash is as if it had not been begun
    content = content[: content.rfind(b"\n") + 1]
    entries: dict[int, Entry] = {}
    rows = size = 0
    try:
        for line in content.splitlines():
            said = json.loads(line)
            clip, stamp = int(said["clip"]), str(said["stamp"])
            if "skipped" in said:
                entries[clip] = Entry(stamp, skipped=str(said["skipped"]))
                continue
            entry = Entry(stamp, rows, int(said["frames"]), int(said["bytes"]))
            entries[clip] = entry
            rows, size = rows + entry.frames, size + entry.size
        lacking = [
            name
            for name, length in ((FRAMES_FILE, size), (TABLE_FILE, rows * _ROW.itemsize))
            if length and (folder / name).stat().st_size < length
        ]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise _damaged(folder) from fault
    if lacking:
        raise _damaged(folder, where=f"{lacking[0]} is cut short")
    return Ledger(entries, rows, size, len(content))


def _damaged(folder: Path, *, where: str | None = None) -> AnnotationError:
    return AnnotationError(
        "DATA-027",
        "the decoded regions are damaged",
        file=folder,
        where=where,
        mend="remove this folder; it is made anew",
    )


class FrameCache:
    """Reads cached frames by clip position. Pickling keeps the path alone.

    What it holds is known when it is opened; clips added later are not seen.

    Args:
        folder: Where :func:`build_cache` put them.

    Raises:
        AnnotationError: ``DATA-027`` when the cache is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ledger = read_ledger(folder)
        try:
            about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
            self._side, form = int(about["size"]), about["format"]
            if form not in get_args(Format):
                raise ValueError(form)
            self._form = cast(Format, form)
            self._table: NDArray[Any] = (
                np.memmap(folder / TABLE_FILE, _ROW, "r", shape=(ledger.rows,))
                if ledger.rows
                else np.empty(0, _ROW)
            )
            self._descriptor = os.open(folder / FRAMES_FILE, os.O_RDONLY)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise _damaged(folder) from fault
        weakref.finalize(self, os.close, self._descriptor)
        # arrays, not a dictionary: to read one of its objects is to write its count of references,
        # which copies the page it lies on into every data process
        self._first = np.zeros(max(ledger.entries, default=-1) + 1, np.int64)
        self._count = np.zeros_like(self._first)
        self.skipped: dict[int, str] = {}
        for clip, entry in ledger.entries.items():
            self._first[clip], self._count[clip] = entry.first, entry.frames
            if entry.skipped is not None:
                self.skipped[clip] = entry.skipped

    def __reduce__(self) -> tuple[object, ...]:
        return (FrameCache, (self._folder,))

    def __contains__(self, clip: int) -> bool:
        return clip < len(self._count) and bool(self._count[clip])

    def frames(self, clip: int) -> int:
        """Return how many frames are kept of a clip."""
        return int(self._count[clip])

    def read(
        self, clip: int, wanted: Sequence[int] | NDArray[np.int64]
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Return the wanted frames of a clip.

        Raises:
            AnnotationError: ``DATA-027`` naming the clip when one of them is damaged.
        """
        frames = np.empty((len(wanted), self._side, self._side, 3), np.uint8)
        rows = self._table[self._first[clip] + np.asarray(wanted)]
        for row, frame in zip(rows, frames, strict=True):
            kept = os.pread(self._descriptor, int(row["length"]), int(row["place"]))
            try:
                if self._form == "packed" and zlib.crc32(kept) != row["sum"]:
                    raise ValueError("the checksum differs")
                unpack(kept, self._form, frame)
            except ValueError as fault:
                raise _damaged(self._folder, where=f"clip {clip}") from fault
        return frames


def build_cache(
    folder: Path,
    wanted: Mapping[int, str],
    encode: Encode,
    *,
    form: Format,
    size: int,
    workers: int,
    told: Callable[[int], None],
) -> int:
    """Decode the wanted clips that the cache lacks and add them to it, each once.

    Unreadable clips are left out and named. A second process that wants the same cache waits for
    the first. What is added is the same bytes for any number of workers.

    Args:
        folder: Made where it is missing.
        wanted: Position of each clip in the data set, and what it is made from. A clip of another
            stamp is decoded again.
        encode: Picklable function from position to kept frames of ``size`` x ``size``.
        form: How frames are kept.
        size: Side of the cached frames in pixels.
        workers: Decoding processes; 0 decodes here.
        told: Called for each wanted clip, as soon as it is there.

    Returns:
        How many clips were added.

    Raises:
        AnnotationError: ``DATA-027`` when what is there already is damaged.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when it cannot be written, ``ENV-011`` when a
            decoding process was killed.
    """
    if (folder / ABOUT_FILE).exists() and not _lacking(read_ledger(folder), wanted):
        return 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / LOCK_FILE):
            ledger = read_ledger(folder)
            lacking = _lacking(ledger, wanted)
            if not (folder / ABOUT_FILE).exists():
                write_json(folder / ABOUT_FILE, {"version": VERSION, "format": form, "size": size})
            for clip in wanted.keys() - set(lacking):
                told(clip)
            with _Writer(folder, ledger) as writer:
                for clip, kept in _encoded(lacking, encode, workers):
                    writer.add(clip, wanted[clip], kept)
                    told(clip)
            return len(lacking)
    except OSError as fault:
        raise EnvironmentFault(
            disk_fault(fault, folder).code,
            f"cannot keep decoded regions beside the data: {fault.strerror}",
            file=folder,
            mend="make room or the folder writable and start again, which goes on from here, "
            "or use --set training.cache=none",
        ) from fault
    except BrokenProcessPool as fault:
        raise EnvironmentFault(
            "ENV-011",
            "a decoding process was killed, likely because memory ran out",
            mend="use --set training.workers=1",
        ) from fault


def _lacking(ledger: Ledger, wanted: Mapping[int, str]) -> list[int]:
    entries = ledger.entries
    return [
        clip
        for clip, stamp in wanted.items()
        if clip not in entries or entries[clip].stamp != stamp
    ]


class _Writer:
    """Adds clips; used as a context, which commits what is whole however it is left."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._files = {
            name: (folder / name).open("ab", buffering=0)
            for name in (FRAMES_FILE, TABLE_FILE, LEDGER_FILE)
        }
        lengths = (ledger.size, ledger.rows * _ROW.itemsize, ledger.length)
        for file, length in zip(self._files.values(), lengths, strict=True):
            file.truncate(length)
        self._place = ledger.size
        self._lines = b""
        self._committed = monotonic()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        try:
            # the fault that is under way says more than the same one met again here
            with suppress(OSError) if kind else nullcontext():
                self._commit()
        finally:
            for file in self._files.values():
                file.close()

    def add(self, clip: int, stamp: str, kept: list[bytes] | InputError) -> None:
        """Write one clip's frames, or why there are none."""
        if isinstance(kept, InputError):
            said: dict[str, object] = {"skipped": f"{kept.code} {kept}"}
        else:
            rows = np.empty(len(kept), _ROW)
            rows["length"] = [len(frame) for frame in kept]
            rows["sum"] = [zlib.crc32(frame) for frame in kept]
            total = int(rows["length"].sum())
            rows["place"] = self._place + np.cumsum(rows["length"], dtype=np.uint64)
            rows["place"] -= rows["length"]
            self._write(FRAMES_FILE, b"".join(kept))
            self._write(TABLE_FILE, rows.tobytes())
            self._place += total
            said = {"frames": len(kept), "bytes": total}
        line = json.dumps({"clip": clip, "stamp": stamp, **said}, ensure_ascii=False)
        self._lines += f"{line}\n".encode()
        if monotonic() - self._committed > _COMMIT_S:
            self._commit()

    def _commit(self) -> None:
        for name in (FRAMES_FILE, TABLE_FILE):
            os.fsync(self._files[name].fileno())
        self._write(LEDGER_FILE, self._lines)
        os.fsync(self._files[LEDGER_FILE].fileno())
        self._lines = b""
        self._committed = monotonic()

    def _write(self, name: str, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[self._files[name].write(view) :]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Guarded:
    """Returns the fault instead of raising it, so that one bad clip does not end the pool."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def __call__(self, clip: int) -> list[bytes] | InputError:
        try:
            return self._encode(clip)
        except InputError as fault:
            return fault


def _encoded(
    clips: Sequence[int], encode: Encode, workers: int
) -> Iterator[tuple[int, list[bytes] | InputError]]:
    guarded = _Guarded(encode)
    if workers == 0 or not clips:
        yield from ((clip, guarded(clip)) for clip in clips)
        return
    # forkserver: a fork of a process that holds torch's threads can hang
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("forkserver"), initializer=live_with_the_parent
    )
    try:
        pending: deque[tuple[int, Future[list[bytes] | InputError]]] = deque()
        for clip in clips:
            pending.append((clip, pool.submit(guarded, clip)))
            if len(pending) >= _AHEAD * workers:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
