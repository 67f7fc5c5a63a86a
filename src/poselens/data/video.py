"""Frame-exact reading of video files, and deterministic writing.

Frames are counted as they are decoded, from the first one shown: the only index that is the same
in every container (seeking by time is off by several frames in MPEG-TS, by one in others). Pixels
are those stored, turned upright; non-square pixels are not stretched.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import UInt8
from numpy.typing import NDArray

from poselens.data.video_convert import Converter, upright_size
from poselens.data.video_decode import (
    MAX_PIXELS,
    Tally,
    choose_stream,
    decode_frames,
    open_video,
)
from poselens.data.video_extent import measure_extent, promised_seconds
from poselens.errors import EnvironmentFault, UsageError
from poselens.types import Box


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
        frames: Frames promised by the container, None where it does not say.
        fps: Mean frame rate, 0 where unknown.
        height: Rows of the upright picture.
        width: Columns of the upright picture.
        rotation: Degrees, counter-clockwise, by which stored pictures were turned upright.
        duration_s: Promised duration in seconds, None where the container does not say.
    """

    frames: int | None
    fps: float
    height: int
    width: int
    rotation: int
    duration_s: float | None


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames read from a video.

    Attributes:
        pixels: ``(n, h, w, 3)`` uint8 RGB, in the order wanted.
        decoded: Frames decoded before reading stopped; all of the file's if ``short``.
        promised: Frames promised by the container, None where it does not say.
        short: Whether wanted frames lay beyond the end and are copies of the last decoded one.
        damaged: Packets that could not be decoded plus frames that the decoder marks as corrupt.
    """

    pixels: UInt8[np.ndarray, "n h w 3"]
    decoded: int
    promised: int | None
    short: bool
    damaged: int = 0


def probe(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> VideoInfo:
    """Read the header and the first frame.

    Raises:
        VideoError: ``VID-001`` to ``VID-013``, see ``docs/reference/errors.md``.
        UsageError: ``VID-009`` for a URL.
    """
    source = Path(path)
    with open_video(source, max_pixels) as container:
        stream = choose_stream(container, source, 1, max_pixels)
        frame = next(decode_frames(container, stream, source, max_pixels, Tally()))
        height, width = upright_size(frame)
        return VideoInfo(
            frames=stream.frames or None,
            fps=float(stream.average_rate or 0),
            height=height,
            width=width,
            rotation=round(frame.rotation) % 360,
            duration_s=promised_seconds(container, stream),
        )


def count_frames(path: str | Path) -> int:
    """Count the packets of the video stream that hold a shown frame, without decoding.

    A file that is cut short counts as far as it goes.

    Raises:
        VideoError: ``VID-001`` to ``VID-013``, ``VID-018`` past the limit of frames.
        UsageError: ``VID-009`` for a URL.
    """
    return measure_extent(path).shown


def read_frames(
    path: str | Path,
    wanted: Sequence[int],
    *,
    box: Box | None = None,
    size: tuple[int, int] | None = None,
    first_frame: int = 0,
    threads: int = 1,
    max_pixels: int = MAX_PIXELS,
) -> Frames:
    """Decode frames by index, cropped and scaled.

    Decoding runs from the start and stops after the last wanted frame; frames that are not wanted
    are dropped before any conversion. Indices beyond the end read the last frame (``short``).

    Args:
        path: Local video file.
        wanted: Indices of frames, in any order, repeats allowed, counted from ``first_frame``.
        box: Part to keep, in pixels of the upright full frame; None keeps all.
        size: Height and width of the result; None keeps the size of the box.
        first_frame: Index in the file of the clip's first frame.
        threads: Decoder threads; data workers already run side by side.
        max_pixels: Largest frame to decode.

    Raises:
        VideoError: ``VID-001`` to ``VID-013``; ``VID-014`` for a box outside the frame.
        UsageError: ``VID-009`` for a URL, ``VID-015`` for no or negative indices.
        EnvironmentFault: ``ENV-007`` out of memory.
    """
    source = Path(path)
    rows = _rows_by_frame(wanted, first_frame, source)
    final = max(rows)
    tally = Tally()
    pictures: dict[int, NDArray[np.uint8]] = {}
    decoded = 0
    with open_video(source, max_pixels) as container:
        stream = choose_stream(container, source, threads, max_pixels)
        converter: Converter | None = None
        for index, frame in enumerate(decode_frames(container, stream, source, max_pixels, tally)):
            decoded = index + 1
            converter = converter or Converter(source, upright_size(frame), box, size)
            if index in rows:
                pictures[index] = converter(frame)
            if index >= final:
                break
        if converter is not None and final >= decoded:
            pictures[decoded - 1] = converter(frame)
        promised = stream.frames or None
    pixels = np.empty((len(wanted), *pictures[min(final, decoded - 1)].shape), np.uint8)
    for index, places in rows.items():
        pixels[places] = pictures[min(index, decoded - 1)]
    return Frames(pixels, decoded, promised, final >= decoded, tally.damaged)


def _rows_by_frame(wanted: Sequence[int], first: int, path: Path) -> dict[int, list[int]]:
    """Map each index in the file to the rows of the result that show it."""
    if len(wanted) == 0 or min(wanted) < 0 or first < 0:
        raise UsageError(
            "VID-015",
            f"frame indices must be given and not negative, found {list(wanted)[:8]} "
            f"from frame {first}",
            file=path,
        )
    rows: dict[int, list[int]] = {}
    for row, index in enumerate(wanted):
        rows.setdefault(first + int(index), []).append(row)
    return rows


def iterate_frames(
    path: str | Path,
    *,
    first_frame: int = 0,
    frames: int | None = None,
    box: Box | None = None,
    size: tuple[int, int] | None = None,
    threads: int = 1,
    max_pixels: int = MAX_PIXELS,
    tally: Tally | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield upright RGB pictures one after another, holding one at a time.

    Args:
        path: Local video file.
        first_frame: Index of the first picture to yield.
        frames: How many to yield at most; None goes on to the end.
        box: Part to keep, in pixels of the upright full frame; None keeps all.
        size: Height and width of the pictures; None keeps those of the box.
        threads: Decoder threads.
        max_pixels: Largest frame to decode.
        tally: Filled as frames come, for a caller to whom fewer than promised matter.

    Raises:
        VideoError: ``VID-001`` to ``VID-013``, ``VID-018``; ``VID-014`` for a box outside the
            frame.
        UsageError: ``VID-009`` for a URL.
        EnvironmentFault: ``ENV-007`` out of memory.
    """
    source = Path(path)
    tally = Tally() if tally is None else tally
    converter: Converter | None = None
    with open_video(source, max_pixels) as container:
        stream = choose_stream(container, source, threads, max_pixels)
        for index, frame in enumerate(decode_frames(container, stream, source, max_pixels, tally)):
            if frames is not None and index >= first_frame + frames:
                return
            converter = converter or Converter(source, upright_size(frame), box, size)
            if index >= first_frame:
                yield converter(frame)


