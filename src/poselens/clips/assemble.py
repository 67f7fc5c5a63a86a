"""Samples and batches: from a clip of a data set folder to tensors on a device.

What a sample looks like is a function of (seed, epoch, repeat, clip) alone, whatever the number of
worker processes. A clip that cannot be read becomes a :class:`SkippedClip`, never another clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from poselens.clips.augment import View, apply_to_pixels, centre_view, random_view
from poselens.clips.cache import FrameCache
from poselens.clips.crop import Region, activity_region
from poselens.clips.segments import frames_to_read
from poselens.clips.stream import RgbAugment, RgbInput, SkeletonAugment, SkeletonInput
from poselens.data.folder import ClipFolder
from poselens.data.video import count_frames, probe, read_frames
from poselens.errors import AnnotationError, InputError, SkeletonError
from poselens.pose.layouts import get_layout
from poselens.skeleton.prepare import prepare
from poselens.skeleton.streams import stream
from poselens.types import Skeleton

Key = tuple[int, int, int]
"""(epoch, repeat, clip position): with the seed, all that a sample depends on."""

# mean and standard deviation of ImageNet's red, green and blue, in units of 255
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 255
_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) * 255


@dataclass(frozen=True)
class Sample:
    """One clip as the network wants it.

    Attributes:
        inputs: Tensors without the batch axis.
        label: Class index after mirroring, -1 unknown.
        clip: Position in the data set.
        id: Clip id.
    """

    inputs: tuple[Tensor, ...]
    label: int
    clip: int
    id: str


@dataclass(frozen=True)
class SkippedClip:
    """A clip left out, and why.

    Attributes:
        id: Clip id.
        reason: Code and text of the error.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class VideoSource:
    """A stretch of a video, and the region of it to look at.

    Attributes:
        path: The video.
        first_frame: Where the clip starts.
        frames: Frames in the clip.
        region: Box and reason of Eq. (1)-(2).
        promised: Frames the container claims for the whole file, None where it does not say.
    """

    path: Path
    first_frame: int
    frames: int
    region: Region
    promised: int | None = None


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
        AnnotationError: ``DATA-030`` when start and end lie outside the video.
    """
    facts = probe(path)
    total = count_frames(path)
    first = 0 if start_s is None else round(start_s * facts.fps)
    last = total if end_s is None else min(round(end_s * facts.fps), total)
    if last <= first:
        raise AnnotationError(
            "DATA-030",
            f"the clip covers frames {first} to {last} of {total}",
            file=path,
            mend="correct start_s and end_s in clips.csv",
        )
    size = (facts.height, facts.width)
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
    promised = facts.frames if start_s is None and end_s is None else None
    return VideoSource(path, first, last - first, region, promised)


def read_video(
    source: VideoSource, settings: RgbInput, wanted: Sequence[int] | NDArray[np.int64]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Decode the wanted frames of a clip, cut to its region and resized to ``scale``."""
    frames = read_frames(
        source.path,
        [int(frame) for frame in wanted],
        first_frame=source.first_frame,
        box=source.region.box,
        size=(settings.scale, settings.scale),
    )
    return frames.pixels


def rgb_input(
    pixels: UInt8[np.ndarray, "n h w 3"], settings: RgbInput, view: View
) -> UInt8[Tensor, "t 3 size size"]:
    """Turn decoded frames, all snippets one after another, into the network's input."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    cut = apply_to_pixels(tensor, view, size=settings.size)
    per = len(cut) // settings.segments
    if per == 1:
        return cut
    snippets = cut.float().view(settings.segments, per, *cut.shape[1:])
    return snippets.mean(1).round().to(torch.uint8)


def choose_frames(
    frames: int, settings: RgbInput, rng: np.random.Generator | None
) -> NDArray[np.int64]:
    """Return the frames to decode for one clip, snippets one after another."""
    return frames_to_read(
        frames,
        segments=settings.segments,
        length=settings.snippet_length,
        snippet=settings.snippet,
        rng=rng,
    ).reshape(-1)


def skeleton_input(
    skeleton: Skeleton,
    settings: SkeletonInput,
    augment: SkeletonAugment | None,
    rng: np.random.Generator | None,
    *,
    mirrored: bool = False,
) -> Float[Tensor, "c t v m"]:
    """Turn a skeleton into the graph network's input."""
    layout = get_layout(skeleton.layout)
    arguments = settings.arguments() | ({} if augment is None else augment.arguments())
    joints = prepare(skeleton.positions, layout=layout, rng=rng, mirrored=mirrored, **arguments)
    return stream(torch.from_numpy(joints)[None], settings.stream, layout)[0]


def mirrored_label(folder: ClipFolder, label: int) -> int | None:
    """Return the class of a clip after mirroring, or None where it may not be mirrored."""
    mirror = folder.info.mirror
    if mirror == "same":
        return label
    if mirror == "none":
        return None
    other = mirror.get(folder.info.classes[label])
    return None if other is None else folder.info.classes.index(other)


