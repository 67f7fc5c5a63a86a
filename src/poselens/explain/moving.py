r"""The number for Figure 3: how much of an attribution falls on the parts of the body that move.

The paper shows heat maps of three networks and says that one of them attends to the moving body.
Here that is a share, beside the share that chance would give.

**What moves.** The speed of joint v of person m at frame t is

.. math::
    u_{mtv} = \frac{\lVert x_{m,t+1,v} - x_{m,t-1,v} \rVert}{2},

one-sided where only one neighbour is known, unknown where neither is. Of the K entries (m, t, v)
whose speed is known, the moving ones are the fastest :math:`q K` that are not at rest:

.. math::
    S = \{(m, t, v) : u_{mtv} \ge u_{(\lceil qK \rceil)},\; u_{mtv} > 0\},

:math:`u_{(k)}` the k-th largest. The choice is over the whole clip: a frame in which nobody moves
has no moving body.

**Where it is.** A pixel is on the moving body where its centre is within r of a moving joint, or of
the bone between two joints that both move:

.. math::
    M_t = \{p : \min_{(m,t,v) \in S} \lVert p - x_{mtv} \rVert \le r\} \cup \text{bones}.

**The number.** For an attribution :math:`a \ge 0`,

.. math::
    \text{share} = \frac{\sum_t \sum_{p \in M_t} a_{tp}}{\sum_{tp} a_{tp}}, \qquad
    \text{chance} = \frac{\sum_t |M_t|}{T H W}, \qquad
    \text{ratio} = \frac{\text{share}}{\text{chance}}.

A map that is the same everywhere has share = chance, ratio 1. On skeletons the places are entries
(m, t, v) instead of pixels, and chance is :math:`|S|` over the number of known joints.

Departure: the paper has no such number. Joints in the picture, not a segmentation: data sets of
actions have joints, and hardly any has masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from poselens.errors import InputError, SkeletonError, UsageError

MOVING = 0.25
"""Share of the joints of a clip, over all frames, that count as moving."""


@dataclass(frozen=True)
class MovingShare:
    """How much of an attribution falls on the moving body.

    Attributes:
        share: In [0, 1].
        chance: The share of an attribution that is the same everywhere.
    """

    share: float
    chance: float

    @property
    def ratio(self) -> float:
        """How many times what chance gives, NaN where the moving body is outside the picture."""
        return self.share / self.chance if self.chance else float("nan")


def joint_speeds(joints: Float[np.ndarray, "m t v c"]) -> Float[np.ndarray, "m t v"]:
    """Return the speed of every joint in units per frame; NaN where it is not known.

    See the head of this file.

    Args:
        joints: NaN marks a missing joint.
    """
    known = np.isfinite(joints).all(axis=-1)
    held = np.pad(np.where(known[..., None], joints, 0.0), ((0, 0), (1, 1), (0, 0), (0, 0)))
    seen = np.pad(known, ((0, 0), (1, 1), (0, 0)))
    before, after = seen[:, :-2] & known, seen[:, 2:] & known
    # the neighbour where it is known, else the joint itself, one frame nearer
    here = held[:, 1:-1]
    first = np.where(before[..., None], held[:, :-2], here)
    last = np.where(after[..., None], held[:, 2:], here)
    apart = before.astype(int) + after
    speed = np.sqrt(((last - first) ** 2).sum(axis=-1)) / np.maximum(apart, 1)
    found: Float[np.ndarray, "m t v"] = np.where(apart > 0, speed, np.nan)
    return found


def moving_joints(
    speed: Float[np.ndarray, "m t v"], *, moving: float = MOVING
) -> Bool[np.ndarray, "m t v"]:
    """Return which joints move, and when: S at the head of this file; equal speeds go together.

    Args:
        speed: Of :func:`joint_speeds`; NaN is never moving.
        moving: Share of the entries of known speed, q.

    Raises:
        UsageError: ``EXP-033`` for a share that is not in (0, 1].
        SkeletonError: ``EXP-034`` for a clip in which nothing moves, or no speed is known.
    """
    if not 0 < moving <= 1:
        raise UsageError("EXP-033", f"found moving={moving}, expected a share in (0, 1]")
    known = speed[np.isfinite(speed)]
    if not (known > 0).any():
        raise SkeletonError(
            "EXP-034",
            f"found no moving joint among {len(known)} of known speed, expected one or more",
            mend="leave the clip out; look at its joints",
        )
    # 0.1 x 70 is 7.000000000000001, whose ceiling would be 8
    rank = max(int(np.ceil(moving * len(known) - 1e-9)), 1)
    slowest = np.partition(known, len(known) - rank)[len(known) - rank]
    with np.errstate(invalid="ignore"):
        chosen: Bool[np.ndarray, "m t v"] = (speed >= slowest) & (speed > 0)
    return chosen


def moving_body_share(
    attribution: Float[np.ndarray, "t h w"],
    joints: Float[np.ndarray, "m t v 2"],
    *,
    radius: float,
    moving: float = MOVING,
    speed: Float[np.ndarray, "m t v"] | None = None,
    bones: Sequence[tuple[int, int]] = (),
) -> MovingShare:
    """Return the share of an attribution of pixels that falls on the moving body.

    Equations at the head of this file.

    Args:
        attribution: A map per frame, not negative; its scale does not matter.
        joints: In pixels of the map, pixel i from i to i + 1; NaN marks a missing joint.
        radius: Of the discs and bones, in pixels of the map.
        moving: Share of the joints that count as moving.
        speed: Where the frames are some of a clip's, the speeds there, in any unit; None takes them
            from ``joints``.
        bones: Pairs of joints; between two that move, the bone counts too.

    Raises:
        UsageError: ``EXP-033`` shapes, radius or share that cannot be.
        InputError: ``EXP-035`` an attribution that is negative, not finite, or 0 everywhere.
        SkeletonError: ``EXP-034`` where nothing moves in these frames.
    """
    frames, height, width = attribution.shape
    if joints.shape[1] != frames or joints.shape[-1] != 2:
        raise UsageError(
            "EXP-033",
            f"found joints of shape {joints.shape} for a map of shape {attribution.shape}, "
            f"expected (people, {frames}, joints, 2)",
        )
    if not (np.isfinite(radius) and radius > 0):
        raise UsageError("EXP-033", f"found a radius of {radius}, expected a positive number")
    weights = _weights(attribution)
    chosen = _chosen(joints, speed, moving)
    body = np.stack(
        [
            moving_region(joints[:, t], chosen[:, t], size=(height, width), radius=radius,
                          bones=bones)
            for t in range(frames)
        ]
    )  # fmt: skip
    return MovingShare(_total(weights[body]), float(body.mean()))


def moving_region(
    joints: Float[np.ndarray, "m v 2"],
    chosen: Bool[np.ndarray, "m v"],
    *,
    size: tuple[int, int],
    radius: float,
    bones: Sequence[tuple[int, int]] = (),
) -> Bool[np.ndarray, "h w"]:
    """Return the pixels on the moving body in one frame: M at the head of this file.

    Args:
        joints: In pixels.
        chosen: Which of them move.
        size: ``(height, width)`` of the picture.
        radius: In pixels.
        bones: Pairs of joints.
    """
    body = np.zeros(size, dtype=bool)
    known = np.isfinite(joints).all(axis=-1) & chosen
    for person, there in zip(joints, known, strict=True):
        for joint in np.flatnonzero(there):
            _cover(body, person[joint], person[joint], radius)
        for first, second in bones:
            if there[first] and there[second]:
                _cover(body, person[first], person[second], radius)
    return body


def _cover(
    body: Bool[np.ndarray, "h w"],
    start: Float[np.ndarray, " 2"],
    end: Float[np.ndarray, " 2"],
    radius: float,
) -> None:
    """Mark the pixels whose centre is within a radius of a line from start to end."""
    height, width = body.shape
    low = np.minimum(start, end) - radius
    high = np.maximum(start, end) + radius
    # estimators place joints far outside the frame; only what is inside is looked at
    left, top = np.clip(np.floor(low), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(high), 0, (width, height)).astype(int)
    x = np.arange(left, right)[None, :] + 0.5
    y = np.arange(top, bottom)[:, None] + 0.5
    along = (end - start).astype(np.float64)
    length = float(along @ along)
    part = np.zeros((1, 1))
    if length > 0:
        part = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length, 0, 1)
    away = (x - start[0] - part * along[0]) ** 2 + (y - start[1] - part * along[1]) ** 2
    body[top:bottom, left:right] |= away <= radius**2


def moving_joint_share(
    attribution: Float[np.ndarray, "m t v"],
    joints: Float[np.ndarray, "m t v c"],
    *,
    moving: float = MOVING,
    speed: Float[np.ndarray, "m t v"] | None = None,
) -> MovingShare:
    """Return the share of an attribution of joints that falls on those that move.

    Args:
        attribution: As ``explain.joints`` returns it for one clip; what speaks against the class,
            and what lies on missing joints, does not count.
        joints: In the same frames, any unit; NaN marks a missing joint.
        moving: Share of the joints that count as moving.
        speed: As for :func:`moving_body_share`.

    Raises:
        UsageError: ``EXP-033`` shapes or share that cannot be.
        InputError: ``EXP-035`` an attribution that is not finite, or nowhere positive.
        SkeletonError: ``EXP-034`` where nothing moves.
    """
    if attribution.shape != joints.shape[:3]:
        raise UsageError(
            "EXP-033",
            f"found an attribution of shape {attribution.shape}, expected {joints.shape[:3]}",
        )
    known = np.isfinite(joints).all(axis=-1)
    # NaN must come through to be refused
    weights = _weights(np.where(known, np.where(attribution < 0, 0.0, attribution), 0.0))
    chosen = _chosen(joints, speed, moving) & known
    return MovingShare(_total(weights[chosen]), float(chosen.sum() / known.sum()))


def _weights(attribution: Float[np.ndarray, "*a"]) -> Float[np.ndarray, "*a"]:
    """Return the attribution in float64, its sum 1."""
    found = attribution.astype(np.float64)
    if not np.isfinite(found).all() or (found < 0).any():
        wrong = int((~np.isfinite(found) | (found < 0)).sum())
        raise InputError(
            "EXP-035",
            f"found {wrong} places that are negative or not finite, expected numbers from 0",
            mend="take the positive part of an attribution before",
        )
    total = found.sum()
    if total == 0:
        raise InputError(
            "EXP-035",
            "found an attribution that is 0 everywhere, expected something to share out",
            mend="leave the clip out: nothing speaks for the class",
        )
    weights: Float[np.ndarray, "*a"] = found / total
    return weights


def _total(weights: Float[np.ndarray, " p"]) -> float:
    """Return a sum of parts of 1, without the last digit that would make it more."""
    return min(float(weights.sum()), 1.0)


def _chosen(
    joints: Float[np.ndarray, "m t v c"],
    speed: Float[np.ndarray, "m t v"] | None,
    moving: float,
) -> Bool[np.ndarray, "m t v"]:
    found = joint_speeds(joints) if speed is None else speed
    if found.shape != joints.shape[:3]:
        raise UsageError(
            "EXP-033", f"found speeds of shape {found.shape}, expected {joints.shape[:3]}"
        )
    known = np.isfinite(joints).all(axis=-1)
    return moving_joints(np.where(known, found, np.nan), moving=moving)