def write_video(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    *,
    fps: float,
    gop: int = 15,
    crf: int = 20,
) -> None:
    """Encode RGB frames as H.264 (MPEG-4 where that is missing), the same bytes every time.

    4:2:0 needs even sizes: odd ones get their last row or column twice. The file appears under
    its name only when complete.

    Args:
        path: Target; the suffix chooses the container.
        frames: Pictures of one size.
        fps: Frames a second.
        gop: Most frames from key frame to key frame; short keeps later cutting cheap.
        crf: Quality of H.264, lower is better.

    Raises:
        UsageError: ``VID-016`` for no frames or frames that differ in size, ``VID-017`` for a
            suffix that names no fitting container.
        EnvironmentFault: ``ENV-003`` when the file cannot be written.
    """
    target = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".poselens-", dir=target.parent) as folder:
            unfinished = Path(folder) / f"video{target.suffix}"
            _encode(unfinished, target, frames, fps=fps, gop=gop, crf=crf)
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, target)
    except ValueError as fault:
        raise UsageError(
            "VID-017",
            f"a {target.suffix or 'nameless'} file cannot hold this video: {fault}",
            file=target,
            mend="name it .mp4 or .mkv",
        ) from fault
    except OSError as fault:
        raise EnvironmentFault(
            "ENV-003", f"cannot write: {fault.strerror}", file=target, mend="check folder and space"
        ) from fault


# x264's AVX-512 macroblock tree gave other bytes in 2 of 100 runs; this option leaves it out
_H264: dict[str, object] = {"x264-params": "cpu-independent=1"}


def _encode(
    unfinished: Path,
    target: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float,
    gop: int,
    crf: int,
) -> None:
    h264 = "libx264" in av.codecs_available
    shape: tuple[int, ...] | None = None
    with av.open(f"file:{unfinished}", "w", container_options={"fflags": "+bitexact"}) as container:
        for frame in frames:
            if shape is None:
                shape = frame.shape
                stream = container.add_stream(
                    "libx264" if h264 else "mpeg4", rate=Fraction(fps).limit_denominator(1001)
                )
                stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
                stream.pix_fmt = "yuv420p"
                stream.codec_context.gop_size = gop
                stream.codec_context.thread_count = 1
                stream.options = _H264 | {"crf": str(crf)} if h264 else {"qscale": "3"}
            if frame.shape != shape:
                raise UsageError(
                    "VID-016", f"found a frame of {frame.shape} after {shape}", file=target
                )
            padding = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
            even = np.pad(frame, padding, mode="edge") if shape[0] % 2 or shape[1] % 2 else frame
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            container.mux(stream.encode(picture))
        if shape is None:
            raise UsageError("VID-016", "no frames to write", file=target)
        container.mux(stream.encode())
