"""The cache of a data set folder's regions: where it lies, what its clips are made from."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from poselens.clips.assemble import RgbClips
from poselens.clips.cache import VERSION, FrameCache, build_cache
from poselens.clips.packed import Format, pack
from poselens.clips.stream import RgbInput
from poselens.data.folder import ClipFolder, open_folder
from poselens.errors import InputError

_REGION_FIELDS = {"crop", "margin", "square", "percentile", "scale"}


def cached_regions(
    folder: ClipFolder,
    clips: Sequence[int] | NDArray[np.int64],
    settings: RgbInput,
    form: Format,
    *,
    workers: int,
) -> FrameCache:
    """Return the cache for these settings, once it holds these clips.

    Raises:
        AnnotationError, EnvironmentFault: As ``build_cache``.
    """
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("decoding regions", total=len(clips))
        add_regions(
            folder, clips, settings, form, workers=workers, told=lambda _clip: bar.advance(task)
        )
    return FrameCache(cache_folder(folder.root, settings, form))


def add_regions(
    folder: ClipFolder,
    clips: Sequence[int] | NDArray[np.int64],
    settings: RgbInput,
    form: Format,
    *,
    workers: int,
    told: Callable[[int], None],
) -> int:
    """Decode those of the clips that the cache lacks, and return how many these were.

    Args:
        folder: The data set.
        clips: Positions in it.
        settings: From video to input; what is cut and to which size it is brought.
        form: How frames are kept.
        workers: Decoding processes; 0 decodes here.
        told: Called for each clip.

    Raises:
        AnnotationError, EnvironmentFault: As ``build_cache``.
    """
    here = RgbClips(folder, settings=settings, augment=None, seed=0)
    return build_cache(
        cache_folder(folder.root, settings, form),
        {int(clip): _stamp(folder, int(clip), settings) for clip in clips},
        # processes live as long as this build: what they have opened is as new as ``folder``
        partial(_pack_there, folder.root, settings, form)
        if workers
        else partial(_pack_clip, here, form),
        form=form,
        size=settings.scale,
        workers=workers,
        told=told,
    )


def cache_folder(root: Path, settings: RgbInput, form: Format) -> Path:
    """Return where the regions of a data set lie; other regions, sizes or forms, another folder."""
    facts = settings.model_dump(include=_REGION_FIELDS) | {"format": form, "version": VERSION}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return root / ".cache" / f"regions-{digest}"


def _stamp(folder: ClipFolder, clip: int, settings: RgbInput) -> str:
    """Return a digest of all that a clip's frames follow from, besides the cache's own settings.

    A video that was mended or replaced (another size or date), another row of clips.csv or other
    joints make the clip be decoded again; a new split or class does not.
    """
    record = folder.record(clip)
    try:
        path = folder.video_path(clip)
        facts = None if path is None else path.stat()
    except (OSError, InputError):
        facts = None
    size = facts and (facts.st_size, facts.st_mtime_ns)
    said = (record.id, record.video, record.start_s, record.end_s, size)
    digest = hashlib.sha256(repr(said).encode())
    skeleton = folder.skeleton(clip, "pixels") if settings.crop else None
    if skeleton is not None:
        digest.update(repr(skeleton.positions.shape).encode() + skeleton.positions.tobytes())
    return digest.hexdigest()[:16]


def _pack_clip(clips: RgbClips, form: Format, clip: int) -> list[bytes]:
    # packed as they come, so that a clip of many minutes is never held as pictures
    return [pack(frame, form) for frame in clips.each_frame(clip)]


_opened: dict[tuple[Path, RgbInput], RgbClips] = {}


def _pack_there(root: Path, settings: RgbInput, form: Format, clip: int) -> list[bytes]:
    """Pack one clip in a worker process, which opens the folder once."""
    clips = _opened.get((root, settings))
    if clips is None:
        clips = RgbClips(open_folder(root), settings=settings, augment=None, seed=0)
        _opened[(root, settings)] = clips
    return _pack_clip(clips, form, clip)
