"""Samples: from a clip of a data set folder to the tensors of one network.

What an RGB sample looks like is a function of (seed, epoch, repeat, clip) alone, whatever the
number of worker processes. A clip that cannot be read becomes a :class:`SkippedClip`, never another
clip. Skeletons are prepared by whole batches (``resident``); here, one alone for prediction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from poselens.clips.augment import (
    View,
    apply_to_pixels,
    random_view,
    without_background,
)
from poselens.clips.cache import FrameCache
from poselens.clips.crop import Region, activity_region
from poselens.clips.disturb import Disturbance
from poselens.clips.look import view_numbers
from poselens.clips.segments import frames_to_read
from poselens.clips.stream import RgbAugment, RgbInput, SkeletonInput
from poselens.clips.stretch import find_stretch, require_whole
from poselens.clips.views import Views, one_view
from poselens.data.folder import ClipFolder
from poselens.data.video import iterate_frames, read_frames
from poselens.errors import AnnotationError, InputError, PoselensError
from poselens.pose.layouts import get_layout
from poselens.skeleton.prepare import prepare
from poselens.skeleton.streams import stream
from poselens.types import Skeleton

Key = tuple[int, int, int]
"""(epoch, repeat, clip position): with the seed, all that a sample depends on."""


@dataclass(frozen=True)
class Sample:
    """One clip as the network wants it.

    Attributes:
        inputs: Tensors without the batch axis.
        label: Class index after mirroring, -1 unknown.
        clip: Position in the data set.
        id: Clip id.
        look: The views in which the regions in ``inputs`` are to be seen (``look.view_numbers``);
            None where ``inputs`` are what the network sees.
    """

    inputs: tuple[Tensor, ...]
    label: int
    clip: int
    id: str
    look: Tensor | None = None


@dataclass(frozen=True)
class SkippedClip:
    """A clip left out, and why.

    Attributes:
        id: Clip id.
        reason: Code and text of the error.
    """

    id: str
    reason: str


Item = Sample | SkippedClip | PoselensError
"""What comes of a key. An error is handed on as it is: torch cannot raise it across processes."""


@dataclass(frozen=True)
class VideoSource:
    """A stretch of a video, and the region of it to look at.

    Attributes:
        path: The video.
        first_frame: Where the clip starts.
        frames: Frames of the clip that are there.
        region: Box and reason of Eq. (1)-(2).
        promised: Frames it would have if the file were whole.
        frame_size: Height and width of a frame, in pixels.
    """

    path: Path
    first_frame: int
    frames: int
    region: Region
    promised: int
    frame_size: tuple[int, int]


def video_source(
    path: Path,
    skeleton: Skeleton | None,
    settings: RgbInput,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
) -> VideoSource:
    """Find out which frames a clip has and which region its people move in.

    Raises:
        VideoError: As ``poselens.data.video``.
        AnnotationError: ``DATA-025`` when start and end lie outside the video.
    """
    found = find_stretch(path, start_s=start_s, end_s=end_s)
    size = (found.facts.height, found.facts.width)
    if skeleton is None or not settings.crop:
        joints = np.full((1, 1, 1, 2), np.nan, np.float32)
    else:
        joints = skeleton.positions[..., :2]
    region = activity_region(
        joints,
        frame_size=size,
        margin=settings.margin,
        square=settings.square,
        percentile=settings.percentile,
    )
    return VideoSource(path, found.first, found.frames, region, found.promised, size)


def read_video(
    source: VideoSource, settings: RgbInput, wanted: NDArray[np.int64]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Decode the wanted frames of a clip, cut to its region and resized to ``scale``.

    Raises:
        VideoError: As ``poselens.data.video``; ``VID-019`` when too few of the clip's frames can be
            decoded. A few that are missing at its end are copies of the last one.
    """
    frames = read_frames(
        source.path,
        (wanted + source.first_frame).tolist(),
        box=source.region.box,
        size=(settings.scale, settings.scale),
    )
    if frames.short:
        require_whole(source.path, frames.decoded - source.first_frame, source.frames)
    return frames.pixels


