"""Regions decoded once: every clip's activity region as small frames in one memory-mapped file.

Small data sets are read dozens of times. Decoding them once to the size the network's crops are cut
from turns each later read into a copy of a few kilobytes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from poselens.errors import InputError

FRAMES_FILE = "frames.u8"
INDEX_FILE = "index.json"

Decode = Callable[[int], UInt8[np.ndarray, "t h w 3"]]
"""Decodes the clip at one position of the data set."""


class FrameCache:
    """Reads cached frames by clip position.

    Args:
        folder: Where :func:`build_cache` put them.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        self._spans = {int(clip): (first, count) for clip, (first, count) in index["spans"].items()}
        self.skipped = {int(clip): text for clip, text in index["skipped"].items()}
        shape = (int(index["rows"]), index["size"], index["size"], 3)
        self._frames: NDArray[np.uint8] = np.memmap(
            folder / FRAMES_FILE, np.uint8, "r", shape=shape
        )

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
        return np.asarray(self._frames[first + wanted])


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

    Args:
        folder: Made anew; an existing complete one is kept.
        clips: Positions in the data set.
        decode: Picklable function from position to frames of ``size`` x ``size``.
        size: Side of the cached frames in pixels.
        workers: Decoding processes; 0 decodes here.
        told: Called after each clip.
    """
    if (folder / INDEX_FILE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    spans: dict[int, tuple[int, int]] = {}
    skipped: dict[int, str] = {}
    total = 0
    raw = folder / f"{FRAMES_FILE}.partial"
    wanted = [int(clip) for clip in clips]
    with raw.open("wb") as file:
        for clip, frames in _decoded(wanted, decode, workers):
            if isinstance(frames, InputError):
                skipped[clip] = f"{frames.code} {frames}"
            else:
                file.write(np.ascontiguousarray(frames).tobytes())
                spans[clip] = (total, len(frames))
                total += len(frames)
            told(clip)
        file.flush()
        os.fsync(file.fileno())
    os.replace(raw, folder / FRAMES_FILE)
    content = json.dumps({"rows": total, "size": size, "spans": spans, "skipped": skipped})
    partial = folder / f"{INDEX_FILE}.partial"
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, folder / INDEX_FILE)


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
) -> Iterable[tuple[int, NDArray[np.uint8] | InputError]]:
    guarded = _Guarded(decode)
    if workers == 0:
        yield from ((clip, guarded(clip)) for clip in clips)
        return
    # forkserver: a fork of a process that holds torch's threads can hang
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        yield from zip(clips, pool.map(guarded, clips, chunksize=4), strict=True)
