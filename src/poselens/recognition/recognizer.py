"""The one door: a bundle and a clip in, class scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scipy.special import softmax
from torch import Tensor

from poselens.clips.assemble import (
    VideoSource,
    choose_frames,
    read_video,
    rgb_input,
    skeleton_input,
    video_source,
)
from poselens.clips.augment import centre_view
from poselens.clips.device import choose_device
from poselens.clips.stream import RgbInput, RgbStream
from poselens.data.folder import open_folder
from poselens.data.skeleton_file import read_skeleton
from poselens.data.video import iterate_frames
from poselens.errors import SkeletonError, UsageError
from poselens.fusion.scores import fuse
from poselens.pose.estimators import PoseEstimator, estimate_clip
from poselens.recognition.bundle import Bundle, load_bundle
from poselens.recognition.score import score_one
from poselens.recognition.streams import TrainedStream
from poselens.types import Box, Scores, Skeleton, Space

Status = Literal["ok", "no_person"]

SHORT_CLIP = 8
"""Clips of fewer frames repeat some of them in the network's eight segments."""


@dataclass(frozen=True, eq=False)
class Recognition:
    """What a bundle says about one clip.

    Attributes:
        clip: The video, or the skeleton file, as given.
        status: ``ok``, or ``no_person`` when nobody was found.
        label: Class of the highest score.
        scores: Class to probability, fused.
        streams: Stream to its own class probabilities.
        person_coverage: Share of frames with a person, in [0, 1]; None without any skeleton.
        frames: Frames in the clip.
        pose: Where the joints came from: ``given``, ``estimated`` or ``none``.
        notes: What a reader of the result has to know, one sentence each.
        box: Region the RGB stream looked at, in frame pixels.
        joints: Joints in frame pixels, for drawing.
    """

    clip: str
    status: Status
    label: str
    scores: Mapping[str, float]
    streams: Mapping[str, Mapping[str, float]]
    person_coverage: float | None
    frames: int
    pose: Literal["given", "estimated", "none"]
    notes: Sequence[str] = field(default_factory=tuple)
    box: Box | None = None
    joints: Skeleton | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "clip": self.clip,
            "status": self.status,
            "label": self.label,
            "score": self.scores[self.label],
            "scores": dict(self.scores),
            "streams": {name: dict(scores) for name, scores in self.streams.items()},
            "person_coverage": self.person_coverage,
            "frames": self.frames,
            "pose": self.pose,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as the streams read it: a stretch of video, joints, or both.

    Attributes:
        name: For messages.
        source: Video and region, None for a skeleton alone.
        joints: Joints by space.
        pose: Where the joints came from.
        notes: What was found while reading.
    """

    name: str
    source: VideoSource | None
    joints: Mapping[Space, Skeleton]
    pose: Literal["given", "estimated", "none"]
    notes: Sequence[str]

    @property
    def frames(self) -> int:
        """Frames of the video, or of the skeleton where there is no video."""
        if self.source is not None:
            return self.source.frames
        return next(iter(self.joints.values())).frames


class Recognizer:
    """Recognises actions with a bundle.

    Example::

        recognition = Recognizer.load("bundle").recognize("vault.mp4")
        recognition.label, recognition.scores

    Args:
        bundle: Trained streams and their fusion.
        pose: Estimates joints where none are given; None leaves the skeleton streams out then.
    """

    def __init__(self, bundle: Bundle, *, pose: PoseEstimator | None = None) -> None:
        self.bundle = bundle
        self._pose = pose

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "auto", pose: PoseEstimator | None = None
    ) -> "Recognizer":
        """Read a bundle or a run.

        Raises:
            CheckpointError: As ``poselens.recognition.bundle``.
            EnvironmentFault: ``ENV-010`` when a GPU is asked for and none can be used.
        """
        return cls(load_bundle(Path(folder), device=choose_device(device)), pose=pose)

    def recognize(
        self, video: str | Path | None = None, *, skeleton: str | Path | None = None
    ) -> Recognition:
        """Score one clip, from its video, its skeleton file, or both.

        Raises:
            UsageError: ``RUN-003`` with neither a video nor a skeleton.
            VideoError: As ``poselens.data.video``.
            SkeletonError: As ``poselens.data.skeleton_file``; ``SKEL-012`` for joints that no
                stream of the bundle reads, when there is no video either.
        """
        return self.score(self.read(video, skeleton=skeleton))

    def read(self, video: str | Path | None = None, *, skeleton: str | Path | None = None) -> Clip:
        """Find a clip's frames, joints and region, estimating joints where none are given."""
        if video is None and skeleton is None:
            raise UsageError("RUN-003", "no clip", mend="give a video, a skeleton file, or both")
        notes: list[str] = []
        joints: Mapping[Space, Skeleton] = {}
        pose: Literal["given", "estimated", "none"] = "none"
        if skeleton is not None:
            joints, pose = self._given(Path(skeleton), video), "given"
        elif video is not None and self._pose is not None:
            joints, pose = {"pixels": estimate_clip(self._pose, iterate_frames(video))}, "estimated"
        if video is None:
            return Clip(str(skeleton), None, joints, pose, ("no video: skeleton streams only",))
        settings = next(
            (t.stream.input for t in self.bundle.streams if isinstance(t.stream, RgbStream)), None
        )
        source = video_source(Path(video), joints.get("pixels"), settings or RgbInput())
        if source.promised is not None and source.frames < 0.98 * source.promised:
            notes.append(f"the file holds {source.frames} of {source.promised} promised frames")
        if source.region.reason != "skeleton":
            notes.append(f"the whole frame was looked at ({source.region.reason})")
        if source.frames < SHORT_CLIP:
            notes.append(f"short clip: {source.frames} of {SHORT_CLIP} frames or more")
        known = next(iter(joints.values()), None)
        if known is not None and abs(known.frames - source.frames) > max(2, 0.02 * source.frames):
            notes.append(f"the skeleton has {known.frames} frames, the video {source.frames}")
        return Clip(str(video), source, joints, pose, notes)

    def score(self, clip: Clip, *, until: float = 1.0) -> Recognition:
        """Score a clip, or its first ``until`` share, with every stream that can read it."""
        notes = list(clip.notes)
        coverage = max((s.coverage for s in clip.joints.values()), default=None)
        scored: list[Scores] = []
        for trained in self.bundle.streams:
            inputs = self._inputs(trained, clip, until, notes)
            if inputs is not None:
                scored.append(score_one(trained, inputs, clip.name))
        if not scored:
            raise SkeletonError(
                "SKEL-012",
                "no stream of the bundle can read this clip: " + "; ".join(dict.fromkeys(notes)),
                file=clip.name,
                mend="give what the streams were trained on: "
                + ", ".join(sorted({t.stream.branch for t in self.bundle.streams})),
            )
        fusion = self.bundle.fusion
        names = [scores.stream for scores in scored]
        fused = fuse(
            scored,
            {name: fusion.weights[name] for name in names},
            {name: fusion.temperatures[name] for name in names},
        )
        table = {
            scores.stream: dict(
                zip(scores.classes, softmax(scores.logits[0].astype(float)).tolist(), strict=True)
            )
            for scores in [*scored, fused]
        }
        scores = table.pop(fused.stream)
        return Recognition(
            clip=clip.name,
            status="no_person" if clip.pose != "none" and not coverage else "ok",
            label=max(scores, key=scores.__getitem__),
            scores=scores,
            streams=table,
            person_coverage=coverage,
            frames=clip.frames,
            pose=clip.pose,
            notes=tuple(dict.fromkeys(notes)),
            box=None if clip.source is None else clip.source.region.box,
            joints=clip.joints.get("pixels"),
        )

    def _inputs(
        self, trained: TrainedStream, clip: Clip, until: float, notes: list[str]
    ) -> Tensor | None:
        stream = trained.stream
        if isinstance(stream, RgbStream):
            if clip.source is None:
                return None
            frames = max(1, round(until * clip.source.frames))
            pixels = read_video(
                clip.source, stream.input, choose_frames(frames, stream.input, None)
            )
            view = centre_view(scale=stream.input.scale, size=stream.input.size)
            return rgb_input(pixels, stream.input, view)
        joints = clip.joints.get(stream.input.space)
        if joints is None:
            found = ", ".join(clip.joints) or "none"
            notes.append(
                f"{stream.name} left out: it reads joints in {stream.input.space}, found {found}"
            )
            return None
        if joints.layout != stream.layout:
            notes.append(
                f"{stream.name} left out: it reads {stream.layout} joints, found {joints.layout}"
            )
            return None
        frames = max(1, round(until * joints.frames))
        part = Skeleton(joints.positions[:, :frames], joints.layout, joints.space)
        if part.coverage == 0.0:
            notes.append(f"{stream.name} left out: nobody was found")
            return None
        return skeleton_input(part, stream.input, None, None)

    def _layout(self) -> str | None:
        for trained in self.bundle.streams:
            if not isinstance(trained.stream, RgbStream):
                return trained.stream.layout
        return None

    def _given(self, skeleton: Path, video: str | Path | None) -> Mapping[Space, Skeleton]:
        """Read a skeleton file, or look the video up in a data set folder."""
        if not skeleton.is_dir():
            return read_skeleton(skeleton, layout=self._layout())
        if video is None:
            raise UsageError("RUN-003", "a data set folder needs a video to look up", file=skeleton)
        folder, wanted = open_folder(skeleton), Path(video).resolve()
        for clip in range(len(folder)):
            path = folder.video_path(clip)
            if path is not None and path.resolve() == wanted:
                found = {space: folder.skeleton(clip, space) for space in folder.info.skeletons}
                return {space: joints for space, joints in found.items() if joints is not None}
        raise UsageError(
            "RUN-007",
            f"the data set has no clip of {Path(video).name}",
            file=skeleton,
            mend="give the data set that holds this video, or a skeleton file",
        )
