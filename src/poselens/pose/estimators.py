"""What an estimator of joints is, so that any can take the place of the one shipped."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

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


def estimate_clip(
    estimator: PoseEstimator,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    *,
    max_gap: int = 6,
    radius: int = 1,
) -> Skeleton:
    """Find joints, bridge gaps of up to ``max_gap`` frames and smooth over ``radius`` to each side.

    Departure: the paper says nothing of mending joints; gaps and jitter of a small model are worth
    this much.
    """
    found = estimator.estimate(frames).skeleton
    positions = smooth(fill_gaps(found.positions, max_gap), radius)
    return Skeleton(positions, found.layout, found.space)
