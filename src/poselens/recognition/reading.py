"""From what a user gives, a video, joints or both, to a clip that the streams can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from poselens.clips.assemble import VideoSource, video_source
from poselens.clips.stream import RgbInput, RgbStream, SkeletonStream
from poselens.data.folder import open_folder
from poselens.data.keypoints import tool_of
from poselens.data.skeleton_file import read_skeleton
from poselens.data.video import count_frames, iterate_frames, probe
from poselens.errors import AnnotationError, SkeletonError, UsageError
from poselens.pose.declared import find_layout
from poselens.pose.estimators import PoseEstimator, estimate_clip
from poselens.types import Skeleton, Space

Origin = Literal["given", "estimated", "none"]

SHORT_CLIP = 8
"""Clips of fewer frames repeat some of them in the network's eight segments."""

_MISSING = 0.02  # share of the promised frames that may lack without a word
_LENGTHS_DIFFER = 0.02


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as the streams read it: a stretch of video, joints, or both.

    Attributes:
        name: For messages.
        source: Video and region, None for a skeleton alone.
        joints: Joints by space; empty where nobody was found, or nobody looked.
        pose: Where the joints came from.
        notes: What was found while reading, one sentence each.
    """

    name: str
    source: VideoSource | None
    joints: Mapping[Space, Skeleton]
    pose: Origin
    notes: Sequence[str] = ()

    @property
    def frames(self) -> int:
        """Frames of the video, or of the skeleton where there is no video."""
        if self.source is not None:
            return self.source.frames
        return max((joints.frames for joints in self.joints.values()), default=0)

    @property
    def coverage(self) -> float | None:
        """Share of frames with a person, in [0, 1]; None where nobody looked for one."""
        if self.pose == "none":
            return None
        return max((joints.coverage for joints in self.joints.values()), default=0.0)


def read_clip(
    streams: Sequence[RgbStream | SkeletonStream],
    video: Path | None,
    skeleton: Path | None,
    *,
    layout: str | None = None,
    estimator: PoseEstimator | None = None,
) -> Clip:
    """Find a clip's frames, joints and region, estimating joints where none are given.

    Args:
        streams: What the clip is read for.
        video: The video, or None.
        skeleton: A skeleton file, a data set folder that holds the video, or None.
        layout: Joint layout of a skeleton file that does not name its own, or the YAML file that
            declares it; that of the streams where left out.
        estimator: Finds joints in videos without any; None leaves them without.

    Raises:
        UsageError: ``RUN-003`` with neither a video nor a skeleton, or a folder without a video;
            as ``poselens.pose.declared.find_layout``.
        AnnotationError: ``RUN-007`` when the folder has no clip of the video, or several.
        VideoError: As ``poselens.data.video``.
        SkeletonError: As ``poselens.data.skeleton_file``.
    """
    if layout is not None:
        # declared before the file is read, which may name it
        layout = find_layout(layout).name
    if video is None and skeleton is None:
        raise UsageError("RUN-003", "no clip", mend="give a video, a skeleton file, or both")
    given, span = _given(skeleton, video, layout, _layout(streams))
    joints: Mapping[Space, Skeleton] = given or {}
    pose: Origin = "none" if given is None else "given"
    if given is None and video is not None and estimator is not None:
        # too many frames are refused before somebody is looked for in each of them
        count_frames(video)
        joints, pose = {"pixels": estimate_clip(estimator, iterate_frames(video))}, "estimated"
    settings = next((s.input for s in streams if isinstance(s, RgbStream)), None)
    if video is None:
        notes = [] if settings is None else ["rgb left out: no video"]
        return Clip(str(skeleton), None, joints, pose, notes)
    source = video_source(
        video,
        joints.get("pixels"),
        settings or RgbInput(crop=False),
        start_s=span[0],
        end_s=span[1],
    )
    looked = settings is not None and settings.crop
    return Clip(str(video), source, joints, pose, _findings(source, joints, looked=looked))


def _findings(
    source: VideoSource, joints: Mapping[Space, Skeleton], *, looked: bool
) -> Sequence[str]:
    """Say what a reader of the result has to know about the clip."""
    notes = []
    missing = source.promised - source.frames
    if missing > _MISSING * source.promised:
        notes.append(f"the file holds {source.frames} of {source.promised} promised frames")
    if looked and source.region.reason != "skeleton":
        notes.append(f"the whole frame was looked at ({source.region.reason})")
    if source.frames < SHORT_CLIP:
        notes.append(f"short clip: {source.frames} of {SHORT_CLIP} frames or more")
    known = next(iter(joints.values()), None)
    if known is not None:
        apart = abs(known.frames - source.frames)
        if apart > max(2, _LENGTHS_DIFFER * source.frames):
            notes.append(f"the skeleton has {known.frames} frames, the video {source.frames}")
    return notes


def _layout(streams: Sequence[RgbStream | SkeletonStream]) -> str | None:
    return next((s.layout for s in streams if isinstance(s, SkeletonStream)), None)


_Span = tuple[float | None, float | None]
_WHOLE_FILE: _Span = (None, None)


def _given(
    skeleton: Path | None, video: Path | None, layout: str | None, trained: str | None
) -> tuple[Mapping[Space, Skeleton] | None, _Span]:
    """Read a skeleton file, or look the video up in a data set folder."""
    if skeleton is None:
        return None, _WHOLE_FILE
    if skeleton.is_dir() and tool_of(skeleton) is None:
        return _in_folder(skeleton, video)
    try:
        return _read_file(skeleton, video, layout, trained), _WHOLE_FILE
    except SkeletonError as fault:
        if fault.code != "SKEL-010":
            raise
        return {}, _WHOLE_FILE


def _read_file(
    skeleton: Path, video: Path | None, layout: str | None, trained: str | None
) -> Mapping[Space, Skeleton]:
    """Read a file under the layout it names, else the one asked for, else that of the streams."""
    size, fallback = None, None
    try:
        return read_skeleton(skeleton)
    except SkeletonError as fault:
        if fault.code == "SKEL-064" and video is not None:
            # landmarks are shares of a picture, whose size the video knows
            seen = probe(video)
            size = (seen.height, seen.width)
        elif fault.code == "SKEL-006" and "does not name" in fault.message:
            fallback = layout or trained
        elif fault.code == "SKEL-062":
            # joints with names that no layout has are not those of the streams
            fallback = layout
        if size is None and fallback is None:
            raise
    return read_skeleton(skeleton, fallback, size=size)


def _in_folder(root: Path, video: Path | None) -> tuple[Mapping[Space, Skeleton] | None, _Span]:
    if video is None:
        raise UsageError(
            "RUN-003", "a data set folder needs a video to look up", file=root, mend="give a video"
        )
    folder, wanted = open_folder(root), video.resolve()
    paths = [folder.video_path(clip) for clip in range(len(folder))]
    clips = [clip for clip, path in enumerate(paths) if path and path.resolve() == wanted]
    if len(clips) != 1:
        found = f"{len(clips)} clips" if clips else "no clip"
        raise AnnotationError(
            "RUN-007",
            f"the data set has {found} of {video.name}, expected one",
            file=root,
            mend="give the data set that holds this video as one clip, or a skeleton file",
        )
    record = folder.record(clips[0])
    stored = {space: folder.skeleton(clips[0], space) for space in folder.info.skeletons}
    joints = {space: each for space, each in stored.items() if each is not None}
    return joints or None, (record.start_s, record.end_s)
