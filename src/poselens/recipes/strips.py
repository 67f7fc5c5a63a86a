"""Frames of a clip side by side, with the joints that are known drawn on them."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray

from poselens.clips.crop import activity_region
from poselens.clips.stretch import find_stretch
from poselens.data.folder import ClipFolder
from poselens.data.video import read_frames
from poselens.errors import InputError
from poselens.evaluation.overlay import draw_joints
from poselens.pose.layouts import get_layout
from poselens.types import Box, Skeleton

STRIP_FRAMES = 6
STRIP_HEIGHT = 120
_PAPER = (246, 247, 249)


def clip_strip(folder: ClipFolder, clip: int) -> UInt8[np.ndarray, "h w 3"] | None:
    """Return a few frames of a clip from its first to its last, side by side.

    Of a video, the region that the people move in is shown, with the joints in pixels drawn on it.
    A clip without a video, or whose video cannot be read, is shown by its joints alone; None where
    it has none either.
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
    skeleton = folder.skeleton(clip, "pixels")
    if skeleton is not None and skeleton.frames == 0:
        skeleton = None
    try:
        found = find_stretch(path, start_s=record.start_s, end_s=record.end_s)
        box = _region(skeleton, (found.facts.height, found.facts.width))
        wanted = _moments(found.frames).tolist()
        size = (STRIP_HEIGHT, max(1, round(box.width * STRIP_HEIGHT / box.height)))
        read = read_frames(path, wanted, box=box, size=size, first_frame=found.first)
    except InputError:
        # the clip was scored a moment ago; a picture less does not spoil a report
        return None
    if skeleton is None:
        return list(read.pixels)
    layout = get_layout(skeleton.layout)
    corner = np.array([box.left, box.top])
    scale = np.array([size[1] / box.width, size[0] / box.height])
    shown = []
    for moment, frame in zip(wanted, read.pixels, strict=True):
        joints = (skeleton.positions[:, min(moment, skeleton.frames - 1)] - corner) * scale
        shown.append(draw_joints(frame, joints.astype(np.float32), layout))
    return shown


def _region(skeleton: Skeleton | None, size: tuple[int, int]) -> Box:
    """Return the region of the people, as an RGB network sees it, but no narrower than high."""
    joints = np.full((1, 1, 1, 2), np.nan, np.float32) if skeleton is None else skeleton.positions
    box = activity_region(joints[..., :2], frame_size=size).box
    wide = min(max(box.width, box.height), size[1])
    left = min(max((box.left + box.right - wide) // 2, 0), size[1] - wide)
    return Box(left, box.top, left + wide, box.bottom)


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
