"""Joints as a failing estimator would give them: missing, in part or for a while, or shaken.

Every function takes a generator and draws as much from it whatever the severity, so that the same
generator gives nested masks: what is missing at 10 % is missing at 20 %, and noise only grows.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from poselens.pose.layouts import Layout

Positions = Float[np.ndarray, "m t v c"]

BODY_TO_TORSO = 0.3
"""Length of a torso as a share of the body's largest extent, where no joint says it."""

_ARM = {"elbow", "wrist", "hand", "arm", "thumb", "pinky", "index"}
_LEG = {"knee", "ankle", "foot", "heel", "toe", "toes", "leg"}


def drop_joints(positions: Positions, share: float, rng: np.random.Generator) -> Positions:
    """Lose each joint of each frame by itself, with a probability of ``share``."""
    return _without(positions, rng.random(positions.shape[:3]) < share)


def drop_frames(positions: Positions, share: float, rng: np.random.Generator) -> Positions:
    """Lose each person of each frame whole, with a probability of ``share``."""
    lost = rng.random(positions.shape[:2]) < share
    return _without(positions, np.broadcast_to(lost[..., None], positions.shape[:3]))


def drop_limbs(
    positions: Positions, share: float, layout: Layout, rng: np.random.Generator
) -> Positions:
    """Lose each limb of each person for one stretch of ``share`` of the frames, each at its time.

    Departure: a stretch of ``n`` of ``t`` frames begins at ``floor(u (t - n))`` with u uniform in
    [0, 1), so that it lies inside that of any larger share.
    """
    people, frames = positions.shape[:2]
    parts = limbs(layout)
    place = rng.random((people, len(parts)))
    length = round(share * frames)
    first = np.floor(place * (frames - length)).astype(np.int64)
    time = np.arange(frames)
    lost = np.zeros(positions.shape[:3], dtype=bool)
    for limb, joints in enumerate(parts):
        start = first[:, limb, None]
        lost[:, :, list(joints)] |= ((time >= start) & (time < start + length))[..., None]
    return _without(positions, lost)


def _without(positions: Positions, lost: Bool[np.ndarray, "m t v"]) -> Positions:
    return np.where(lost[..., None], np.float32(np.nan), positions).astype(np.float32, copy=False)


def limbs(layout: Layout) -> list[tuple[int, ...]]:
    """Return the joints of each arm from the elbow on, and of each leg from the knee on.

    Departure: shoulders and hips count as the trunk. Of a layout without such names, the branches
    that hang from its centre are taken.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for joint, (name, side) in enumerate(zip(layout.joints, layout.sides, strict=True)):
        words = set(name.split("_"))
        # MediaPipe's foot_index is no finger
        part = "leg" if words & _LEG else "arm" if words & _ARM else ""
        if part and side != "middle":
            found.setdefault((side, part), []).append(joint)
    if not found:
        for joint in range(len(layout)):
            if joint != layout.centre:
                found.setdefault(("branch", str(_branch(layout, joint))), []).append(joint)
    return [tuple(joints) for joints in found.values()]


def _branch(layout: Layout, joint: int) -> int:
    """Return the child of the centre that a joint hangs from."""
    while layout.parents[joint] != layout.centre:
        joint = layout.parents[joint]
    return joint


def shake(
    positions: Positions,
    deviation: Float[np.ndarray, " m"] | float,
    rng: np.random.Generator,
) -> Positions:
    """Add white Gaussian noise to every coordinate, of a standard deviation for each person.

    Departure: the noise of one frame says nothing about the next; real estimators err for several
    frames together, which a network notices less.
    """
    # always of three axes: x and y are shaken alike in pixels and in metres
    noise = rng.standard_normal((*positions.shape[:3], 3))[..., : positions.shape[3]]
    wide = np.broadcast_to(np.asarray(deviation, np.float64), positions.shape[:1])
    shaken = positions + wide[:, None, None, None] * noise
    return shaken.astype(np.float32)


def torso_lengths(positions: Positions, layout: Layout) -> Float[np.ndarray, " m"]:
    """Return the distance from shoulders to hips of each person, in the unit of the positions.

    It is the median over the frames. Whoever does not show it has the median of the others.

    Departure: joints count as shoulders and hips by their names. Where none are named so, or none
    is seen, it is 0.3 of the largest extent of the body (median over the frames); 0 for a clip
    without anybody.
    """
    lengths = np.full(len(positions), np.nan)
    upper, lower = (_named(layout, word) for word in ("shoulder", "hip"))
    for person, joints in enumerate(positions):
        if upper and lower:
            line = joints[:, upper].mean(axis=1) - joints[:, lower].mean(axis=1)
            lengths[person] = _median(np.sqrt((line**2).sum(axis=-1)))
        if not np.isfinite(lengths[person]):
            lengths[person] = BODY_TO_TORSO * _median(_extents(joints))
    others = _median(lengths)
    return np.where(np.isfinite(lengths), lengths, others if np.isfinite(others) else 0.0)


def _named(layout: Layout, word: str) -> list[int]:
    return [
        joint
        for joint, name in enumerate(layout.joints)
        if any(part in (word, f"{word}s") for part in name.split("_"))
    ]


def _extents(joints: Float[np.ndarray, "t v c"]) -> Float[np.ndarray, " t"]:
    """Return the largest side of the body's box in each frame, NaN without two joints."""
    known = np.isfinite(joints).all(axis=-1, keepdims=True)
    low = np.where(known, joints, np.inf).min(axis=1)
    high = np.where(known, joints, -np.inf).max(axis=1)
    extent: Float[np.ndarray, " t"] = (high - low).max(axis=-1)
    return np.where(extent > 0, extent, np.nan)


def _median(values: Float[np.ndarray, " n"]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def hold_frames(frames: Int[np.ndarray, "*n"], every: int) -> Int[np.ndarray, "*n"]:
    """Return which frame is seen in the place of each, when one in ``every`` is kept and held."""
    held: Int[np.ndarray, "*n"] = frames // every * every
    return held
