"""The one door: a bundle and a clip in, class scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import softmax
from torch import Tensor

from poselens.clips.assemble import choose_frames, read_video, rgb_input, skeleton_input
from poselens.clips.augment import centre_view
from poselens.clips.device import choose_device
from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.errors import SkeletonError
from poselens.evaluation.unknown import UNKNOWN
from poselens.fusion.scores import fuse
from poselens.pose.convert import Conversion, complete_sources, conversion
from poselens.pose.estimators import PoseEstimator
from poselens.recognition.bundle import Bundle, fusion_of, load_bundle
from poselens.recognition.pose import choose_estimator
from poselens.recognition.reading import Clip, Origin, read_clip
from poselens.recognition.score import score_inputs
from poselens.types import Box, Scores, Skeleton

Status = Literal["ok", "no_person"]


@dataclass(frozen=True, eq=False)
class Recognition:
    """What a bundle says about one clip.

    Attributes:
        clip: The video, or the skeleton file, as given.
        status: ``ok``, or ``no_person`` when nobody was found.
        label: Class of the highest score, or ``unknown`` where that score is below the threshold of
            the bundle; None when nobody was found and no stream sees without.
        scores: Class to probability, fused; empty without a label.
        streams: Stream to its own class probabilities.
        person_coverage: Share of frames with a person, in [0, 1]; None where nobody looked.
        frames: Frames in the clip.
        pose: Where the joints came from: ``given``, ``estimated`` or ``none``.
        notes: What a reader of the result has to know, one sentence each.
        box: Region the RGB stream looked at, in frame pixels.
        joints: Joints in frame pixels, for drawing.
        best: Class of the highest score, whether it is named or not.
    """

    clip: str
    status: Status
    label: str | None
    scores: Mapping[str, float]
    streams: Mapping[str, Mapping[str, float]]
    person_coverage: float | None
    frames: int
    pose: Origin
    notes: Sequence[str] = field(default_factory=tuple)
    box: Box | None = None
    joints: Skeleton | None = None
    best: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "clip": self.clip,
            "status": self.status,
            "label": self.label,
            "score": max(self.scores.values(), default=None),
            "best": self.best,
            "scores": dict(self.scores),
            "streams": {name: dict(scores) for name, scores in self.streams.items()},
            "person_coverage": self.person_coverage,
            "frames": self.frames,
            "pose": self.pose,
            "notes": list(self.notes),
        }


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
        self._streams = [trained.stream for trained in bundle.streams]

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        pose: PoseEstimator | str | None = "auto",
    ) -> "Recognizer":
        """Read a bundle or a run.

        Args:
            folder: Made by ``poselens fuse`` or ``poselens train``.
            device: ``cpu``, ``cuda`` or ``auto``.
            pose: Finds joints in videos that come without: an estimator of one's own,
                ``movenet``, ``none``, or ``auto`` for MoveNet where its weights are in the cache.

        Raises:
            CheckpointError: As ``poselens.recognition.bundle``.
            EnvironmentFault: ``ENV-010`` when a GPU is asked for and none can be used.
        """
        estimator = choose_estimator(pose)[0] if isinstance(pose, str) else pose
        return cls(load_bundle(Path(folder), device=choose_device(device)), pose=estimator)

    def recognize(
        self,
        video: str | Path | None = None,
        *,
        skeleton: str | Path | None = None,
        layout: str | None = None,
    ) -> Recognition:
        """Score one clip, from its video, its skeleton, or both.

        Args:
            video: The video.
            skeleton: A skeleton file, or a data set folder that holds the video.
            layout: Joint layout of a skeleton file that does not name its own, or its YAML file.

        Raises:
            UsageError: ``RUN-003`` with neither a video nor a skeleton.
            VideoError: As ``poselens.data.video``.
            SkeletonError: As ``poselens.data.skeleton_file``; ``SKEL-012`` when no stream of the
                bundle can read what was given.
        """
        return self.score(self.read(video, skeleton=skeleton, layout=layout))

    def read(
        self,
        video: str | Path | None = None,
        *,
        skeleton: str | Path | None = None,
        layout: str | None = None,
    ) -> Clip:
        """Find a clip's frames, joints and region; raises as :meth:`recognize`."""
        return read_clip(
            self._streams,
            None if video is None else Path(video),
            None if skeleton is None else Path(skeleton),
            layout=layout,
            estimator=self._pose,
        )

    def score(self, clip: Clip) -> Recognition:
        """Score a clip with every stream that can read it.

        Raises:
            SkeletonError: ``SKEL-012`` when none can, though somebody may be there.
        """
        return self.course(clip, (1.0,))[0]

    def course(self, clip: Clip, shares: Sequence[float]) -> list[Recognition]:
        """Score growing prefixes of a clip, decoding the video once.

        A prefix before anybody appears has no label where only skeleton streams read the clip.

        Args:
            clip: As :meth:`read` returns it.
            shares: Shares of the clip's frames, ascending; the last one is 1.

        Raises:
            SkeletonError: ``SKEL-012`` as :meth:`score`.
        """
        notes = list(clip.notes)
        scored: list[list[Scores]] = [[] for _ in shares]
        for trained in self.bundle.streams:
            inputs, note = _inputs(trained.stream, clip, shares)
            if note is not None:
                notes.append(note)
            rows = [row for row, tensor in enumerate(inputs) if tensor is not None]
            tensors = [tensor for tensor in inputs if tensor is not None]
            if tensors:
                for row, scores in zip(
                    rows, score_inputs(trained, tensors, clip.name), strict=True
                ):
                    scored[row].append(scores)
        if not scored[-1] and clip.coverage != 0.0:
            raise self._unreadable(clip, notes)
        return [self._judge(clip, streams, notes) for streams in scored]

    def _judge(self, clip: Clip, scored: Sequence[Scores], notes: Sequence[str]) -> Recognition:
        streams = {scores.stream: _probabilities(scores) for scores in scored}
        fused: Mapping[str, float] = {}
        if scored:
            fused = _probabilities(fuse(scored, *fusion_of(self.bundle, list(streams))))
        best = max(fused, key=fused.__getitem__) if fused else None
        named, doubt = self._named(best, fused, len(streams))
        has_rgb = any(isinstance(stream, RgbStream) for stream in self._streams)
        return Recognition(
            clip=clip.name,
            status="no_person" if clip.coverage == 0.0 else "ok",
            label=named,
            scores=fused,
            streams=streams,
            person_coverage=clip.coverage,
            frames=clip.frames,
            pose=clip.pose,
            notes=tuple(dict.fromkeys([*notes, *doubt])),
            box=clip.source.region.box if clip.source is not None and has_rgb else None,
            joints=clip.joints.get("pixels"),
            best=best,
        )

    def _named(
        self, best: str | None, fused: Mapping[str, float], streams: int
    ) -> tuple[str | None, list[str]]:
        """Return what to call a clip, and what has to be known about it."""
        threshold = self.bundle.unknown
        if best is None or threshold is None:
            return best, []
        named = best if fused[best] >= threshold.value else UNKNOWN
        if streams == len(self._streams):
            return named, []
        return named, ["the threshold of unknown was chosen with all streams of the bundle"]

    def _unreadable(self, clip: Clip, notes: Sequence[str]) -> SkeletonError:
        branches = " or ".join(sorted({stream.branch for stream in self._streams}))
        mend = f"give what the streams were trained on: {branches}"
        if clip.pose == "none" and self._pose is None:
            mend += "; or let joints be estimated: poselens weights fetch movenet-lightning"
        return SkeletonError(
            "SKEL-012",
            "no stream of the bundle can read this clip: " + "; ".join(dict.fromkeys(notes)),
            file=clip.name,
            mend=mend,
        )


