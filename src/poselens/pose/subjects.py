"""Which of the people in a clip are its subjects; the others are spectators and are left out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from poselens.errors import SkeletonError, UsageError
from poselens.pose.estimators import Pose
from poselens.pose.fill import smooth
from poselens.types import Skeleton

Rule = Literal["largest", "most-moving", "box", "all"]
LIMIT = 32
"""Most people of a clip that a skeleton may have."""

_INSIDE = 0.5


@dataclass(frozen=True)
class Subjects:
    """Who is kept.

    Attributes:
        rule: How people are ranked.
        people: How many are kept at most.
        box: ``(left, top, width, height)`` in pixels, for the rule ``box``.
    """

    rule: Rule = "largest"
    people: int = 1
    box: tuple[float, float, float, float] | None = None


def read_subjects(text: str, people: int) -> Subjects:
    """Read ``largest``, ``most-moving``, ``box=X,Y,W,H`` or ``all``.

    Raises:
        UsageError: ``POSE-004`` for another text or number of people.
    """
    if not 1 <= people <= LIMIT:
        raise UsageError("POSE-004", f"found {people} people, expected 1 to {LIMIT}")
    name, _, numbers = text.partition("=")
    if name == "largest" and not numbers:
        return Subjects("largest", people)
    if name == "most-moving" and not numbers:
        return Subjects("most-moving", people)
    if name == "all" and not numbers:
        return Subjects("all", people if people > 1 else LIMIT)
    if name == "box":
        try:
            left, top, width, height = (float(number) for number in numbers.split(","))
        except ValueError:
            left, top, width, height = (np.nan,) * 4
        if np.isfinite([left, top, width, height]).all() and width > 0 and height > 0:
            return Subjects("box", people, (left, top, width, height))
    raise UsageError(
        "POSE-004",
        f"found subject {text!r}, expected largest, most-moving, box=X,Y,WIDTH,HEIGHT or all",
    )


def choose(pose: Pose, subjects: Subjects) -> Pose:
    """Keep the subjects, the first by the rule first.

    ============  ==============================================================================
    largest       mean over all frames of the area of the box of the joints, 0 where not seen
    most-moving   length of the way of the joints (smoothed over 5 frames), in diagonals of the
                  person's own box, over all frames
    box           intersection over union with the box, mean over the frames seen; only people of
                  whose box at least half lies inside, on the mean of the frames seen
    all           as ``largest``
    ============  ==============================================================================

    Departure: all ours. Sums over all frames of the clip, and not means over those seen, let
    whoever is there throughout win over who passes by.

    Raises:
        SkeletonError: ``POSE-005`` when nobody is found, or nobody in the box.
    """
    positions = pose.skeleton.positions
    if not np.isfinite(positions).any():
        raise SkeletonError(
            "POSE-005", "nobody was found in the clip", mend="look at it; lower --min-score"
        )
    worth = worth_of(positions, subjects)
    order = [int(row) for row in np.argsort(-worth, kind="stable") if worth[row] > 0]
    if not order and subjects.rule == "box":
        raise SkeletonError(
            "POSE-005",
            f"nobody is in the box {subjects.box}: {len(positions)} people elsewhere",
            mend="give the box as left, top, width and height in pixels",
        )
    # people who stand still are subjects all the same
    kept = (order or list(range(len(positions))))[: subjects.people]
    skeleton = Skeleton(positions[kept], pose.skeleton.layout, pose.skeleton.space)
    return Pose(skeleton, pose.scores[kept])


def worth_of(
    positions: Float[np.ndarray, "m t v 2"], subjects: Subjects
) -> Float[np.ndarray, " m"]:
    """Return by how much the rule prefers each person; 0 is never kept."""
    boxes = _boxes(positions)
    seen = np.isfinite(boxes[..., 0])
    sides = np.where(seen[..., None], boxes[..., 2:] - boxes[..., :2], 0.0)
    if subjects.rule == "most-moving":
        return _way(positions, sides)
    if subjects.rule == "box" and subjects.box is not None:
        return _in_box(boxes, subjects.box)
    return np.asarray((sides.prod(axis=-1) + 1e-6 * seen).mean(axis=1))


def _boxes(positions: Float[np.ndarray, "m t v 2"]) -> Float[np.ndarray, "m t 4"]:
    known = np.isfinite(positions).all(axis=-1, keepdims=True)
    low = np.where(known, positions, np.inf).min(axis=2)
    high = np.where(known, positions, -np.inf).max(axis=2)
    boxes = np.concatenate([low, high], axis=-1)
    return np.where(known.any(axis=2), boxes, np.nan)


def _way(
    positions: Float[np.ndarray, "m t v 2"], sides: Float[np.ndarray, "m t 2"]
) -> Float[np.ndarray, " m"]:
    calm = smooth(positions, 2)
    steps = np.linalg.norm(np.diff(calm, axis=1), axis=-1)
    known = np.isfinite(steps)
    total = np.where(known, steps, 0.0).sum(axis=(1, 2)) / positions.shape[2]
    diagonals = np.linalg.norm(sides, axis=-1)
    there = diagonals > 0
    size = diagonals.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.asarray(total / np.maximum(size, 1.0))


def _in_box(
    boxes: Float[np.ndarray, "m t 4"], wanted: tuple[float, float, float, float]
) -> Float[np.ndarray, " m"]:
    left, top, width, height = wanted
    low = np.fmax(boxes[..., :2], (left, top))
    high = np.fmin(boxes[..., 2:], (left + width, top + height))
    seen = np.isfinite(boxes[..., 0])
    shared = np.where(seen, np.maximum(high - low, 0).prod(axis=-1), 0.0)
    own = np.where(seen, (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1), 0.0)
    frames = np.maximum(seen.sum(axis=1), 1)
    inside = (shared / np.maximum(own, 1e-6)).sum(axis=1) / frames
    union = (shared / (own + width * height - shared)).sum(axis=1) / frames
    return np.where(inside >= _INSIDE, union, 0.0)
