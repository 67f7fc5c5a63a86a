"""What is done once for a clip, without chance: the people in order, no gaps, facing the camera."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from poselens.errors import SkeletonError, UsageError
from poselens.pose.layouts import Layout, require_joint_count

Positions = Float[np.ndarray, "m t v c"]


@dataclass(frozen=True, eq=False)
class ReadyClip:
    """A clip that is ready for a batch: each joint of a person is known in every frame, or in none.

    Attributes:
        positions: Frame after frame, so that clips can stand one behind the other; NaN where
            missing, and for an absent person.
        origin: See :func:`origin`.
        length: See :func:`bone_length`.
    """

    positions: Float[np.ndarray, "t m v c"]
    origin: Float[np.ndarray, " c"]
    length: float


def ready(
    positions: Positions,
    *,
    layout: Layout,
    people: int = 1,
    face: bool = False,
    vertical: int = 1,
) -> ReadyClip:
    """Order the people, trim, bridge gaps, and turn to the camera where asked.

    Args:
        positions: NaN where missing. People who are never seen go last; then extra ones are cut,
            and lacking ones are all NaN.
        layout: Layout of ``positions``.
        people: People in the result.
        face: Whether to turn the shoulders along x (3D).
        vertical: Index of the coordinate along the vertical (3D).

    Raises:
        SkeletonError: ``SKEL-004`` for a wrong joint count, ``SKEL-020`` for a clip without anyone.
        UsageError: ``CFG-047`` as :func:`face_camera`.
    """
    require_joint_count(positions.shape[2], layout)
    # a joint known in part is missing: one NaN coordinate must not survive as half a joint
    clip = np.where(_known(positions)[..., None], positions, np.float32(np.nan))
    clip = fill_gaps(trim(_seen_first(clip.astype(np.float32, copy=False))[:people]))
    if face:
        clip = face_camera(clip, layout, vertical=vertical)
    _, frames, joints, dimensions = clip.shape
    placed = np.full((frames, people, joints, dimensions), np.nan, dtype=np.float32)
    placed[:, : len(clip)] = clip.transpose(1, 0, 2, 3)
    return ReadyClip(placed, origin(clip, layout), bone_length(clip, layout))


def _known(positions: Positions) -> Bool[np.ndarray, "m t v"]:
    finite = np.isfinite(positions)
    known: Bool[np.ndarray, "m t v"] = finite[..., 0]
    # a reduction over an axis this short costs several times as much
    for axis in range(1, positions.shape[-1]):
        known = known & finite[..., axis]
    return known


def _seen_first(clip: Positions) -> Positions:
    """Move people who are never seen behind the others, so that they take nobody's place."""
    absent = np.isnan(clip[..., 0]).all(axis=(1, 2))
    return clip[np.argsort(absent, kind="stable")] if absent[:-1].any() else clip


def trim(positions: Positions) -> Float[np.ndarray, "m s v c"]:
    """Drop the frames before the first and after the last known joint of anybody.

    Raises:
        SkeletonError: ``SKEL-020`` when no joint is known in any frame.
    """
    seen = np.flatnonzero(_known(positions).any(axis=(0, 2)))
    if len(seen) == 0:
        raise SkeletonError(
            "SKEL-020",
            f"found no known joint in {positions.shape[1]} frames of {positions.shape[0]} people",
            mend="leave the clip out of skeleton streams",
        )
    return positions[:, seen[0] : seen[-1] + 1]


def fill_gaps(positions: Positions) -> Positions:
    """Interpolate each missing joint over time; before its first and after its last sight, hold it.

    A joint that is never seen stays NaN.
    """
    known = _known(positions)
    gaps = ~known & known.any(axis=1, keepdims=True)
    if not gaps.any():
        return positions
    frames = positions.shape[1]
    time = np.arange(frames)[None, :, None]
    before = np.maximum.accumulate(np.where(known, time, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, time, frames)[:, ::-1], axis=1)[:, ::-1]
    person, frame, joint = np.nonzero(gaps)
    left, right = before[gaps], after[gaps]
    left, right = np.where(left < 0, right, left), np.where(right == frames, left, right)
    share = ((frame - left) / np.maximum(right - left, 1)).astype(np.float32)[:, None]
    filled = positions.copy()
    filled[gaps] = (1 - share) * positions[person, left, joint] + (
        share * positions[person, right, joint]
    )
    return filled


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
    for person in positions:
        bones = person[:, joints] - person[:, parents]
        lengths = np.sqrt(np.einsum("tvc,tvc->tv", bones, bones))
        known = lengths[np.isfinite(lengths)]
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

    Raises:
        UsageError: ``CFG-047`` when the layout has no such shoulders.
    """
    if not {"left_shoulder", "right_shoulder"} <= set(layout.joints):
        raise UsageError(
            "CFG-047",
            f"layout {layout.name} has no left_shoulder and right_shoulder to turn to the camera",
            mend="--set input.face=false",
        )
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
