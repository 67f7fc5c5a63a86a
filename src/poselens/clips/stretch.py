"""Which frames of a video a clip is, and how many of them a file that is cut short still has."""

from dataclasses import dataclass
from pathlib import Path

from poselens.data.video import VideoInfo, probe
from poselens.data.video_extent import measure_extent
from poselens.errors import AnnotationError, VideoError

MIN_FRAMES_RATIO = 0.9
"""Least share of a clip's promised frames that training, validation and evaluation take.

Departure: not in the paper. A clip that ends in the middle of its action has the wrong label;
prediction looks at what there is, and says how much that was.
"""


@dataclass(frozen=True)
class Stretch:
    """The frames of a clip.

    Attributes:
        path: The video.
        facts: What its header says.
        first: Index of the first frame.
        frames: Frames of the clip that are stored in the file.
        promised: Frames it would have if the file were whole; ``frames`` where that is not known.
    """

    path: Path
    facts: VideoInfo
    first: int
    frames: int
    promised: int


def find_stretch(
    path: Path, *, start_s: float | None = None, end_s: float | None = None
) -> Stretch:
    """Find out which frames of a video lie between two moments, without decoding them.

    Raises:
        VideoError: As ``poselens.data.video``.
        AnnotationError: ``DATA-025`` when start and end lie outside the video.
    """
    facts, extent = probe(path), measure_extent(path)
    total = extent.shown
    first = 0 if start_s is None else round(start_s * facts.fps)
    end = total + extent.missing if end_s is None else round(end_s * facts.fps)
    promised, last = min(end, total + extent.missing), min(end, total)
    if last <= first:
        raise AnnotationError(
            "DATA-025",
            f"the clip covers frames {first} to {last} of {total}",
            file=path,
            mend="correct start_s and end_s in clips.csv",
        )
    return Stretch(path, facts, first, last - first, promised - first)


def require_whole(path: Path, found: int, promised: int) -> None:
    """Refuse a clip of which too little is there.

    Raises:
        VideoError: ``VID-019`` when fewer than nine of ten promised frames were found.
    """
    if found < MIN_FRAMES_RATIO * promised:
        raise VideoError(
            "VID-019",
            f"{found} of {promised} frames can be read, expected at least "
            f"{MIN_FRAMES_RATIO:.0%} of them",
            file=path,
            mend="copy or download it again, or leave the clip out",
        )
