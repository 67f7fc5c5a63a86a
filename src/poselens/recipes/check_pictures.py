"""Small pictures of clips for the page of a check: one of each class, and strips of copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from poselens.data.children import in_children
from poselens.data.folder import ClipFolder
from poselens.errors import PoselensError
from poselens.evaluation.check_page import Tile
from poselens.evaluation.overlay import draw_joints
from poselens.pose.layouts import get_layout
from poselens.recipes.check_rules import Facts
from poselens.recipes.strips import draw_figures
from poselens.types import Box

TILE_HEIGHT, STRIP_HEIGHT = 200, 90
STRIP_FRAMES = 5
CLASSES_SHOWN, GROUPS_SHOWN, CLIPS_OF_A_GROUP = 100, 20, 4
_MOST_WIDE = 3.0


@dataclass(frozen=True)
class _Wanted:
    """Frames of one video to read, at their small size."""

    clip: int
    video: Path
    frames: tuple[int, ...]
    box: Box
    size: tuple[int, int]


def _read(wanted: _Wanted) -> NDArray[np.uint8]:
    from poselens.data.video import read_frames

    return np.asarray(
        read_frames(wanted.video, wanted.frames, box=wanted.box, size=wanted.size).pixels
    )


def class_gallery(facts: Facts, workers: int | None = None) -> list[Tile]:
    """Return the middle frame of a clip of each class, with joints drawn where they are known.

    Of each class the first clip that can be read, and in which somebody is seen, is shown.
    """
    folder = facts.folder
    usable = (facts.columns.fault < 0) & ~(facts.worst("coverage") == 0)
    usable &= (facts["frames"] > 0) | (facts.worst("frames") > 0)
    chosen = []
    for label in range(min(len(folder.info.classes), CLASSES_SHOWN)):
        clips = np.flatnonzero((folder.labels == label) & usable)
        if len(clips):
            chosen.append(int(clips[0]))
    shown = _pictures(facts, chosen, 1, TILE_HEIGHT, workers)
    classes = folder.info.classes
    return [
        Tile(shown[clip], classes[folder.labels[clip]], str(folder.ids[clip]))
        for clip in chosen
        if clip in shown
    ]


def copy_strips(
    facts: Facts, groups: Sequence[Sequence[int]], workers: int | None = None
) -> list[list[Tile]]:
    """Return a strip of frames for the first clips of the first groups."""
    folder = facts.folder
    some = [list(group[:CLIPS_OF_A_GROUP]) for group in groups[:GROUPS_SHOWN]]
    clips = [clip for group in some for clip in group]
    shown = _pictures(facts, clips, STRIP_FRAMES, STRIP_HEIGHT, workers)
    names = [*folder.info.classes, "no label"]
    return [
        [
            Tile(shown[clip], str(folder.ids[clip]), names[folder.labels[clip]])
            for clip in group
            if clip in shown
        ]
        for group in some
    ]


def _pictures(
    facts: Facts, clips: Sequence[int], count: int, height: int, workers: int | None
) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
    """Return the pictures of each clip side by side; clips that cannot be read are left out."""
    moments = {clip: _moments(_frames(facts, clip), count) for clip in clips}
    found: dict[int, UInt8[np.ndarray, "h w 3"]] = {}
    filmed = [clip for clip in clips if np.isfinite(facts["video_height"][clip])]
    # a strip shows the whole picture, a single one the person
    tasks = (_wanted(facts, clip, moments[clip], height, whole=count > 1) for clip in filmed)
    for task, pixels in in_children(_read, tasks, file_of=lambda task: task.video, workers=workers):
        if not isinstance(pixels, PoselensError):
            drawn = _with_joints(facts.folder, task, moments[task.clip], pixels)
            found[task.clip] = np.concatenate(drawn, axis=1)
    for clip in clips:
        if clip not in found and clip not in filmed:
            skeleton = facts.folder.skeleton(clip, "pixels") or facts.folder.skeleton(
                clip, "metres"
            )
            assert skeleton is not None
            figures = list(draw_figures(skeleton, moments[clip], height))
            found[clip] = np.concatenate(figures, axis=1)
    return found


def _frames(facts: Facts, clip: int) -> int:
    frames = facts["frames"][clip]
    return int(frames if frames > 0 else facts.worst("frames")[clip])


def _moments(frames: int, count: int) -> NDArray[np.int64]:
    """Return the middle frame of each of ``count`` equal stretches."""
    middles: NDArray[np.int64] = ((np.arange(count) + 0.5) * frames / count).astype(np.int64)
    return middles.clip(0, max(frames - 1, 0))


def _wanted(
    facts: Facts, clip: int, moments: NDArray[np.int64], height: int, *, whole: bool
) -> _Wanted:
    path = facts.folder.video_path(clip)
    assert path is not None
    start, fps = facts.start_s[clip], facts["video_fps"][clip]
    first = 0 if np.isnan(start) else round(float(start) * float(fps))
    frame = Box(0, 0, int(facts["video_width"][clip]), int(facts["video_height"][clip]))
    box = frame if whole else _about_people(facts.folder, clip, moments, frame)
    width = max(round(height * min(box.width / box.height, _MOST_WIDE)), 1)
    return _Wanted(clip, path, tuple((moments + first).tolist()), box, (height, width))


def _about_people(folder: ClipFolder, clip: int, moments: NDArray[np.int64], frame: Box) -> Box:
    """Return a box of the picture's own shape about the joints, with as much around them.

    The whole picture where no joint is known, or one lies outside.
    """
    skeleton = folder.skeleton(clip, "pixels")
    if skeleton is None:
        return frame
    joints = skeleton.positions[:, moments.clip(0, skeleton.frames - 1)]
    known = joints[np.isfinite(joints).all(axis=-1)]
    if len(known) == 0:
        return frame
    size = np.array([frame.width, frame.height], dtype=np.float64)
    low, high = known.min(axis=0), known.max(axis=0)
    if (low < 0).any() or (high > size).any():
        # joints beyond the edge may be in the wrong place altogether
        return frame
    share = float(np.clip(1.8 * ((high - low) / size).max(), 0.35, 1.0))
    corner = ((low + high) / 2 - share * size / 2).clip(0, (1 - share) * size).astype(int)
    left, top = corner.tolist()
    wide, tall = np.maximum((share * size).astype(int), 1).tolist()
    return Box(left, top, left + wide, top + tall)


def _with_joints(
    folder: ClipFolder, task: _Wanted, moments: NDArray[np.int64], pixels: NDArray[np.uint8]
) -> list[UInt8[np.ndarray, "h w 3"]]:
    skeleton = folder.skeleton(task.clip, "pixels")
    if skeleton is None:
        return list(pixels)
    layout, box = get_layout(skeleton.layout), task.box
    scale = np.array([pixels.shape[2] / box.width, pixels.shape[1] / box.height])
    shown = []
    for moment, frame in zip(moments.tolist(), pixels, strict=True):
        joints = skeleton.positions[:, min(moment, skeleton.frames - 1)]
        placed = (joints - np.array([box.left, box.top])) * scale
        shown.append(draw_joints(frame, placed.astype(np.float32), layout))
    return shown
