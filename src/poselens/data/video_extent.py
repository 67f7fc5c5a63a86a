"""How much of a video file is there, by its packets: nothing is decoded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from poselens.data.video_decode import MAX_PIXELS, choose_stream, frames_limit, open_video
from poselens.data.video_faults import PYAV_FAULTS, memory_fault, too_many_frames

_STILL_S = 0.25


def promised_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the duration that the container claims, None where it does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


@dataclass(frozen=True)
class Extent:
    """How much of a video file is there, by its packets; none is decoded.

    Attributes:
        shown: Packets that hold a shown frame.
        missing: Frames that the container promises beyond those stored; 0 where it promises none.
    """

    shown: int
    missing: int


def measure_extent(path: str | Path) -> Extent:
    """Count the frames that are there, and those promised that are not, without decoding.

    A container promises a number of frames or else a duration; what an AVI leaves out because a
    picture stands still, and pictures that end before the sound, are not missing.

    Raises:
        VideoError: ``VID-001`` to ``VID-013``, ``VID-018`` past the limit of frames.
        UsageError: ``VID-009`` for a URL.
    """
    source = Path(path)
    limit = frames_limit()
    with open_video(source, MAX_PIXELS) as container:
        stream = choose_stream(container, source, 1, MAX_PIXELS)
        # where only the whole file has a duration, any of its streams may be what ends it
        streams: Sequence[Stream] = [stream] if stream.duration else list(container.streams)
        shown = stored = 0
        times: list[float] = []
        for packet in _packets(container, streams, source):
            times = _widened(times, packet)
            if packet.stream.index == stream.index:
                stored += 1
                # an edit list marks packets that are decoded but never shown
                shown += not packet.is_discard
            if stored > limit:
                raise too_many_frames(source, limit)
        return Extent(shown, _missing(container, stream, stored, times))


def _packets(
    container: InputContainer, streams: Sequence[Stream], path: Path
) -> "Iterator[Packet[Any]]":
    """Yield the packets that hold something, up to the first that cannot be read."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except MemoryError as fault:
            raise memory_fault(path) from fault
        except PYAV_FAULTS:
            return
        if packet is None:
            return
        if packet.size:
            yield packet


def _widened(times: list[float], packet: "Packet[Any]") -> list[float]:
    """Return first and last moment, in seconds, of a packet and those before it."""
    moment = packet.pts if packet.pts is not None else packet.dts
    if moment is None or packet.time_base is None:
        return times
    first = float(moment * packet.time_base)
    last = float((moment + (packet.duration or 0)) * packet.time_base)
    return [min([first, *times[:1]]), max([last, *times[1:]])]


def _missing(
    container: InputContainer, stream: VideoStream, stored: int, times: list[float]
) -> int:
    fps = float(stream.average_rate or 0)
    spanned = round((times[1] - times[0]) * fps) if times else 0
    if stream.frames:
        # an AVI counts the moments at which it stores no frame because the last one still stands
        there = max(stored, spanned) if container.format.name == "avi" else stored
        return max(stream.frames - there, 0)
    lack = round((promised_seconds(container, stream) or 0) * fps) - max(stored, spanned)
    # a duration is a soft promise: a camera that stops writes a last picture that stands a while
    return lack if lack > max(2, _STILL_S * fps) else 0
