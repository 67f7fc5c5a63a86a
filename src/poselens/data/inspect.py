"""Facts of the clips of one video file, or of joints alone: what ``poselens data check`` sees.

Runs in a child process (``data/children``). A video is decoded once, whatever the number of clips
in it, and held frame by frame.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.data.duplicates import (
    COPY,
    COPY_JOINTS,
    FINE_SIDE,
    PEOPLE_COMPARED,
    SIDE,
    Likeness,
    Timeline,
    band_keys,
    frame_distance,
    joint_distance,
    joint_likeness,
    video_likeness,
)
from poselens.data.joint_facts import JointFacts, joint_facts
from poselens.data.store import JointPlace
from poselens.errors import AnnotationError, PoselensError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

VERSION = 1
"""Raised when facts mean something else than before, so that kept ones are not taken for new."""

FRAMES_COMPARED = 4096
"""Frames of a clip that are compared with another clip's one by one."""

_UNEVEN, _LEAST_UNEVEN_S = 0.2, 0.0015


@dataclass(frozen=True)
class ClipTask:
    """One clip to look at.

    Attributes:
        clip: Position in the data set.
        start_s: First moment in the video, None for the beginning.
        end_s: Last moment in the video, None for the end.
        pixels: Where its joints in pixels lie.
        metres: Where its joints in metres lie.
    """

    clip: int
    start_s: float | None = None
    end_s: float | None = None
    pixels: JointPlace | None = None
    metres: JointPlace | None = None


@dataclass(frozen=True)
class FileTask:
    """A video and its clips; or one clip of joints alone.

    Attributes:
        video: The file, None for joints alone.
        clips: Clips cut from it.
        quick: Whether to count frames without decoding them.
    """

    video: Path | None
    clips: tuple[ClipTask, ...]
    quick: bool = False


@dataclass(frozen=True)
class VideoFacts:
    """What decoding one file once has shown; of the whole file, not of a clip.

    Attributes:
        decoded: Frames that came out.
        promised: Frames promised by the container, 0 where it does not say.
        damaged: Packets that could not be decoded plus frames marked as corrupt.
        fps: Mean frame rate that the container states, or that the times of frames give.
        uneven: Share of the steps from frame to frame that are a fifth longer or shorter than the
            median one; NaN where no times are known.
        rotation: Degrees by which stored pictures are turned upright.
        height: Rows of the upright picture.
        width: Columns of the upright picture.
        sizes: Different sizes of pictures in the file.
    """

    decoded: int
    promised: int
    damaged: int
    fps: float
    uneven: float
    rotation: int
    height: int
    width: int
    sizes: int = 1


@dataclass
class Inspected:
    """What was found out about one clip.

    Attributes:
        clip: Position in the data set.
        video: Facts of its file, None where it has none or it cannot be read.
        frames: Frames of the clip in its video.
        joints: Facts of its joints by space.
        content: SHA-256 of the bytes of its video, or of its joints.
        motion: Grey levels by which its pictures move, NaN where not known.
        likeness: How it moves, to compare it with others.
        bands: Keys of ``likeness``, by which copies are found.
        fault: Why its video cannot be used.
    """

    clip: int
    video: VideoFacts | None = None
    frames: int = 0
    joints: dict[str, JointFacts] = field(default_factory=dict)
    content: str = ""
    motion: float = float("nan")
    likeness: Likeness | None = None
    bands: NDArray[np.uint32] | None = None
    fault: PoselensError | None = None


def inspect_file(task: FileTask) -> list[Inspected]:
    """Decode a file once and return the facts of each of its clips.

    A file that cannot be read is a fact, not an error; a decoder that crashes is for
    ``data/children`` to tell.
    """
    found = [Inspected(clip.clip) for clip in task.clips]
    if task.video is not None:
        try:
            _look_at_video(task, task.video, found)
        except PoselensError as fault:
            for each in found:
                each.fault = fault
    for clip, each in zip(task.clips, found, strict=True):
        _look_at_joints(clip, each)
        if each.likeness is not None:
            each.bands = band_keys(each.likeness)
    return found


