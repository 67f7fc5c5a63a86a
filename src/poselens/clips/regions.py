"""The cache of a data set folder's regions, built on first use with progress."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from poselens.clips.assemble import RgbClips
from poselens.clips.cache import FrameCache, build_cache, cache_folder
from poselens.clips.stream import RgbInput
from poselens.data.folder import ClipFolder, open_folder
from poselens.errors import InputError

_REGION_FIELDS = {"crop", "margin", "square", "percentile", "scale"}


def cached_regions(
    folder: ClipFolder,
    clips: Sequence[int] | NDArray[np.int64],
    settings: RgbInput,
    *,
    workers: int,
) -> FrameCache:
    """Return the cache for these clips and settings, and build it where it does not exist yet."""
    facts: dict[str, object] = {
        "fingerprint": folder.fingerprint(),
        "clips": [int(clip) for clip in clips],
        "videos": _stamp(folder, clips),
        **settings.model_dump(include=_REGION_FIELDS),
    }
    target = cache_folder(folder.root, facts)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("decoding regions", total=len(clips))
        build_cache(
            target,
            clips,
            partial(_decode, folder.root, settings),
            size=settings.scale,
            workers=workers,
            told=lambda _clip: bar.advance(task),
        )
    return FrameCache(target)


def _stamp(folder: ClipFolder, clips: Sequence[int] | NDArray[np.int64]) -> str:
    """Return a digest of the videos' sizes and dates: the fingerprint says nothing of the videos.

    A video that was mended or replaced makes another cache.
    """
    digest = hashlib.sha256()
    for clip in clips:
        try:
            path = folder.video_path(int(clip))
            facts = None if path is None else path.stat()
        except (OSError, InputError):
            facts = None
        digest.update(f"{facts and (facts.st_size, facts.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


_opened: dict[tuple[Path, RgbInput], RgbClips] = {}


def _decode(root: Path, settings: RgbInput, clip: int) -> NDArray[np.uint8]:
    """Decode one clip in a worker process, which opens the folder once."""
    clips = _opened.get((root, settings))
    if clips is None:
        clips = RgbClips(open_folder(root), settings=settings, augment=None, seed=0)
        _opened[(root, settings)] = clips
    return clips.decode(clip)