def _probabilities(scores: Scores) -> dict[str, float]:
    shares = softmax(scores.logits[0].astype(float)).tolist()
    return dict(zip(scores.classes, shares, strict=True))


def _inputs(
    stream: RgbStream | SkeletonStream, clip: Clip, shares: Sequence[float]
) -> tuple[list[Tensor | None], str | None]:
    """Return a stream's input for each prefix, and why it has none for the whole clip."""
    if isinstance(stream, RgbStream):
        return _rgb_inputs(stream, clip, shares), None
    joints, note, said = clip.joints.get(stream.input.space), None, None
    if joints is not None and joints.layout != stream.layout:
        plan = conversion(joints.layout, stream.layout)
        if plan.missing:
            note = _lacking(plan)
        else:
            said = f"{joints.layout} joints were converted to {stream.layout}"
            joints = Skeleton(plan(joints.positions), stream.layout, joints.space)
    if joints is None:
        found = ", ".join(clip.joints) or "none"
        note = f"it reads joints in {stream.input.space}, found {found}"
        if clip.coverage == 0.0:
            note = "nobody was found"
    elif note is None and joints.positions.shape[-1] != stream.dimensions:
        note = (
            f"it reads joints of {stream.dimensions} coordinates, "
            f"found {joints.positions.shape[-1]}"
        )
    elif note is None and joints.coverage == 0.0:
        note = "nobody was found"
    if joints is None or note is not None:
        return [None] * len(shares), f"{stream.name} left out: {note}"
    return [_skeleton_input(stream, joints, share) for share in shares], said


def _lacking(plan: Conversion) -> str:
    """Say which joints are missing, and of which layouts none would be."""
    found, wanted, missing = plan.source.name, plan.target.name, plan.missing
    named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    fitting = complete_sources(wanted)
    others = f"; {' or '.join(fitting)} would do" if fitting else ""
    return f"it reads {wanted} joints, found {found} without {named}{others}"


def _rgb_inputs(stream: RgbStream, clip: Clip, shares: Sequence[float]) -> list[Tensor | None]:
    source = clip.source
    if source is None:
        return [None] * len(shares)
    wanted = [
        choose_frames(max(1, round(share * source.frames)), stream.input, None) for share in shares
    ]
    every = np.concatenate(wanted)
    pixels = read_video(source, stream.input, every)
    view = centre_view(scale=stream.input.scale, size=stream.input.size)
    per = len(wanted[0])
    return [
        rgb_input(pixels[start : start + per], stream.input, view)
        for start in range(0, len(every), per)
    ]


def _skeleton_input(stream: SkeletonStream, joints: Skeleton, share: float) -> Tensor | None:
    frames = max(1, round(share * joints.frames))
    part = Skeleton(joints.positions[:, :frames], joints.layout, joints.space)
    return None if part.coverage == 0.0 else skeleton_input(part, stream.input)
