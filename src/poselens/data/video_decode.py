"""Opening a video file that nobody has vouched for, and decoding its frames one after another.

Formats, protocols, pixels and frames are bounded before anything is decoded; damage is stepped over
and counted. What readers make of the frames is in ``video``.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from poselens.data.video_faults import (
    PYAV_FAULTS,
    memory_fault,
    no_decoder,
    no_frame,
    no_video_stream,
    open_fault,
    require_video_file,
    too_many_frames,
    too_many_pixels,
)
from poselens.errors import UsageError

MAX_PIXELS = 8192 * 4320
"""Largest frame decoded by default."""

LIMIT_VARIABLE = "POSELENS_MAX_FRAMES"
MAX_FRAMES = 500_000
"""Most frames of one file, 4.6 hours at 30 a second.

Departure: frames are bounded and seconds are not. Ten hours at a frame a second cost little, and
recordings of competitions, from which clips are cut by time, last longer than any clip.
"""

# Self-contained formats only: a concat script or playlist named .mp4 would read other files.
# The audio ones are there so that they are refused as audio and not as unknown.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,wav,mp3,flac,aac"
)


@dataclass
class Tally:
    """What a decoder gave and could not read; filled while frames come.

    Attributes:
        decoded: Frames decoded so far.
        promised: Frames promised by the container, None where it does not say.
        damaged: Packets that could not be decoded plus frames that the decoder marks as corrupt.
        fault: The latest error of the decoder.
    """

    decoded: int = 0
    promised: int | None = None
    damaged: int = 0
    fault: BaseException | None = None

    def add(self, fault: BaseException, path: Path) -> None:
        """Note an error of the decoder; one of memory is no damage and is raised as ``ENV-007``."""
        if isinstance(fault, MemoryError):
            raise memory_fault(path) from fault
        self.damaged += 1
        self.fault = fault


def frames_limit() -> int:
    """Return ``MAX_FRAMES``, or what the variable POSELENS_MAX_FRAMES says instead.

    Raises:
        UsageError: ``VID-020`` when it says no whole number.
    """
    said = os.environ.get(LIMIT_VARIABLE)
    if said is None:
        return MAX_FRAMES
    if not (said.isascii() and said.isdigit() and 0 < len(said) < 19):
        raise UsageError(
            "VID-020",
            f"{LIMIT_VARIABLE} is {said!r}, expected a whole number of frames",
            mend="unset it, or give for example 2000000",
        )
    return int(said)


def open_video(path: Path, max_pixels: int) -> InputContainer:
    """Open a local file of one of the formats that read nothing but themselves.

    Raises:
        VideoError: ``VID-001`` to ``VID-013``.
        UsageError: ``VID-009`` for a URL or a pipe.
        EnvironmentFault: ``ENV-007`` out of memory.
    """
    require_video_file(path)
    options = {
        "format_whitelist": _FORMATS,
        "protocol_whitelist": "file",
        # also bounds what FFmpeg decodes by itself to find out about the streams
        "max_pixels": str(max_pixels),
    }
    try:
        # "file:" keeps FFmpeg from reading a protocol into a name with a colon
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except PYAV_FAULTS as fault:
        raise open_fault(path, fault) from fault


def choose_stream(
    container: InputContainer, path: Path, threads: int, max_pixels: int
) -> VideoStream:
    """Choose the default video stream, or the first, leaving out cover pictures.

    Raises:
        VideoError: ``VID-004``, ``VID-005`` or ``VID-011`` for none, ``VID-010`` for frames and
            ``VID-018`` for a number of frames over the limit.
    """
    try:
        videos = list(container.streams.video)
        real = [s for s in videos if not s.disposition & Disposition.attached_pic]
        if not real:
            raise no_video_stream(path, len(container.streams.audio), len(videos))
        stream = next((s for s in real if s.disposition & Disposition.default), real[0])
        context = stream.codec_context
        if context is None:
            raise no_decoder(path)
        if context.width * context.height > max_pixels:
            raise too_many_pixels(path, (context.height, context.width), max_pixels)
        context.thread_type = "AUTO"
        context.thread_count = threads
        context.options = {"max_pixels": str(max_pixels)}
        if stream.frames > frames_limit():
            raise too_many_frames(path, frames_limit())
    except PYAV_FAULTS as fault:
        raise open_fault(path, fault) from fault
    return stream


def decode_frames(
    container: InputContainer, stream: VideoStream, path: Path, max_pixels: int, tally: Tally
) -> Iterator[VideoFrame]:
    """Yield frames in the order shown; damage is stepped over and counted.

    Raises:
        VideoError: ``VID-006`` when not one frame comes, ``VID-010`` when the first is too large,
            ``VID-018`` past the limit of frames.
    """
    packets = container.demux(stream)
    limit = frames_limit()
    tally.promised = stream.frames or None
    ended = False
    while not ended:
        packet = None
        try:
            packet = next(packets, None)
        except PYAV_FAULTS as fault:
            tally.add(fault, path)
        ended = packet is None
        try:
            # without a packet the decoder hands over the frames it still holds
            frames = stream.codec_context.decode(packet)
        except PYAV_FAULTS as fault:
            # demuxing to the end has already asked for the last frames
            if not (ended and isinstance(fault, EOFError)):
                tally.add(fault, path)
            continue
        for frame in frames:
            tally.damaged += bool(frame.is_corrupt)
            tally.decoded += 1
            if tally.decoded > limit:
                raise too_many_frames(path, limit)
            yield frame
    if not tally.decoded:
        # a frame over the limit leaves the decoder without a size
        if isinstance(tally.fault, av.error.ArgumentError) and not stream.codec_context.width:
            raise too_many_pixels(path, None, max_pixels)
        raise no_frame(path, tally.fault)