def rgb_input(
    pixels: UInt8[np.ndarray, "n h w 3"], settings: RgbInput, view: View
) -> UInt8[Tensor, "t 3 size size"]:
    """Turn decoded frames, all snippets one after another, into the network's input.

    The frames of a ``mean`` snippet are averaged; those of a ``difference-stem`` stay in order, for
    the network to take their differences.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    cut = apply_to_pixels(tensor, view, size=settings.size)
    if settings.snippet == "mean":
        per = len(cut) // settings.segments
        snippets = cut.float().view(settings.segments, per, *cut.shape[1:])
        cut = snippets.mean(1).round().to(torch.uint8)
    return without_background(cut) if settings.background == "subtract" else cut


def rgb_views(
    pixels: UInt8[np.ndarray, "n h w 3"], settings: RgbInput, crops: Sequence[View]
) -> UInt8[Tensor, "*views t 3 size size"]:
    """Return every crop at every offset; the axis of the views is there from two views on."""
    offsets = pixels.reshape(-1, settings.frames_read, *pixels.shape[1:])
    seen = [rgb_input(part, settings, crop) for crop in crops for part in offsets]
    return torch.stack(seen) if len(seen) > 1 else seen[0]


def choose_frames(
    frames: int, settings: RgbInput, rng: np.random.Generator | None, *, offsets: bool = False
) -> NDArray[np.int64]:
    """Return the frames to decode for one clip, snippets one after another.

    With ``offsets``, first the first frame of every snippet, then the second of every one, to the
    last.
    """
    read = frames_to_read(
        frames,
        segments=settings.segments,
        length=settings.snippet_length,
        snippet="mean" if offsets else settings.snippet,
        rng=rng,
    )
    return (read.T if offsets else read).reshape(-1)


def skeleton_input(skeleton: Skeleton, settings: SkeletonInput) -> Float[Tensor, "c t v m"]:
    """Turn one skeleton into the graph network's input, without any variation."""
    layout = get_layout(skeleton.layout)
    joints = prepare(skeleton.positions, layout=layout, **settings.arguments())
    pairs = settings.pairs_of(layout)
    return stream(torch.from_numpy(joints)[None], settings.stream, layout, custom=pairs)[0]


def mirrored_label(folder: ClipFolder, label: int) -> int | None:
    """Return the class of a clip after mirroring, or None where it may not be mirrored."""
    mirror = folder.info.mirror
    if mirror == "same":
        return label
    if mirror == "none":
        return None
    other = mirror.get(folder.info.classes[label])
    return None if other is None else folder.info.classes.index(other)


