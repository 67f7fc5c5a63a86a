"""What the joints of one clip say about themselves: coverage, gaps, stillness, and their unit."""

import math
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float

from poselens.types import Space

MARGIN = 0.05
"""Share of the picture by which a joint may lie beyond its edge; estimators guess that far."""

Positions = Float[np.ndarray, "m t v c"]


@dataclass(frozen=True)
class JointFacts:
    """Numbers about the joints of one clip; NaN where nothing can be said.

    Attributes:
        frames: Frames stored.
        people: Most people seen in one frame.
        coverage: Share of the frames with anybody.
        missing: Share of the joints that are unknown where a person is seen.
        outside: Share of the known joints that lie more than ``MARGIN`` beyond the picture.
        frozen: Share of the steps in which a person's every joint stays exactly where it was.
        stuck: Joints that never move while others do.
        collapsed: Share of the people seen whose joints all lie in one point.
        size: Median over frames of a person's extent, in the unit stored.
        motion: Mean way of a joint from frame to frame, in sizes of the person.
        lowest: Smallest coordinate.
        highest: Largest coordinate.
    """

    frames: int
    people: int
    coverage: float
    missing: float
    outside: float
    frozen: float
    stuck: int
    collapsed: float
    size: float
    motion: float
    lowest: float
    highest: float

    def as_dict(self) -> dict[str, float]:
        """Return the same numbers by name."""
        return asdict(self)


def joint_facts(positions: Positions, picture: tuple[int, int] | None = None) -> JointFacts:
    """Look at the joints of one clip.

    Args:
        positions: NaN where missing.
        picture: Height and width of the upright frame, for joints in its pixels.
    """
    known = np.isfinite(positions).all(axis=-1)
    seen = known.any(axis=2)
    bodies, known_there = positions[seen], known[seen]
    extents = _extents(bodies, known_there)
    size = float(np.median(extents)) if len(extents) else math.nan
    frozen, motion, stuck = _movement(positions, known, size)
    values = positions[known]
    return JointFacts(
        frames=positions.shape[1],
        people=int(seen.sum(axis=0).max(initial=0)),
        coverage=float(seen.any(axis=0).mean()),
        missing=1 - float(known_there.mean()) if len(bodies) else math.nan,
        outside=math.nan if picture is None else _outside(values, picture),
        frozen=frozen,
        stuck=stuck,
        collapsed=float((extents == 0).mean()) if len(extents) else math.nan,
        size=size,
        motion=motion,
        lowest=float(values.min()) if len(values) else math.nan,
        highest=float(values.max()) if len(values) else math.nan,
    )


def _extents(
    bodies: Float[np.ndarray, "b v c"], known: Bool[np.ndarray, "b v"]
) -> Float[np.ndarray, " b"]:
    """Return the diagonal of the box about each body of two known joints or more."""
    several = known.sum(axis=1) > 1
    bodies, there = bodies[several].astype(np.float64), known[several][..., None]
    low = np.where(there, bodies, np.inf).min(axis=1)
    high = np.where(there, bodies, -np.inf).max(axis=1)
    extents: Float[np.ndarray, " b"] = np.linalg.norm(high - low, axis=-1)
    return extents


def _movement(
    positions: Positions, known: Bool[np.ndarray, "m t v"], size: float
) -> tuple[float, float, int]:
    """Return the share of frozen steps, the mean way in sizes, and the number of stuck joints."""
    both = known[:, 1:] & known[:, :-1]
    steps = np.linalg.norm(np.diff(positions.astype(np.float64), axis=1), axis=-1)
    steps = np.where(both, steps, 0)
    together = both.any(axis=2)
    if not together.any():
        return math.nan, math.nan, 0
    still = (steps == 0).all(axis=2)[together]
    ways = steps[both]
    motion = float(ways.mean()) / size if size > 0 else math.nan
    # a joint of a body that moves is stuck when no step of it in the clip has a length
    often = both.sum(axis=(0, 1)) > 1
    stuck = int((often & (steps.sum(axis=(0, 1)) == 0)).sum()) if ways.sum() > 0 else 0
    return float(still.mean()), motion, stuck


def _outside(values: Float[np.ndarray, "k c"], picture: tuple[int, int]) -> float:
    if len(values) == 0:
        return math.nan
    height, width = picture
    edge = np.array([width, height], dtype=np.float64)
    flat = values[:, :2]
    beyond = (flat < -MARGIN * edge) | (flat > (1 + MARGIN) * edge)
    return float(beyond.any(axis=1).mean())


def doubtful_unit(space: Space, facts: JointFacts) -> str | None:
    """Return the unit that joints seem to have where it is not that of their space, or None.

    A person in view measures 0.2 to 4 metres. Joints in pixels of a picture have bodies of more
    than 4 pixels.
    """
    size = facts.size
    if not size > 0:
        return None
    if space == "pixels":
        if size >= 4:
            return None
        inside = facts.lowest >= -0.5 and facts.highest <= 1.5
        return "shares of the picture (0 to 1)" if inside else "metres"
    if size > 15:
        smaller = "millimetres" if size > 400 else "centimetres"
        return f"pixels or {smaller}" if facts.lowest >= 0 else smaller
    if size < 0.02:
        return "kilometres, or scaled by 1/1000"
    return None
