"""Joints of one clip, estimated and written: the work of a child process.

A child starts anew after every clip that ended one, so nothing here loads torch.
"""

import io
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from poselens.data.disk import write_replacing
from poselens.data.video import iterate_frames, probe
from poselens.errors import disk_fault
from poselens.pose.estimators import mended
from poselens.pose.quality import quality_of
from poselens.pose.subjects import Subjects, choose
from poselens.recognition.pose import Opened

NUMBERS = ("quality", "confidence", "coverage", "jitter")
_PER_FOLDER = 1000


class OpensEstimator(Protocol):
    """What says which estimator is meant, such as ``recognition.pose.EstimatorChoice``.

    Hashable, and able to be pickled, since children open their own.
    """

    def __hash__(self) -> int: ...

    def open(self) -> Opened:
        """Load the networks."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return what decides about the joints found."""
        ...


@dataclass(frozen=True)
class PoseJob:
    """How joints are estimated, mended and chosen.

    Attributes:
        choice: The estimator.
        subjects: Who is kept.
        max_gap: Missing frames that are bridged.
        radius: Frames to each side over which joints are smoothed.
    """

    choice: OpensEstimator
    subjects: Subjects = field(default_factory=Subjects)
    max_gap: int = 6
    radius: int = 1

    def facts(self) -> dict[str, Any]:
        """Return what decides about the result."""
        return {
            **self.choice.facts(),
            "subject": asdict(self.subjects),
            "max_gap": self.max_gap,
            "radius": self.radius,
        }


@dataclass(frozen=True, slots=True)
class PoseItem:
    """One clip to look at, for a child process."""

    clip: int
    id: str
    video: Path
    start_s: float | None = None
    end_s: float | None = None

    def span(self) -> tuple[int, int | None]:
        """Return the first frame and how many; None for all that follow.

        Raises:
            VideoError: ``VID-001`` to ``VID-013``.
        """
        if self.start_s is None and self.end_s is None:
            return 0, None
        fps = probe(self.video).fps
        first = 0 if self.start_s is None else round(self.start_s * fps)
        return first, None if self.end_s is None else max(round(self.end_s * fps) - first, 1)


def pose_clip(job: PoseJob, work: Path, item: PoseItem) -> dict[str, Any]:
    """Estimate the joints of one clip, write them, and return its record; for a child process.

    Raises:
        InputError, UsageError: When the clip cannot be used; ``POSE-005`` when nobody is in it.
        EnvironmentFault, CheckpointError: When nothing can.
    """
    # before it is read: a video that changes meanwhile is read again next time
    stamp = stamp_of(item.video)
    began = time.perf_counter()
    first, frames = item.span()
    pictures = iterate_frames(item.video, first_frame=first, frames=frames)
    everybody = opened(job.choice).estimator.estimate(pictures)
    pose = choose(everybody, job.subjects)
    quality = quality_of(pose)
    joints = mended(pose.skeleton, max_gap=job.max_gap, radius=job.radius).positions
    write_part(work, item.clip, joints, pose.scores)
    numbers = {name: getattr(quality, name) for name in NUMBERS}
    return {
        **record_of(item, stamp),
        "status": "posed",
        "frames": int(joints.shape[1]),
        "people": int(joints.shape[0]),
        "found": int(np.isfinite(everybody.skeleton.positions).any(axis=(1, 2, 3)).sum()),
        "seconds": round(time.perf_counter() - began, 3),
        **{
            name: round(value, 5) if np.isfinite(value) else None for name, value in numbers.items()
        },
    }


@lru_cache(maxsize=1)
def opened(choice: OpensEstimator) -> Opened:
    """Return the estimator of this process, opened once.

    Raises:
        EnvironmentFault, CheckpointError, UsageError: When it cannot be.
    """
    return choice.open()


def record_of(item: PoseItem, stamp: tuple[int, int]) -> dict[str, Any]:
    """Return what every record of a clip has: which, and the video as it was when it was read."""
    return {"clip": item.clip, "id": item.id, "size": stamp[0], "mtime_ns": stamp[1]}


def stamp_of(video: Path) -> tuple[int, int]:
    """Return size and time of change of a video, zeros where there is none."""
    try:
        found = video.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def part_path(work: Path, clip: int) -> Path:
    """Return where the joints of a clip lie."""
    return work / "parts" / f"{clip // _PER_FOLDER:05d}" / f"{clip:08d}.npz"


def write_part(
    work: Path, clip: int, pixels: Float[np.ndarray, "m t v 2"], scores: Float[np.ndarray, "m t v"]
) -> None:
    """Write the joints of a clip so that they are there whole or not at all.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    path = part_path(work, clip)
    content = io.BytesIO()
    np.savez(content, pixels=pixels.astype(np.float32), scores=scores.astype(np.float32))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise disk_fault(fault, path) from fault
    write_replacing(path, content.getvalue())
