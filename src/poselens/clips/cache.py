"""Regions decoded once: every clip's activity region as small frames in one memory-mapped file.

Small data sets are read dozens of times. Decoding them once to the size the network's crops are cut
from turns each later read into a copy of a few kilobytes.
"""

import fcntl
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from poselens.checkpoint import write_bytes
from poselens.errors import AnnotationError, EnvironmentFault, InputError, disk_fault

FRAMES_FILE = "frames.u8"
INDEX_FILE = "index.json"
LOCK_FILE = ".lock"
_AHEAD = 4
"""Clips each decoding process may be ahead of the writer; a long clip is tens of megabytes."""

Decode = Callable[[int], UInt8[np.ndarray, "t h w 3"]]
"""Decodes the clip at one position of the data set."""


class FrameCache:
    """Reads cached frames by clip position. Pickling keeps the path alone.

    Args:
        folder: Where :func:`build_cache` put them.

    Raises:
        AnnotationError: ``DATA-027`` when the cache is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
            spans = {int(clip): (first, count) for clip, (first, count) in index["spans"].items()}
            self.skipped = {int(clip): text for clip, text in index["skipped"].items()}
            shape = (int(index["rows"]), index["size"], index["size"], 3)
            self._frames: NDArray[np.uint8] = (
                np.memmap(folder / FRAMES_FILE, np.uint8, "r", shape=shape)
                if shape[0]
                else np.empty(shape, np.uint8)
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise AnnotationError(
                "DATA-027",
                "the decoded regions are damaged",
                file=folder,
                mend="remove this folder; it is made anew",
            ) from fault
        self._spans = spans

    def __reduce__(self) -> tuple[object, ...]:
        return (FrameCache, (self._folder,))

    def __contains__(self, clip: int) -> bool:
        return clip in self._spans

    def frames(self, clip: int) -> int:
        """Return how many frames are kept of a clip."""
        return int(self._spans[clip][1])

    def read(
        self, clip: int, wanted: Sequence[int] | NDArray[np.int64]
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Return the wanted frames of a clip."""
        first, _ = self._spans[clip]
        return np.asarray(self._frames[first + np.asarray(wanted)])


def cache_folder(root: Path, facts: dict[str, object]) -> Path:
    """Return where a cache made from ``facts`` lies; other facts, another folder."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return root / ".cache" / f"regions-{digest}"


def build_cache(
    folder: Path,
    clips: Iterable[int],
    decode: Decode,
    *,
    size: int,
    workers: int,
    told: Callable[[int], None],
) -> None:
    """Decode every clip and write the cache; unreadable clips are left out and named in its index.

    A second process that wants the same cache waits for the first.

    Args:
        folder: Made anew; an existing complete one is kept.
        clips: Positions in the data set.
        decode: Picklable function from position to frames of ``size`` x ``size``.
        size: Side of the cached frames in pixels.
        workers: Decoding processes; 0 decodes here.
        told: Called after each clip.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when it cannot be written, ``ENV-011`` when a
            decoding process was killed.
    """
    if (folder / INDEX_FILE).exists():
        return
    wanted = [int(clip) for clip in clips]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / LOCK_FILE):
            if not (folder / INDEX_FILE).exists():
                _write(folder, _decoded(wanted, decode, workers), size, told)
    except OSError as fault:
        raise EnvironmentFault(
            disk_fault(fault, folder).code,
            f"cannot keep decoded regions beside the data: {fault.strerror}",
            file=folder,
            mend="make room or the folder writable, or use --set training.cache=none",
        ) from fault
    except BrokenProcessPool as fault:
        raise EnvironmentFault(
            "ENV-011",
            "a decoding process was killed, likely because memory ran out",
            mend="use --set training.workers=1",
        ) from fault


def _write(
    folder: Path,
    decoded: Iterable[tuple[int, NDArray[np.uint8] | InputError]],
    size: int,
    told: Callable[[int], None],
) -> None:
    spans: dict[int, tuple[int, int]] = {}
    skipped: dict[int, str] = {}
    total = 0
    partial = folder / f"{FRAMES_FILE}.partial"
    try:
        with partial.open("wb") as file:
            for clip, frames in decoded:
                if isinstance(frames, InputError):
                    skipped[clip] = f"{frames.code} {frames}"
                else:
                    file.write(np.ascontiguousarray(frames).tobytes())
                    spans[clip] = (total, len(frames))
                    total += len(frames)
                told(clip)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, folder / FRAMES_FILE)
    finally:
        partial.unlink(missing_ok=True)
    content = {"rows": total, "size": size, "spans": spans, "skipped": skipped}
    write_bytes(folder / INDEX_FILE, json.dumps(content).encode())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Guarded:
    """Returns the fault instead of raising it, so that one bad clip does not end the pool."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def __call__(self, clip: int) -> NDArray[np.uint8] | InputError:
        try:
            return self._decode(clip)
        except InputError as fault:
            return fault


def _decoded(
    clips: Sequence[int], decode: Decode, workers: int
) -> Iterator[tuple[int, NDArray[np.uint8] | InputError]]:
    guarded = _Guarded(decode)
    if workers == 0:
        yield from ((clip, guarded(clip)) for clip in clips)
        return
    # forkserver: a fork of a process that holds torch's threads can hang
    pool = ProcessPoolExecutor(workers, mp_context=get_context("forkserver"))
    try:
        pending: deque[tuple[int, Future[NDArray[np.uint8] | InputError]]] = deque()
        for clip in clips:
            pending.append((clip, pool.submit(guarded, clip)))
            if len(pending) >= _AHEAD * workers:
                done, future = pending.popleft()
                yield done, future.result()
        yield from ((clip, future.result()) for clip, future in pending)
    finally:
        pool.shutdown(cancel_futures=True)
