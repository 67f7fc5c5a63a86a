"""A clip as the RGB network sees it, beside the frames, times and joints it was made of."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from poselens.clips.assemble import VideoSource, choose_frames, read_video, rgb_input, video_source
from poselens.clips.augment import centre_view
from poselens.clips.crop import Placement
from poselens.clips.look import normalised
from poselens.clips.placing import input_placement, joints_in_input
from poselens.clips.stream import RgbInput
from poselens.clips.stretch import require_whole
from poselens.data.folder import ClipFolder
from poselens.data.video import probe, read_frames
from poselens.errors import AnnotationError
from poselens.types import Skeleton

LONGEST_SIDE = 640
"""Whole frames are read at this size at most."""


@dataclass(frozen=True, eq=False)
class SeenClip:
    """One clip, once, in the view of test.

    Attributes:
        id: Clip id.
        label: Class index, -1 unknown.
        source: Video and region.
        inputs: ``(t, 3, h, w)``, normalised: what the network is given.
        pictures: ``(s, h, w, 3)`` RGB: the frame of each segment, as the network is shown it; the
            middle one where a segment has several.
        frames: ``(s,)`` their index, counted from the clip's first frame.
        times: ``(s,)`` their moment in seconds from the start of the clip.
        placement: From frame pixels to those of ``pictures`` and of a map of attribution.
        frame_size: Height and width of the video's frames.
        joints: ``(m, s, v, 2)`` joints at these frames in pixels of ``pictures``; None without.
        skeleton: The clip's joints in pixels of the frame; None without.
    """

    id: str
    label: int
    source: VideoSource
    inputs: Float[Tensor, "t 3 h w"]
    pictures: UInt8[np.ndarray, "s h w 3"]
    frames: Int[np.ndarray, " s"]
    times: Float[np.ndarray, " s"]
    placement: Placement
    frame_size: tuple[int, int]
    joints: Float[np.ndarray, "m s v 2"] | None
    skeleton: Skeleton | None

    @property
    def shrink(self) -> float:
        """What the sides of whole frames are multiplied by when they are read."""
        return min(1.0, LONGEST_SIDE / max(self.frame_size))

    @property
    def shown_size(self) -> tuple[int, int]:
        """Height and width of the whole frames that are read."""
        height, width = self.frame_size
        return max(1, round(height * self.shrink)), max(1, round(width * self.shrink))

    @property
    def cut(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Corner (x, y) and (height, width) of what the network sees, in the shown frames."""
        where = self.placement
        down = self.shown_size[0] / self.frame_size[0]
        across = self.shown_size[1] / self.frame_size[1]
        corner = (where.left * across, where.top * down)
        return corner, (where.height * down, where.width * across)

    def whole_frames(self) -> UInt8[np.ndarray, "s fh fw 3"]:
        """Decode the whole frames that ``pictures`` were cut from, at `shown_size`."""
        return read_frames(
            self.source.path,
            (self.frames + self.source.first_frame).tolist(),
            size=self.shown_size,
        ).pixels


def see_clip(folder: ClipFolder, clip: int, settings: RgbInput) -> SeenClip:
    """Read one clip of a data set as a trained RGB stream sees it in evaluation.

    Raises:
        AnnotationError: ``DATA-026`` for a clip without a video; else as ``data.video``.
        VideoError: As ``data.video``; ``VID-019`` for a clip of which too little is there.
    """
    record = folder.record(clip)
    path = folder.video_path(clip)
    if path is None:
        raise AnnotationError("DATA-026", "the clip has no video", where=record.id)
    skeleton = folder.skeleton(clip, "pixels")
    source = video_source(path, skeleton, settings, start_s=record.start_s, end_s=record.end_s)
    require_whole(path, source.frames, source.promised)
    wanted = choose_frames(source.frames, settings, None)
    pixels = read_video(source, settings, wanted)
    view = centre_view(scale=settings.scale, size=settings.size)
    inputs = normalised(rgb_input(pixels, settings, view))
    per = len(wanted) // settings.segments
    middle = slice(per // 2, None, per)
    # as they look in the video, whatever the network is given of them
    plain = settings.model_copy(update={"snippet": "center", "background": "keep"})
    pictures = rgb_input(pixels[middle], plain, view).permute(0, 2, 3, 1).contiguous().numpy()
    frames = wanted[middle]
    placement = input_placement(source.region.box, settings)
    joints = None
    if skeleton is not None:
        joints = joints_in_input(skeleton.positions, frames, source.frames, placement)
    facts = probe(path)
    return SeenClip(
        id=record.id,
        label=record.label,
        source=source,
        inputs=inputs,
        pictures=pictures,
        frames=frames,
        times=frames / frame_rate(path, folder),
        placement=placement,
        frame_size=(facts.height, facts.width),
        joints=joints,
        skeleton=skeleton,
    )


def frame_rate(path: Path, folder: ClipFolder) -> float:
    """Return the frames a second of a clip: the file's, else the data set's, else 25."""
    return float(probe(path).fps or folder.info.fps or 25.0)