class RgbClips(Dataset[Item]):
    """RGB samples of a data set folder.

    Args:
        folder: The data set.
        settings: From video to input.
        augment: Training augmentation, or None at test.
        seed: Seed of augmentation and snippets.
        cache: Regions decoded before, or None to decode each time.
        whole: Return whole regions and how to look at them, for ``batches.to_device`` to do on a
            GPU; else what the network sees.
        views: Views of each clip at test; None for one.
        disturb: What goes wrong with each clip before it is prepared, at test and without a cache.
    """

    def __init__(
        self,
        folder: ClipFolder,
        *,
        settings: RgbInput,
        augment: RgbAugment | None,
        seed: int,
        cache: FrameCache | None = None,
        whole: bool = False,
        views: Views | None = None,
        disturb: Disturbance | None = None,
    ) -> None:
        self._folder = folder
        self._disturb = disturb
        self._views = views or one_view(settings)
        self._whole = whole
        self._settings = settings
        self._augment = augment
        self._seed = seed
        self._cache = cache
        self._source = lru_cache(maxsize=4096)(self._find_source)

    def __getstate__(self) -> dict[str, Any]:
        # a wrapped method travels to a worker process as the bare function
        return {name: value for name, value in self.__dict__.items() if name != "_source"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._source = lru_cache(maxsize=4096)(self._find_source)

    def __getitem__(self, key: Key) -> Item:
        clip = key[2]
        identity = str(self._folder.ids[clip])
        if self._cache is not None and clip in self._cache.skipped:
            return SkippedClip(identity, self._cache.skipped[clip])
        try:
            return self._sample(key, identity)
        except InputError as fault:
            return SkippedClip(identity, f"{fault.code} {fault}")
        except PoselensError as fault:
            return fault

    def _sample(self, key: Key, identity: str) -> Sample:
        clip, label = key[2], int(self._folder.labels[key[2]])
        rng, crops, offsets = None, self._views.crops, self._views.offsets
        if self._augment is not None:
            rng = np.random.default_rng((self._seed, *key))
            other = mirrored_label(self._folder, label) if label >= 0 else None
            view = random_view(
                rng,
                scales=self._augment.scales,
                flip=0.0 if other is None else self._augment.flip,
                brightness=self._augment.brightness,
                colour=self._augment.colour,
            )
            label = other if view.flipped and other is not None else label
            crops, offsets = (view,), False
        if self._cache is not None:
            frames = self._cache.frames(clip)
            wanted = choose_frames(frames, self._settings, rng, offsets=offsets)
            pixels = self._cache.read(clip, wanted)
        else:
            source = self._source(clip)
            wanted = choose_frames(source.frames, self._settings, rng, offsets=offsets)
            pixels = self._seen(source, wanted, identity)
        if self._whole:
            regions = torch.from_numpy(np.ascontiguousarray(pixels))
            numbers = view_numbers(crops, scale=self._settings.scale)
            return Sample((regions,), label, clip, identity, numbers)
        return Sample((rgb_views(pixels, self._settings, crops),), label, clip, identity)

    def _seen(
        self, source: VideoSource, wanted: NDArray[np.int64], identity: str
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Decode the wanted frames, as the camera shows them."""
        if self._disturb is None:
            return read_video(source, self._settings, wanted)
        seen = self._disturb.frames(wanted)
        when = seen / max(source.frames - 1, 1)
        pixels = read_video(source, self._settings, seen)
        return self._disturb.pictures(pixels, when, identity)

    def each_frame(self, clip: int) -> Iterator[NDArray[np.uint8]]:
        """Decode a clip's region frame by frame, for the cache; a file cut short ends in copies."""
        source, shown = self._source(clip), 0
        size = (self._settings.scale, self._settings.scale)
        for frame in iterate_frames(
            source.path,
            first_frame=source.first_frame,
            frames=source.frames,
            box=source.region.box,
            size=size,
        ):
            shown += 1
            yield frame
        require_whole(source.path, shown, source.frames)
        if shown < source.frames:
            last = read_video(source, self._settings, np.array([source.frames - 1]))[0]
            yield from (last for _ in range(source.frames - shown))

    def identity(self, clip: int) -> str:
        """Return the id of a clip."""
        return str(self._folder.ids[clip])

    def region(self, clip: int) -> Region:
        """Return the region of a clip."""
        return self._source(clip).region

    def _find_source(self, clip: int) -> VideoSource:
        record = self._folder.record(clip)
        path = self._folder.video_path(clip)
        if path is None:
            raise AnnotationError("DATA-026", "the clip has no video", where=record.id)
        skeleton = self._folder.skeleton(clip, "pixels")
        if self._disturb is not None and skeleton is not None:
            skeleton = self._disturb.joints(skeleton, record.id)
        source = video_source(
            path, skeleton, self._settings, start_s=record.start_s, end_s=record.end_s
        )
        require_whole(path, source.frames, source.promised)
        if self._disturb is not None:
            region = self._disturb.region(source.region, source.frame_size, record.id)
            source = replace(source, region=region)
        return source
