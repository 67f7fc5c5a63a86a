"""What an estimator of joints is, so that any can take the place of the one shipped."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from poselens.errors import UsageError
from poselens.pose.fill import fill_gaps, smooth
from poselens.types import Skeleton


@dataclass(frozen=True, eq=False)
class Pose:
    """Joints found in a clip, with the estimator's confidence.

    Attributes:
        skeleton: In pixels of the frames given; joints that were not found are NaN.
        scores: ``(m, t, v)`` confidence in [0, 1], also of the joints left out.
    """

    skeleton: Skeleton
    scores: Float[np.ndarray, "m t v"]


class PoseEstimator(Protocol):
    """Finds joints in consecutive frames of one clip."""

    @property
    def layout(self) -> str:
        """Name of the joint layout of what is found."""
        ...

    def estimate(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Pose:
        """Find the joints in upright RGB frames of one size, in order of time."""
        ...


class PersonDetector(Protocol):
    """Finds the people in one frame, not their joints."""

    def detect(self, frame: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "n 5"]:
        """Return ``(left, top, right, bottom, score)`` of each person, in pixels."""
        ...


class JointNetwork(Protocol):
    """Finds the joints of the person in a box."""

    @property
    def layout(self) -> str:
        """Name of the joint layout of what is found."""
        ...

    def find(
        self, frame: UInt8[np.ndarray, "h w 3"], boxes: Float[np.ndarray, "n 4"]
    ) -> Float[np.ndarray, "n v 3"]:
        """Return ``(x, y, score)`` of the joints of the person in each box, in pixels."""
        ...


def require_pictures(
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Pass frames on, one at a time, and refuse what is no picture.

    Raises:
        UsageError: ``POSE-001`` for no frames, ``POSE-002`` for frames that are no pictures.
    """
    empty = True
    for frame in frames:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise UsageError(
                "POSE-002", f"expected (h, w, 3) uint8 frames, found {frame.shape} {frame.dtype}"
            )
        empty = False
        yield frame
    if empty:
        raise UsageError("POSE-001", "no frames to look for joints in")


def estimate_clip(
    estimator: PoseEstimator,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    *,
    max_gap: int = 6,
    radius: int = 1,
) -> Skeleton:
    """Find joints and mend them, see ``mended``."""
    return mended(estimator.estimate(frames).skeleton, max_gap=max_gap, radius=radius)


def mended(found: Skeleton, *, max_gap: int = 6, radius: int = 1) -> Skeleton:
    """Bridge gaps of up to ``max_gap`` frames and smooth over ``radius`` frames to each side.

    Departure: the paper says nothing of mending joints; gaps and jitter of a small model are worth
    this much.
    """
    positions = smooth(fill_gaps(found.positions, max_gap), radius)
    return Skeleton(positions, found.layout, found.space)
