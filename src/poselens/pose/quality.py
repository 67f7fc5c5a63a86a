"""How far estimated joints can be trusted, in three numbers a clip."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poselens.pose.estimators import Pose


@dataclass(frozen=True, slots=True)
class Quality:
    """What can be said of joints without knowing the truth.

    ``quality = confidence x coverage``, in [0, 1].

    Departure: ours. A confident joint now and then, and an unsure one in every frame, are both
    little worth; the product is low for either. Jitter stays apart: a quick movement has much of
    it and is no fault.

    Attributes:
        confidence: Mean score, in [0, 1], of the joints that were found.
        coverage: Share, in [0, 1], of joints found among all joints of all subjects and frames.
        jitter: Median size of ``x[t+1] - 2 x[t] + x[t-1]`` over joints and frames, in percent of
            the diagonal of the person's box; before smoothing. NaN where no joint is there three
            frames running.
    """

    confidence: float
    coverage: float
    jitter: float

    @property
    def quality(self) -> float:
        """Confidence times coverage."""
        return self.confidence * self.coverage


def quality_of(pose: Pose) -> Quality:
    """Judge joints as they were found, before gaps are bridged."""
    positions = pose.skeleton.positions.astype(np.float64)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(positions).all(axis=-1))
    if not known.any():
        return Quality(0.0, 0.0, float("nan"))
    shaken = np.linalg.norm(positions[:, 2:] - 2 * positions[:, 1:-1] + positions[:, :-2], axis=-1)
    low = np.where(known[..., None], positions, np.inf).min(axis=2)
    high = np.where(known[..., None], positions, -np.inf).max(axis=2)
    there: NDArray[np.bool_] = np.asarray(known.any(axis=2))
    diagonal = np.where(
        there, np.linalg.norm(np.where(there[..., None], high - low, 0), axis=-1), 0
    )
    sizes = diagonal.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    relative = (shaken / np.maximum(sizes, 1.0)[:, None, None])[np.isfinite(shaken)]
    return Quality(
        confidence=float(np.clip(pose.scores[known].mean(), 0, 1)),
        coverage=float(known.mean()),
        jitter=100 * float(np.median(relative)) if relative.size else float("nan"),
    )
