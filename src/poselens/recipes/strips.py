"""Frames of a clip side by side, with the joints that are known drawn on them."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray

from poselens.clips.assemble import video_source
from poselens.clips.stream import RgbInput
from poselens.data.folder import ClipFolder
from poselens.data.video import read_frames
from poselens.errors import InputError
from poselens.evaluation.overlay import draw_joints
from poselens.pose.layouts import get_layout
from poselens.types import Skeleton

STRIP_FRAMES = 6
STRIP_HEIGHT = 120
_PAPER = (246, 247, 249)


def clip_strip(folder: ClipFolder, clip: int) -> UInt8[np.ndarray, "h w 3"] | None:
    """Return a few frames of a clip from its first to its last, side by side.

    Joints in pixels are drawn on the video. A clip without a video, or whose video cannot be read,
    is shown by its joints alone; None where it has none either.
    """
    frames = _filmed(folder, clip)
    if frames is None:
        skeleton = folder.skeleton(clip, "pixels") or folder.skeleton(clip, "metres")
        if skeleton is None or skeleton.frames == 0:
            return None
        frames = list(draw_figures(skeleton, _moments(skeleton.frames), STRIP_HEIGHT))
    strip: NDArray[np.uint8] = np.concatenate(frames, axis=1)
    return strip


def _moments(frames: int) -> Int[np.ndarray, " moments"]:
    moments: NDArray[np.int64] = np.linspace(0, frames - 1, STRIP_FRAMES).round().astype(np.int64)
    return moments


def _filmed(folder: ClipFolder, clip: int) -> list[UInt8[np.ndarray, "h w 3"]] | None:
    path, record = folder.video_path(clip), folder.record(clip)
    if path is None:
        return None
    try:
        source = video_source(
            path, None, RgbInput(crop=False), start_s=record.start_s, end_s=record.end_s
        )
        whole = source.region.box
        wanted = _moments(source.frames)
        size = (STRIP_HEIGHT, max(1, round(whole.width * STRIP_HEIGHT / whole.height)))
        read = read_frames(path, wanted.tolist(), size=size, first_frame=source.first_frame)
    except InputError:
        # the clip was scored a moment ago; a picture less does not spoil a report
        return None
    skeleton = folder.skeleton(clip, "pixels")
    if skeleton is None or skeleton.frames == 0:
        return list(read.pixels)
    layout = get_layout(skeleton.layout)
    scale = np.array([size[1] / whole.width, size[0] / whole.height])
    shown = []
    for moment, frame in zip(wanted.tolist(), read.pixels, strict=True):
        joints = skeleton.positions[:, min(moment, skeleton.frames - 1)] * scale
        shown.append(draw_joints(frame, joints.astype(np.float32), layout))
    return shown


def draw_figures(
    skeleton: Skeleton, moments: Int[np.ndarray, " moments"], height: int
) -> Iterator[UInt8[np.ndarray, "h h 3"]]:
    """Draw joints alone, all frames at one scale; metres count upwards, pixels downwards.

    Args:
        skeleton: Joints of everyone; depth is left out.
        moments: Frames to draw.
        height: Side of each picture, in pixels.
    """
    flat = skeleton.positions[..., :2].astype(np.float64)
    if skeleton.space == "metres":
        flat = flat * np.array([1.0, -1.0])
    known = flat[np.isfinite(flat).all(axis=-1)]
    low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (np.zeros(2), np.ones(2))
    scale = 0.86 * height / max(float((high - low).max()), 1e-9)
    layout = get_layout(skeleton.layout)
    for moment in moments.tolist():
        joints = flat[:, min(moment, skeleton.frames - 1)]
        placed: Float[np.ndarray, "m v 2"] = (joints - (low + high) / 2) * scale + height / 2
        paper = np.full((height, height, 3), _PAPER, np.uint8)
        yield draw_joints(paper, placed.astype(np.float32), layout)
