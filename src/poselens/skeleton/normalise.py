"""Bring bodies, cameras and units onto one footing before a network sees them."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from poselens.errors import UsageError
from poselens.pose.layouts import Layout

Positions = Float[np.ndarray, "m t v c"]

Footing = Literal["centre", "body", "range", "frame", "box", "none"]
"""How positions are normalised; see ``normalise``."""


def normalise(
    positions: Positions,
    *,
    layout: Layout,
    footing: Footing,
    frame_size: tuple[int, int] | None = None,
) -> Positions:
    """Move and scale a clip as a whole; movement between frames and people survives.

    ``centre``  origin at the centre joint of the first person's first frame, unit kept
    ``body``    the same, divided by the mean bone length of the first person
    ``range``   each coordinate from its least and largest value in the clip to [-1, 1] (NW-UCLA in
                the public CTR-GCN recipe)
    ``frame``   pixels: origin in the middle of the frame, divided by half its height
    ``box``     pixels: origin in the middle of the box over all joints and frames, divided by half
                its longer side
    ``none``    as they are

    Departure: ``frame`` divides both coordinates by half the height, so that a circle stays one;
    PYSKL divides each by its own half.

    Raises:
        UsageError: ``CFG-023`` for ``frame`` without a frame size.
    """
    if footing == "none":
        return positions
    if footing == "frame":
        middle, half = _middle_of_frame(frame_size)
    elif footing == "box":
        low, high = _extent(positions)
        middle, half = (low + high) / 2, (high - low).max() / 2
    elif footing == "range":
        low, high = _extent(positions)
        middle, half = (low + high) / 2, (high - low) / 2
    elif footing == "body":
        middle, half = origin(positions, layout), np.float32(bone_length(positions, layout))
    else:
        middle, half = origin(positions, layout), np.float32(1)
    # a clip of a single point, or flat along an axis, is moved there and not scaled
    footed: Positions = (positions - middle) / np.where(half > 0, half, np.float32(1))
    return footed


def _middle_of_frame(
    frame_size: tuple[int, int] | None,
) -> tuple[Float[np.ndarray, " c"], np.float32]:
    if frame_size is None:
        raise UsageError(
            "CFG-023",
            "found no frame size, expected (height, width) for the footing 'frame'",
            mend="give the size of the video, or use the footing 'box'",
        )
    height, width = frame_size
    return np.array([width / 2, height / 2], dtype=np.float32), np.float32(height / 2)


def origin(positions: Positions, layout: Layout) -> Float[np.ndarray, " c"]:
    """Return the centre joint where the first person shows it first.

    Departure: without any sight of the centre joint, the mean of all known joints.
    """
    for person in positions:
        centre = person[:, layout.centre]
        known = np.flatnonzero(np.isfinite(centre).all(axis=-1))
        if len(known):
            first: Float[np.ndarray, " c"] = centre[known[0]]
            return first
    mean: Float[np.ndarray, " c"] = np.nanmean(positions, axis=(0, 1, 2))
    return mean


def bone_length(positions: Positions, layout: Layout) -> float:
    """Return the mean length of the known bones of the first person who has any, else 0."""
    joints, parents = (list(side) for side in zip(*layout.edges, strict=True))
    lengths = np.linalg.norm(positions[:, :, joints] - positions[:, :, parents], axis=-1)
    for person in lengths:
        known = person[np.isfinite(person)]
        if len(known):
            return float(known.mean())
    return 0.0


def face_camera(positions: Positions, layout: Layout, *, vertical: int = 1) -> Positions:
    """Turn a 3D clip about the vertical axis until the first person's shoulders lie along x.

    The line from right to left shoulder is a mean over the frames in which the first person shows
    both: the depth of a single frame is too noisy. The clip turns about the first centre joint.
    Positions without such a line, or with a vertical one, come back as they are.

    Args:
        positions: Metres, or any unit.
        layout: Layout with ``left_shoulder`` and ``right_shoulder``.
        vertical: Index of the coordinate that points up or down.
    """
    left, right = layout.index("left_shoulder"), layout.index("right_shoulder")
    lines = positions[:, :, left] - positions[:, :, right]
    known = np.isfinite(lines).all(axis=-1)
    if not known.any():
        return positions
    person = int(np.argmax(known.any(axis=1)))
    along = lines[person, known[person]].mean(axis=0)
    first, second = (axis for axis in range(3) if axis != vertical)
    length = float(np.hypot(along[first], along[second]))
    if length == 0.0:
        return positions
    cosine, sine = along[first] / length, along[second] / length
    turn = np.eye(3, dtype=positions.dtype)
    turn[first, [first, second]] = cosine, sine
    turn[second, [first, second]] = -sine, cosine
    centre = origin(positions, layout)
    turned: Positions = (positions - centre) @ turn.T + centre
    return turned


def _extent(positions: Positions) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    return np.nanmin(positions, axis=(0, 1, 2)), np.nanmax(positions, axis=(0, 1, 2))
