"""Copies of clips that cost little to read: cut out, made small, with many key frames.

Frame i of a copy is frame i of its clip. What moves with the pixels are the joints in pixels, by
:class:`~poselens.clips.crop.Placement`, which every copy carries.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.clips.crop import Placement, Reason, activity_region
from poselens.clips.stretch import Stretch, find_stretch, require_whole
from poselens.data.video import iterate_frames, write_video
from poselens.data.video_decode import Tally
from poselens.errors import AnnotationError
from poselens.types import Box

Cut = Literal["region", "square", "none"]
"""What of a picture is kept: the activity region, that widened to a square, or all of it."""

_INNER = 0.3
"""Margin of the region that keeps its pixels: the one that recipes look at."""
_RATES = (1.0, 240.0)
_USUAL_RATE = 30.0
VERSION = 1
"""Of the ledger and of how copies are made."""


@dataclass(frozen=True)
class CopySettings:
    """How copies are made.

    Attributes:
        short_side: Pixels of the shorter side of what a network will look at; nothing is enlarged.
        gop: Most frames from key frame to key frame.
        crf: Quality of H.264, lower is better.
        crop: What of a picture is kept.
        margin: Widening of the region on each side, as a share of its size. Recipes whose own
            margin is not larger look at the same pixels as in the original.

    Departure: not in the paper.
    """

    short_side: int = 256
    gop: int = 15
    crf: int = 18
    crop: Cut = "region"
    margin: float = 0.5


@dataclass(frozen=True, eq=False)
class CopyJob:
    """One clip to copy, as it travels to a child process.

    Attributes:
        clip: Position in the data set.
        source: The video.
        target: The copy.
        start_s: First moment, None for the beginning.
        end_s: Last moment, None for the end.
        joints: ``(m, t, v, 2)`` in pixels, None where there are none.
        settings: How to copy.
    """

    clip: int
    source: Path
    target: Path
    start_s: float | None
    end_s: float | None
    joints: NDArray[np.float32] | None
    settings: CopySettings = field(default_factory=CopySettings)


@dataclass(frozen=True)
class Copy:
    """What a copy is.

    Attributes:
        frames: Frames in it.
        promised: Frames the clip would have if its file were whole.
        damaged: Packets and frames of the original that the decoder found damaged.
        height: Rows.
        width: Columns.
        size: Bytes.
        placement: From pixels of the original to those of the copy.
        region: ``skeleton``, or why the whole picture was kept; None where no region was asked for.
    """

    frames: int
    promised: int
    damaged: int
    height: int
    width: int
    size: int
    placement: Placement
    region: Reason | None


def copy_clip(job: CopyJob) -> Copy:
    """Write the copy of one clip; meant for a child process.

    Raises:
        VideoError: As ``poselens.data.video``; ``VID-019`` when too few frames can be decoded.
        AnnotationError: ``DATA-025`` when start and end lie outside the video.
        EnvironmentFault: ``ENV-003`` when it cannot be written, ``ENV-007`` out of memory.
    """
    stretch = find_stretch(job.source, start_s=job.start_s, end_s=job.end_s)
    require_whole(job.source, stretch.frames, stretch.promised)
    placement, region = place(stretch, job.joints, job.settings)
    tally, shown = Tally(), 0

    def pictures() -> Iterator[NDArray[np.uint8]]:
        nonlocal shown
        for picture in iterate_frames(
            job.source,
            first_frame=stretch.first,
            frames=stretch.frames,
            box=box_of(placement),
            size=placement.size,
            tally=tally,
        ):
            shown += 1
            yield picture
        require_whole(job.source, shown, stretch.promised)

    job.target.parent.mkdir(parents=True, exist_ok=True)
    write_video(
        job.target, pictures(), fps=_rate(stretch), gop=job.settings.gop, crf=job.settings.crf
    )
    rows, columns = placement.size
    return Copy(
        frames=shown,
        promised=stretch.promised,
        damaged=tally.damaged,
        height=rows + rows % 2,
        width=columns + columns % 2,
        size=job.target.stat().st_size,
        placement=placement,
        region=region,
    )


def _rate(stretch: Stretch) -> float:
    # frames are found by their number; the rate only says how fast the copy plays
    low, high = _RATES
    return stretch.facts.fps if low <= stretch.facts.fps <= high else _USUAL_RATE


def place(
    stretch: Stretch, joints: NDArray[np.float32] | None, settings: CopySettings
) -> tuple[Placement, Reason | None]:
    """Choose the box of a clip that is kept and the size it is brought to.

    The shorter side of what a recipe with the margin 0.3 looks at keeps ``short_side`` pixels, or
    all it has; what ``margin`` adds lies around that. Sizes are even where the picture has room.
    """
    frame = (stretch.facts.height, stretch.facts.width)
    inner = outer = Box(0, 0, frame[1], frame[0])
    reason: Reason | None = None
    if settings.crop != "none":
        known = np.full((1, 1, 1, 2), np.nan, np.float32) if joints is None else joints[..., :2]
        square = settings.crop == "square"
        found = activity_region(known, frame_size=frame, margin=settings.margin, square=square)
        narrow = min(settings.margin, _INNER)
        seen = activity_region(known, frame_size=frame, margin=narrow, square=square)
        outer, reason = _even(found.box, frame), found.reason
        inner = seen.box if seen.reason == "skeleton" else outer
    factor = min(1.0, settings.short_side / min(inner.height, inner.width))
    size = (outer.height, outer.width)
    if factor < 1:
        size = (_even_number(outer.height * factor), _even_number(outer.width * factor))
    return Placement(outer.left, outer.top, outer.width, outer.height, size), reason


def _even(box: Box, frame: tuple[int, int]) -> Box:
    """Give a box even sides where the picture has a pixel more."""
    left, right = _even_span(box.left, box.right, frame[1])
    top, bottom = _even_span(box.top, box.bottom, frame[0])
    return Box(left, top, right, bottom)


def _even_span(low: int, high: int, limit: int) -> tuple[int, int]:
    if (high - low) % 2 == 0:
        return low, high
    if high < limit:
        return low, high + 1
    return max(low - 1, 0), high


def _even_number(length: float) -> int:
    return max(2 * round(length / 2), 2)


def box_of(placement: Placement) -> Box:
    """Return the box of whole pixels that a copy was cut from."""
    left, top = int(placement.left), int(placement.top)
    return Box(left, top, left + int(placement.width), top + int(placement.height))


def moved(
    joints: Float[np.ndarray, "m t v 2"], placement: Placement
) -> Float[np.ndarray, "m t v 2"]:
    """Return joints in pixels of the copy."""
    inside: NDArray[np.float32] = placement.to_crop(joints).astype(np.float32)
    return inside


def file_size(path: Path) -> int | None:
    """Return the bytes of a file, None where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def copy_stamp(job: CopyJob) -> str:
    """Return a digest of all that a copy follows from."""
    try:
        status = job.source.stat()
        facts: tuple[int, int] | None = (status.st_size, status.st_mtime_ns)
    except OSError:
        facts = None
    said = (VERSION, job.start_s, job.end_s, facts, str(job.source), job.settings)
    digest = hashlib.sha256(repr(said).encode(errors="surrogateescape"))
    if job.joints is not None and job.settings.crop != "none":
        digest.update(repr(job.joints.shape).encode() + job.joints.tobytes())
    return digest.hexdigest()[:16]


def note_copy(lines: IO[bytes], name: str, stamp: str, copy: Copy) -> None:
    """Add the line of a copy that is whole."""
    said = {"video": name, "stamp": stamp, **asdict(copy)}
    lines.write(json.dumps(said, ensure_ascii=False).encode() + b"\n")
    lines.flush()


def read_copies(path: Path) -> dict[tuple[str, str], Copy]:
    """Return the copies that are whole, by name and stamp; a last line cut short does not count.

    Raises:
        AnnotationError: ``DATA-067`` when a line is damaged.
    """
    if not path.exists():
        return {}
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        content = content[: content.rfind(b"\n") + 1]
        os.truncate(path, len(content))
    copies: dict[tuple[str, str], Copy] = {}
    try:
        for line in content.splitlines():
            said = json.loads(line)
            key = (str(said.pop("video")), str(said.pop("stamp")))
            placement = said.pop("placement")
            placement["size"] = tuple(placement["size"])
            copies[key] = Copy(**said, placement=Placement(**placement))
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise AnnotationError(
            "DATA-067",
            "the ledger of unfinished copies is damaged",
            file=path,
            mend="remove its folder; the copies are made anew",
        ) from fault
    return copies