class RgbClips(Dataset[Sample | SkippedClip]):
    """RGB samples of a data set folder.

    Args:
        folder: The data set.
        settings: From video to input.
        augment: Training augmentation, or None at test.
        seed: Seed of augmentation and snippets.
        cache: Regions decoded before, or None to decode each time.
    """

    def __init__(
        self,
        folder: ClipFolder,
        *,
        settings: RgbInput,
        augment: RgbAugment | None,
        seed: int,
        cache: FrameCache | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._augment = augment
        self._seed = seed
        self._cache = cache
        self._source = lru_cache(maxsize=4096)(self._find_source)

    def __getitem__(self, key: Key) -> Sample | SkippedClip:
        clip = key[2]
        identity = str(self._folder.ids[clip])
        try:
            return self._sample(key, identity)
        except InputError as fault:
            return SkippedClip(identity, f"{fault.code} {fault}")

    def _sample(self, key: Key, identity: str) -> Sample:
        clip, label = key[2], int(self._folder.labels[key[2]])
        rng, view = None, centre_view(scale=self._settings.scale, size=self._settings.size)
        if self._augment is not None:
            rng = np.random.default_rng((self._seed, *key))
            other = mirrored_label(self._folder, label) if label >= 0 else None
            view = random_view(
                rng,
                scale=self._settings.scale,
                size=self._settings.size,
                scales=self._augment.scales,
                flip=0.0 if other is None else self._augment.flip,
                brightness=self._augment.brightness,
            )
            label = other if view.flipped and other is not None else label
        if self._cache is not None:
            if clip not in self._cache:
                reason = self._cache.skipped.get(clip, "not in the cache")
                raise AnnotationError("DATA-031", reason)
            wanted = choose_frames(self._cache.frames(clip), self._settings, rng)
            pixels = self._cache.read(clip, wanted)
        else:
            source = self._source(clip)
            wanted = choose_frames(source.frames, self._settings, rng)
            pixels = read_video(source, self._settings, wanted)
        return Sample((rgb_input(pixels, self._settings, view),), label, clip, identity)

    def decode(self, clip: int) -> NDArray[np.uint8]:
        """Decode every frame of a clip's region, for the cache."""
        source = self._source(clip)
        return read_video(source, self._settings, np.arange(source.frames))

    def region(self, clip: int) -> Region:
        """Return the region of a clip."""
        return self._source(clip).region

    def _find_source(self, clip: int) -> VideoSource:
        record = self._folder.record(clip)
        path = self._folder.video_path(clip)
        if path is None:
            raise AnnotationError("DATA-032", "the clip has no video", where=record.id)
        return video_source(
            path,
            self._folder.skeleton(clip, "pixels"),
            self._settings,
            start_s=record.start_s,
            end_s=record.end_s,
        )


class SkeletonClips(Dataset[Sample | SkippedClip]):
    """Skeleton samples of a data set folder.

    Args:
        folder: The data set.
        settings: From joints to input.
        augment: Training augmentation, or None at test.
        seed: Seed of augmentation.
    """

    def __init__(
        self,
        folder: ClipFolder,
        *,
        settings: SkeletonInput,
        augment: SkeletonAugment | None,
        seed: int,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._augment = augment
        self._seed = seed

    def __getitem__(self, key: Key) -> Sample | SkippedClip:
        clip = key[2]
        identity = str(self._folder.ids[clip])
        label = int(self._folder.labels[clip])
        mirrored, rng = False, None
        if self._augment is not None:
            rng = np.random.default_rng((self._seed, *key))
            other = mirrored_label(self._folder, label) if label >= 0 else None
            mirrored = other is not None and bool(rng.random() < self._augment.flip)
            label = other if mirrored and other is not None else label
        try:
            skeleton = self._folder.skeleton(clip, self._settings.space)
            if skeleton is None:
                raise SkeletonError("SKEL-011", "the clip has no skeleton", where=identity)
            inputs = skeleton_input(skeleton, self._settings, self._augment, rng, mirrored=mirrored)
        except InputError as fault:
            return SkippedClip(identity, f"{fault.code} {fault}")
        return Sample((inputs,), label, clip, identity)


def collate(samples: Sequence[Sample | SkippedClip]) -> dict[str, Any]:
    """Stack samples to a batch; skipped clips go beside it."""
    good = [sample for sample in samples if isinstance(sample, Sample)]
    inputs = tuple(torch.stack(tensors) for tensors in zip(*(s.inputs for s in good), strict=True))
    return {
        "inputs": inputs,
        "label": torch.tensor([s.label for s in good], dtype=torch.int64),
        "index": torch.tensor([s.clip for s in good], dtype=torch.int64),
        "id": [s.id for s in good],
        "skipped": [sample for sample in samples if isinstance(sample, SkippedClip)],
    }


class EpochBatches:
    """Yields the keys of each batch that remains at a position of training.

    Args:
        clips: Positions in the data set.
        batch_size: Keys per batch; the last batch of an epoch may be smaller.
        seed: Seed of the order.
        repeats: How often each clip occurs in an epoch.
        shuffle: Off for evaluation.
    """

    def __init__(
        self,
        clips: Sequence[int] | NDArray[np.int64],
        *,
        batch_size: int,
        seed: int = 0,
        repeats: int = 1,
        shuffle: bool = True,
    ) -> None:
        self._keys = [(r, int(clip)) for r in range(repeats) for clip in clips]
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self.epoch = 0
        self.first_step = 0

    def __len__(self) -> int:
        return -(-len(self._keys) // self._batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.arange(len(self._keys))
        if self._shuffle:
            np.random.default_rng((self._seed, self.epoch)).shuffle(order)
        for step in range(self.first_step, len(self)):
            chosen = order[step * self._batch_size : (step + 1) * self._batch_size]
            yield [(self.epoch, *self._keys[position]) for position in chosen]


def make_loader(
    clips: RgbClips | SkeletonClips, batches: EpochBatches, *, workers: int
) -> DataLoader[Sample | SkippedClip]:
    """Return a loader whose workers live as long as it does."""
    return DataLoader(
        clips,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Move a batch; pictures in uint8 become floats of zero mean and unit deviation there."""
    inputs = []
    for tensor in batch["inputs"]:
        moved = tensor.to(device, non_blocking=True)
        if moved.dtype == torch.uint8:
            moved = (moved.float() - _MEAN.to(device)) / _DEVIATION.to(device)
        inputs.append(moved)
    label = batch["label"].to(device, non_blocking=True)
    return {**batch, "inputs": tuple(inputs), "label": label}
