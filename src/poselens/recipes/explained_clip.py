"""One clip explained by every stream of a bundle, on the same frames: rows of a strip, and facts.

RGB streams come first: the frames they were shown are those joints are drawn on. Without pictures
the body is seen from the front.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from poselens.clips.assemble import skeleton_input
from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError
from poselens.explain.cam import Method
from poselens.explain.joints import Method as JointMethod
from poselens.explain.strips import StripRow
from poselens.recipes.explained_joints import (
    JointExplanation,
    explain_joints,
    front_row,
    joint_row,
)
from poselens.recipes.rgb_explaining import RgbExplanation, explain_rgb, rgb_rows
from poselens.recipes.seen_clip import SeenClip, frame_rate, see_clip
from poselens.recognition.bundle import Bundle
from poselens.recognition.streams import TrainedStream

MOMENTS = 8
"""Frames shown of a clip without pictures."""


@dataclass(frozen=True)
class Question:
    """What is asked about a clip.

    Attributes:
        wanted: Class that is explained.
        against: Class it is held against, or None.
        method: For RGB streams.
        layer: Of RGB networks; None for the last.
        joint_method: For skeleton streams.
    """

    wanted: int
    against: int | None = None
    method: Method = "gradcam"
    layer: str | None = None
    joint_method: JointMethod = "integrated-gradients"


@dataclass(eq=False)
class ExplainedStreams:
    """What the streams of a bundle looked at in one clip.

    Attributes:
        rows: Of its strip.
        times: Seconds of the frames of the strip.
        facts: Stream to its facts for JSON.
        figures: Stream to a map of joints over time, as inline SVG.
        rgb: Of the first RGB stream; None without.
        inputs: Stream to what its network was given, for checks.
        faults: Stream to why it could not read the clip.
    """

    rows: list[StripRow] = field(default_factory=list)
    times: Float[np.ndarray, " s"] = field(default_factory=lambda: np.zeros(0))
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)
    rgb: RgbExplanation | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    faults: dict[str, InputError] = field(default_factory=dict)


def explain_streams(
    bundle: Bundle, folder: ClipFolder, clip: int, question: Question, says: Mapping[str, str]
) -> ExplainedStreams:
    """Ask every stream of a bundle about one clip.

    A stream that cannot read the clip is left out, and named in ``faults``.

    Args:
        bundle: Not folded.
        folder: The data set.
        clip: Position in it.
        question: What is asked.
        says: Stream to what it says of the clip, for the rows.

    Raises:
        InputError: Where no stream can read the clip, as the first of them does.
    """
    found = ExplainedStreams()
    for trained in sorted(bundle.streams, key=lambda each: isinstance(each.stream, SkeletonStream)):
        name = trained.stream.name
        try:
            if isinstance(trained.stream, RgbStream):
                _ask_pictures(found, trained, folder, clip, question, says.get(name, ""))
            else:
                _ask_joints(found, trained, folder, clip, question, says.get(name, ""))
        except InputError as fault:
            found.faults[name] = fault
    if not found.rows:
        raise next(iter(found.faults.values()))
    return found


def _ask_pictures(
    found: ExplainedStreams,
    trained: TrainedStream,
    folder: ClipFolder,
    clip: int,
    question: Question,
    note: str,
) -> None:
    assert isinstance(trained.stream, RgbStream)
    seen = see_clip(folder, clip, trained.stream.input)
    one = explain_rgb(
        trained,
        seen,
        question.wanted,
        question.against,
        method=question.method,
        layer=question.layer,
    )
    found.rows += rgb_rows(one, note)
    found.facts[one.stream], found.inputs[one.stream] = one.as_dict(), seen.inputs
    found.rgb, found.times = found.rgb or one, seen.times


def _ask_joints(
    found: ExplainedStreams,
    trained: TrainedStream,
    folder: ClipFolder,
    clip: int,
    question: Question,
    note: str,
) -> None:
    assert isinstance(trained.stream, SkeletonStream)
    one = explain_joints(
        trained, folder, clip, question.wanted, question.against, method=question.joint_method
    )
    found.facts[one.stream] = one.as_dict()
    found.inputs[one.stream] = skeleton_input(one.skeleton, trained.stream.input)
    title = f"{one.stream}: what each joint gave, and when"
    found.figures[one.stream] = one.figure(title=title, key=f"clip{clip}-{one.stream}")
    found.rows.append(_joint_row(found, one, folder, note))


def _joint_row(
    found: ExplainedStreams, one: JointExplanation, folder: ClipFolder, note: str
) -> StripRow:
    """Draw joints on the frames that are shown already, or on none."""
    seen = None if found.rgb is None else found.rgb.seen
    if seen is not None and seen.joints is not None and _same_joints(seen, one):
        rate = frame_rate(seen.source.path, folder)
        # a skeleton of another length has frames of another duration
        rate *= one.skeleton.frames / seen.source.frames
        return joint_row(
            one, seen.pictures, seen.joints, seen.frames, seen.source.frames, rate=rate, note=note
        )
    if seen is not None:
        last = (one.skeleton.frames - 1) / max(seen.source.frames - 1, 1)
        frames = np.round(seen.frames * last).astype(np.int64)
        rate = frame_rate(seen.source.path, folder) * one.skeleton.frames / seen.source.frames
        return front_row(one, frames, rate=rate, note=note)
    rate = float(folder.info.fps or 25.0)
    if not len(found.times):
        spread = np.linspace(0, one.skeleton.frames - 1, min(MOMENTS, one.skeleton.frames))
        found.times = spread.round() / rate
    # streams of one space have the same frames
    frames = np.round(found.times * rate).astype(np.int64).clip(0, one.skeleton.frames - 1)
    return front_row(one, frames, rate=rate, note=note)


def _same_joints(seen: SeenClip, one: JointExplanation) -> bool:
    return seen.skeleton is not None and seen.skeleton.layout == one.skeleton.layout
