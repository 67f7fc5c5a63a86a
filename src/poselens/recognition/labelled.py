"""The labelled video: skeleton, region and running scores on every frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.data.video import iterate_frames, probe, write_video
from poselens.evaluation.overlay import draw_overlay
from poselens.pose.layouts import get_layout
from poselens.recognition.recognizer import Clip, Recognition, Recognizer

MOMENTS = 8
"""Prefixes of the clip that are scored; between them scores are interpolated."""

LONGEST_SIDE = 1280
"""Larger videos are drawn at this size."""


def write_labelled_video(
    recognizer: Recognizer, clip: Clip, recognition: Recognition, path: Path
) -> None:
    """Draw a recognised clip; the scores shown at a moment come from what was seen until then.

    Raises:
        UsageError: ``RUN-004`` for a clip without a video.
    """
    source = clip.source
    if source is None:
        return
    moments, courses = _courses(recognizer, clip, recognition)
    facts = probe(source.path)
    shrink = min(1.0, LONGEST_SIDE / max(facts.height, facts.width))
    size = (round(facts.height * shrink), round(facts.width * shrink))
    box = source.region.box
    if shrink < 1.0:
        box = type(box)(
            *(round(edge * shrink) for edge in (box.left, box.top, box.right, box.bottom))
        )
    joints = recognition.joints
    layout = None if joints is None else get_layout(joints.layout)

    def drawn() -> Iterator[NDArray[np.uint8]]:
        frames = iterate_frames(
            source.path, first_frame=source.first_frame, frames=source.frames, size=size
        )
        for index, frame in enumerate(frames):
            seen = None
            if joints is not None:
                seen = joints.positions[:, min(index, joints.frames - 1), :, :2] * shrink
            share = (index + 1) / source.frames
            now = [(name, float(np.interp(share, moments, course))) for name, course in courses]
            yield draw_overlay(
                frame,
                seen,
                layout,
                box,
                sorted(now, key=lambda entry: -entry[1]),
                f"{Path(clip.name).name}  {recognition.label}",
            )

    write_video(path, drawn(), fps=facts.fps or 25.0)


def _courses(
    recognizer: Recognizer, clip: Clip, recognition: Recognition
) -> tuple[Sequence[float], list[tuple[str, list[float]]]]:
    """Score growing prefixes; return their shares, and each class's course over them."""
    shares = [moment / MOMENTS for moment in range(1, MOMENTS + 1)]
    if clip.frames < MOMENTS:
        shares = [1.0]
    tables = [recognizer.score(clip, until=share).scores for share in shares[:-1]]
    tables.append(recognition.scores)
    return shares, [(name, [table[name] for table in tables]) for name in recognition.scores]
