"""Training-time variation of joints; every function draws from the generator it is given."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from poselens.pose.layouts import Layout

Positions = Float[np.ndarray, "m t v c"]


def rotate(
    positions: Positions,
    *,
    limits: Sequence[float],
    about: Float[np.ndarray, " c"],
    rng: np.random.Generator,
) -> Positions:
    """Turn a clip as a whole by angles drawn within ``+-limits``.

    Args:
        positions: 3D or 2D.
        limits: Radians about x, y and z; in 2D one angle, in the plane.
        about: The point that stays.
        rng: Source of the angles.
    """
    angles = [float(rng.uniform(-limit, limit)) for limit in limits]
    turn = _turn_2d(angles[0]) if positions.shape[-1] == 2 else _turn_3d(angles)
    turned: Positions = (positions - about) @ turn.T.astype(positions.dtype) + about
    return turned


def scale(positions: Positions, *, limit: float, rng: np.random.Generator) -> Positions:
    """Stretch each axis by its own factor in ``[1 - limit, 1 + limit]``, about the origin."""
    factors = 1 + limit * (2 * rng.random(positions.shape[-1], dtype=np.float32) - 1)
    scaled: Positions = positions * factors
    return scaled


def jitter(positions: Positions, *, deviation: float, rng: np.random.Generator) -> Positions:
    """Add Gaussian noise, independent per coordinate, in the unit of the positions."""
    noise = rng.standard_normal(positions.shape, dtype=np.float32)
    moved: Positions = positions + np.float32(deviation) * noise
    return moved


def drop_joints(positions: Positions, *, share: float, rng: np.random.Generator) -> Positions:
    """Make a share of the joints missing, each for the whole clip and independently per person."""
    people, _, joints, _ = positions.shape
    lost = rng.random((people, 1, joints, 1)) < share
    return np.where(lost, np.float32(np.nan), positions)


def mirror(positions: Positions, layout: Layout) -> Positions:
    """Reflect a clip about x = 0 and swap left with right.

    Only for clips whose class survives it: see ``mirror`` of the data set.
    """
    swapped: Positions = positions[:, :, list(layout.mirror)].copy()
    swapped[..., 0] *= -1
    return swapped


def _turn_2d(angle: float) -> Float[np.ndarray, "2 2"]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _turn_3d(angles: Sequence[float]) -> Float[np.ndarray, "3 3"]:
    """Compose the turns about x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        single = np.eye(3)
        plane = [other for other in range(3) if other != axis]
        single[np.ix_(plane, plane)] = _turn_2d(angle)
        turn = single @ turn
    return turn
