"""Joints over time: short gaps bridged, jitter taken off.

Both work on each joint of each person by itself and never invent a joint outside what was seen.
"""

from math import comb

import numpy as np
from jaxtyping import Float


def fill_gaps(
    positions: Float[np.ndarray, "m t v c"], max_gap: int
) -> Float[np.ndarray, "m t v c"]:
    """Interpolate linearly over gaps of at most ``max_gap`` missing frames.

    A gap is bridged only between two frames in which the joint is known: before the first and after
    the last, and in longer gaps, joints stay NaN. Known joints are returned as they came.

    Args:
        positions: NaN marks a missing joint.
        max_gap: Longest run of missing frames to fill; 0 fills none.
    """
    frames = positions.shape[1]
    known = np.isfinite(positions).all(axis=-1)
    time = np.arange(frames)[None, :, None]
    before = np.maximum.accumulate(np.where(known, time, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, time, frames)[:, ::-1], axis=1)[:, ::-1]
    bridged = ~known & (before >= 0) & (after < frames) & (after - before - 1 <= max_gap)
    person, frame, joint = np.nonzero(bridged)
    left, right = before[bridged], after[bridged]
    share = ((frame - left) / (right - left))[:, None]
    filled = positions.copy()
    filled[person, frame, joint] = (1 - share) * positions[person, left, joint] + (
        share * positions[person, right, joint]
    )
    return filled


def smooth(
    positions: Float[np.ndarray, "m t v c"], radius: int = 1
) -> Float[np.ndarray, "m t v c"]:
    """Average each joint over ``2 radius + 1`` frames with binomial weights (1 2 1 for radius 1).

    Missing neighbours carry no weight, the rest is normalised again; a missing joint stays missing.
    Towards the ends the window shrinks evenly on both sides, so that the average is not pulled
    inwards: a joint in uniform motion is left where it is.

    Args:
        positions: NaN marks a missing joint.
        radius: Frames to either side; 0 changes nothing.
    """
    frames = positions.shape[1]
    known = np.isfinite(positions).all(axis=-1)
    values = np.where(known[..., None], positions, 0.0).astype(np.float64)
    total = values * comb(2 * radius, radius)
    weight = known * float(comb(2 * radius, radius))
    for step in range(1, min(radius, (frames - 1) // 2) + 1):
        share = comb(2 * radius, radius + step)
        inner = slice(step, frames - step)
        earlier, later = slice(0, frames - 2 * step), slice(2 * step, frames)
        # a neighbour counts only with its opposite, or the average would lean to one side
        both = known[:, earlier] & known[:, later]
        total[:, inner] += share * both[..., None] * (values[:, earlier] + values[:, later])
        weight[:, inner] += 2 * share * both
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / weight[..., None]
    mean[~known] = np.nan
    return np.asarray(mean, positions.dtype)