def _look_at_video(task: FileTask, path: Path, found: list[Inspected]) -> None:
    spans = _Spans(task.clips)
    facts = _count(path) if task.quick else _decode(path, spans)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    for clip, each, line in zip(task.clips, found, spans.lines, strict=True):
        first, last = _span(clip, facts.fps, facts.decoded)
        each.video, each.frames, each.content = facts, max(last - first, 0), content
        if last <= first:
            each.fault = AnnotationError(
                "DATA-025",
                f"the clip covers frames {first} to {last} of {facts.decoded}",
                file=path,
                mend="correct start_s and end_s in clips.csv",
            )
        elif line.frames:
            each.likeness, each.motion = video_likeness(line)


def _span(clip: ClipTask, fps: float, total: int) -> tuple[int, int]:
    """Return first frame and end of a clip, as training and prediction find them."""
    first = 0 if clip.start_s is None else round(clip.start_s * fps)
    return first, total if clip.end_s is None else min(round(clip.end_s * fps), total)


class _Spans:
    """Hands each small picture to the clips that it is in."""

    def __init__(self, clips: tuple[ClipTask, ...]) -> None:
        self.lines = [Timeline() for _ in clips]
        self._clips = clips
        self._waiting: list[tuple[int, int, Timeline]] = []
        self._active: list[tuple[int, int, Timeline]] = []

    def start(self, fps: float) -> None:
        """Turn moments into frames, once the frame rate is known."""
        endless = 2**62
        spans = [_span(clip, fps, endless) for clip in self._clips]
        self._waiting = sorted(
            [(*span, line) for span, line in zip(spans, self.lines, strict=True)],
            key=lambda entry: -entry[0],
        )

    def wanted(self, index: int) -> bool:
        """Tell whether any clip shows a frame."""
        while self._waiting and self._waiting[-1][0] <= index:
            self._active.append(self._waiting.pop())
        self._active = [entry for entry in self._active if index < entry[1]]
        return bool(self._active)

    def add(self, picture: NDArray[np.uint8]) -> None:
        for _, _, line in self._active:
            line.add(picture)


def _decode(path: Path, spans: _Spans) -> VideoFacts:
    from poselens.data.video_convert import upright_size
    from poselens.data.video_decode import (
        MAX_PIXELS,
        Tally,
        choose_stream,
        decode_frames,
        open_video,
    )

    tally, times = Tally(), array("d")
    sizes: set[tuple[int, int]] = set()
    with open_video(path, MAX_PIXELS) as container:
        stream = choose_stream(container, path, 1, MAX_PIXELS)
        fps = float(stream.average_rate or 0)
        spans.start(fps)
        shrink = Shrinker(SIDE)
        count, rotation, size = 0, 0, (0, 0)
        shown = decode_frames(container, stream, path, MAX_PIXELS, tally)
        for count, frame in enumerate(shown, start=1):
            if frame.time is not None:
                times.append(frame.time)
            if count == 1:
                rotation, size = round(frame.rotation) % 360, upright_size(frame)
            sizes.add((frame.height, frame.width))
            if spans.wanted(count - 1):
                spans.add(shrink(frame))
        promised = stream.frames or 0
    measured, uneven = _timing(np.asarray(times))
    return VideoFacts(
        decoded=count,
        promised=promised,
        damaged=tally.damaged,
        fps=fps or measured,
        uneven=uneven,
        rotation=rotation,
        height=size[0],
        width=size[1],
        sizes=len(sizes),
    )


def _count(path: Path) -> VideoFacts:
    from poselens.data.video import count_frames, probe

    seen = probe(path)
    return VideoFacts(
        decoded=count_frames(path),
        promised=seen.frames or 0,
        damaged=0,
        fps=seen.fps,
        uneven=float("nan"),
        rotation=seen.rotation,
        height=seen.height,
        width=seen.width,
    )


