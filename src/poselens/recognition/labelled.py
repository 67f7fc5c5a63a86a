"""The labelled video: skeleton, region and running scores on every frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.clips.assemble import VideoSource
from poselens.data.video import iterate_frames, probe, write_video
from poselens.evaluation.overlay import draw_overlay
from poselens.pose.layouts import get_layout
from poselens.recognition.reading import Clip
from poselens.recognition.recognizer import Recognition
from poselens.types import Box

MOMENTS = 8
"""Prefixes of the clip that are scored; between them scores are interpolated."""

LONGEST_SIDE = 1280
"""Larger videos are drawn at this size."""


def moments(clip: Clip) -> list[float]:
    """Return the shares of a clip after which a labelled video has new scores."""
    if clip.frames < MOMENTS:
        return [1.0]
    return [moment / MOMENTS for moment in range(1, MOMENTS + 1)]


def write_labelled_video(
    source: VideoSource, shares: Sequence[float], course: Sequence[Recognition], path: Path
) -> None:
    """Draw a recognised clip, frame by frame, whatever its length.

    Args:
        source: The clip's video.
        shares: Prefixes that were scored, as shares of the clip.
        course: What was recognised in each; the last one is the result.
        path: Target.
    """
    result = course[-1]
    facts = probe(source.path)
    shrink = min(1.0, LONGEST_SIDE / max(facts.height, facts.width))
    size = (max(1, round(facts.height * shrink)), max(1, round(facts.width * shrink)))
    curves = {name: [each.scores.get(name, 0.0) for each in course] for name in result.scores}
    layout = None if result.joints is None else get_layout(result.joints.layout)
    caption = f"{Path(result.clip).name}\nresult: {result.label or 'nobody found'}"

    def drawn() -> Iterator[NDArray[np.uint8]]:
        frames = iterate_frames(
            source.path, first_frame=source.first_frame, frames=source.frames, size=size
        )
        for index, frame in enumerate(frames):
            share = (index + 1) / source.frames
            now = [(name, float(np.interp(share, shares, curves[name]))) for name in curves]
            yield draw_overlay(
                frame,
                _joints_at(result, index, source.frames, shrink),
                layout,
                _shrunk(result.box, shrink),
                sorted(now, key=lambda entry: -entry[1]),
                caption,
            )

    write_video(path, drawn(), fps=facts.fps or 25.0)


def _shrunk(box: Box | None, shrink: float) -> Box | None:
    if box is None:
        return None
    return Box(*(round(edge * shrink) for edge in (box.left, box.top, box.right, box.bottom)))


def _joints_at(
    result: Recognition, index: int, frames: int, shrink: float
) -> NDArray[np.float32] | None:
    """Return everybody's joints at one frame; a skeleton of another length is spread evenly."""
    if result.joints is None:
        return None
    known = result.joints.frames
    at = round(index * (known - 1) / max(frames - 1, 1))
    seen: NDArray[np.float32] = result.joints.positions[:, min(at, known - 1), :, :2] * shrink
    return seen