def _timing(times: Float[np.ndarray, " t"]) -> tuple[float, float]:
    """Return the mean frame rate and the share of uneven steps.

    Departure: steps within 1.5 ms of the median one are even, for Matroska rounds times to 1 ms.
    """
    if len(times) < 3:
        return 0.0, float("nan")
    steps = np.diff(times)
    middle = float(np.median(steps))
    allowed = max(_UNEVEN * abs(middle), _LEAST_UNEVEN_S)
    length = float(times[-1] - times[0])
    fps = (len(times) - 1) / length if length > 0 else 0.0
    return fps, float((np.abs(steps - middle) > allowed).mean())


class Shrinker:
    """Turns decoded frames into small upright grey pictures.

    Args:
        side: Rows and columns.
    """

    def __init__(self, side: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._side = side
        self._reformatter = VideoReformatter()

    def __call__(self, frame: "VideoFrame") -> NDArray[np.uint8]:
        """Return the picture as ``(side, side)``."""
        small = self._reformatter.reformat(
            frame, width=self._side, height=self._side, format="gray", interpolation="AREA"
        )
        picture = np.asarray(small.to_ndarray(), np.uint8)
        return np.rot90(picture, round(frame.rotation) % 360 // 90)


def _look_at_joints(clip: ClipTask, each: Inspected) -> None:
    for space, place in (("pixels", clip.pixels), ("metres", clip.metres)):
        if place is None:
            continue
        positions = place.read()
        in_picture = space == "pixels" and each.video is not None
        picture = (each.video.height, each.video.width) if in_picture and each.video else None
        each.joints[space] = joint_facts(positions, picture)
        if not each.content:
            each.content = hashlib.sha256(positions.tobytes()).hexdigest()
            each.likeness = joint_likeness(positions)


@dataclass(frozen=True)
class PairsTask:
    """Pairs of clips for a second look.

    Attributes:
        pairs: Positions of both clips.
        clips: Each clip with its video, or None for joints alone.
    """

    pairs: tuple[tuple[int, int], ...]
    clips: dict[int, tuple[Path | None, ClipTask]]


def compare_pairs(task: PairsTask) -> list[tuple[int, int, float]]:
    """Decode what is needed and return the pairs that are copies, with their distance.

    Clips that cannot be read are no copies.
    """
    found = []
    for first, second in task.pairs:
        one, other = (_line(*task.clips[clip]) for clip in (first, second))
        if one is None or other is None or one.shape[1:] != other.shape[1:]:
            continue
        joints_alone = one.ndim == 3
        apart = joint_distance(one, other) if joints_alone else frame_distance(one, other)
        if apart <= (COPY_JOINTS if joints_alone else COPY):
            found.append((first, second, apart))
    return found


@lru_cache(maxsize=64)
def _line(path: Path | None, clip: ClipTask) -> NDArray[np.float32] | None:
    """Return each frame of a clip as numbers that can be compared: pixels, or joints."""
    if path is None:
        place = clip.pixels or clip.metres
        assert place is not None
        joints = place.read()[:PEOPLE_COMPARED, :FRAMES_COMPARED].transpose(1, 0, 2, 3)
        return joints.reshape(len(joints), -1, joints.shape[-1])
    try:
        pictures = list(_fine_pictures(path, clip))
    except PoselensError:
        return None
    return np.stack(pictures).reshape(len(pictures), -1).astype(np.float32) if pictures else None


def _fine_pictures(path: Path, clip: ClipTask) -> Iterator[NDArray[np.uint8]]:
    from poselens.data.video_decode import (
        MAX_PIXELS,
        Tally,
        choose_stream,
        decode_frames,
        open_video,
    )

    with open_video(path, MAX_PIXELS) as container:
        stream = choose_stream(container, path, 1, MAX_PIXELS)
        first, last = _span(clip, float(stream.average_rate or 0), 2**62)
        last = min(last, first + FRAMES_COMPARED)
        shrink = Shrinker(FINE_SIDE)
        frames: Iterable[VideoFrame] = decode_frames(container, stream, path, MAX_PIXELS, Tally())
        for index, frame in enumerate(frames):
            if index >= last:
                return
            if index >= first:
                yield shrink(frame)
