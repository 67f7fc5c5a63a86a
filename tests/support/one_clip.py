"""Preparation one clip at a time, in numpy: the oracle of the batched preparation.

Written before it, and trained with; kept as it was, so that the two can be compared. ``rng`` may be
:class:`Given`, which hands out numbers that were chosen instead of drawing them. The origin
and facing the camera are not batched and have tests of their own; they are the package's.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from poselens.errors import SkeletonError, UsageError
from poselens.pose.layouts import Layout, require_joint_count
from poselens.skeleton.ready import face_camera, origin

Positions = Float[np.ndarray, "m t v c"]
Sampled = Float[np.ndarray, "m s v c"]


class Given:
    """Stands for a generator, and hands out what a sample's draws say.

    Args:
        uniform: Numbers that ``uniform`` returns one after another, whatever its limits.
        place: Where a crop starts, 0 to 1.
        random: Arrays that ``random`` returns one after another.
    """

    def __init__(self, uniform=(), place=0.0, random=()):
        self._uniform = deque(float(number) for number in uniform)
        self._place = place
        self._random = deque(random)

    def uniform(self, _low, _high):
        return self._uniform.popleft()

    def integers(self, above):
        return int(np.floor(self._place * above))

    def random(self, _shape, dtype=np.float64):
        return np.asarray(self._random.popleft(), dtype)


def trim(positions: Positions) -> Sampled:
    """Drop the frames before the first and after the last known joint of anybody.

    Raises:
        SkeletonError: ``SKEL-020`` when no joint is known in any frame.
    """
    seen = np.flatnonzero(np.isfinite(positions).all(axis=-1).any(axis=(0, 2)))
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
    known = np.isfinite(positions).all(axis=-1)
    people, _, joints = np.nonzero(~known)
    if len(people) == 0:
        return positions
    filled = positions.copy()
    frames = np.arange(positions.shape[1])
    for person, joint in sorted(set(zip(people.tolist(), joints.tolist(), strict=True))):
        here = known[person, :, joint]
        if not here.any():
            filled[person, :, joint] = np.nan
            continue
        for axis in range(positions.shape[-1]):
            filled[person, ~here, joint, axis] = np.interp(
                frames[~here], frames[here], positions[person, here, joint, axis]
            )
    return filled


def crop_and_resize(
    positions: Positions,
    *,
    window: int = 64,
    interval: Sequence[float] = (0.95,),
    rng: np.random.Generator | None = None,
) -> Sampled:
    """Keep a share of the frames and interpolate it linearly to ``window`` frames.

    With ``rng`` the share is drawn from ``interval`` and its place is random; without, it is the
    largest of ``interval`` and lies in the middle. Published training draws from (0.5, 1) and
    tests at 0.95 (CTR-GCN, after Chen et al. 2021).

    Departure: first and last frame of the share are kept exactly, so that no motion is 0 at the
    ends; the share may be shorter than the window.
    """
    frames = positions.shape[1]
    low, high = min(interval), max(interval)
    share = high if rng is None else float(rng.uniform(low, high))
    kept = min(max(round(share * frames), 1), frames)
    spare = frames - kept
    start = spare // 2 if rng is None else int(rng.integers(spare + 1))
    return resize(positions[:, start : start + kept], window)


def resize(positions: Positions, window: int) -> Sampled:
    """Interpolate linearly over time to ``window`` frames, first and last included."""
    frames = positions.shape[1]
    if frames == window:
        return positions
    at = np.linspace(0.0, frames - 1, window)
    before = np.minimum(at.astype(np.int64), max(frames - 2, 0))
    after = np.minimum(before + 1, frames - 1)
    weight = (at - before).astype(positions.dtype)[:, None, None]
    between: Sampled = positions[:, before] * (1 - weight) + positions[:, after] * weight
    return between


def uniform_sample(
    positions: Positions, *, window: int = 64, rng: np.random.Generator | None = None
) -> Sampled:
    """Split the clip into ``window`` equal parts and take one frame of each.

    With ``rng`` a random frame of each part, without the middle one. Clips shorter than the window
    repeat frames, in order. Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022.
    """
    frames = positions.shape[1]
    edges = np.linspace(0.0, frames, window + 1)
    inside = 0.5 if rng is None else rng.random(window)
    chosen = np.floor(edges[:-1] + inside * (edges[1:] - edges[:-1])).astype(np.int64)
    taken: Sampled = positions[:, np.clip(chosen, 0, frames - 1)]
    return taken


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


def bone_length(positions: Positions, layout: Layout) -> float:
    """Return the mean length of the known bones of the first person who has any, else 0."""
    joints, parents = (list(side) for side in zip(*layout.edges, strict=True))
    lengths = np.linalg.norm(positions[:, :, joints] - positions[:, :, parents], axis=-1)
    for person in lengths:
        known = person[np.isfinite(person)]
        if len(known):
            return float(known.mean())
    return 0.0


def _extent(positions: Positions) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    return np.nanmin(positions, axis=(0, 1, 2)), np.nanmax(positions, axis=(0, 1, 2))


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


Sampling = Literal["crop", "uniform", "resize"]


def prepare(
    positions: Float[np.ndarray, "m t v c"],
    *,
    layout: Layout,
    people: int = 1,
    window: int = 64,
    sample: Sampling = "crop",
    interval: Sequence[float] = (0.95,),
    footing: Footing = "centre",
    frame_size: tuple[int, int] | None = None,
    face: bool = False,
    vertical: int = 1,
    rotation: Sequence[float] = (),
    scaling: float = 0.0,
    noise: float = 0.0,
    dropped: float = 0.0,
    mirrored: bool = False,
    rng: np.random.Generator | None = None,
) -> Float[np.ndarray, "c s v p"]:
    """Trim, fill, turn, normalise, sample and vary the joints of one clip.

    In this order: leading and trailing frames without anybody go; gaps are filled over time; the
    clip may be turned to face the camera, is turned at random, normalised, brought to ``window``
    frames, then mirrored, stretched, jittered and thinned. What is still missing, and an absent
    person, is NaN in the result; the network reads it as 0 after the stream has been formed.

    Args:
        positions: NaN where missing. People who are never seen go last; then extra ones are cut,
            and lacking ones are all NaN.
        layout: Layout of ``positions``.
        people: People in the result.
        window: Frames in the result.
        sample: ``crop`` (``crop_and_resize``), ``uniform`` (``uniform_sample``) or ``resize``.
        interval: Share of the frames that ``crop`` keeps.
        footing: See ``normalise.normalise``.
        frame_size: ``(height, width)`` in pixels, for the footing ``frame``.
        face: Whether to turn the shoulders along x (3D).
        vertical: Index of the coordinate along the vertical (3D).
        rotation: Largest random turn in radians about x, y, z, or in the plane (2D); empty: none.
        scaling: Largest relative stretch per axis.
        noise: Standard deviation of the jitter, in normalised units.
        dropped: Share of joints dropped.
        mirrored: Whether to mirror; decide by the class and a coin of your own.
        rng: Source of everything random; None prepares for testing, without any variation.

    Raises:
        SkeletonError: ``SKEL-004`` for a wrong joint count, ``SKEL-020`` for a clip without anyone.
        UsageError: ``CFG-023`` for the footing ``frame`` without a frame size.
    """
    require_joint_count(positions.shape[2], layout)
    # a joint known in part is missing: one NaN coordinate must not survive as half a joint
    whole = np.isfinite(positions).all(axis=-1, keepdims=True)
    clip = np.where(whole, positions, np.float32(np.nan)).astype(np.float32)
    clip = fill_gaps(trim(_seen_first(clip)[:people]))
    if face:
        clip = face_camera(clip, layout, vertical=vertical)
    if rng is not None and rotation:
        clip = rotate(clip, limits=rotation, about=origin(clip, layout), rng=rng)
    clip = normalise(clip, layout=layout, footing=footing, frame_size=frame_size)
    if sample == "crop":
        clip = crop_and_resize(clip, window=window, interval=interval, rng=rng)
    elif sample == "uniform":
        clip = uniform_sample(clip, window=window, rng=rng)
    else:
        clip = resize(clip, window)
    if mirrored:
        clip = mirror(clip, layout)
    if rng is not None:
        clip = _vary(clip, scaling=scaling, noise=noise, dropped=dropped, rng=rng)
    result = np.full((people, *clip.shape[1:]), np.nan, dtype=np.float32)
    result[: len(clip)] = clip
    return np.ascontiguousarray(result.transpose(3, 1, 2, 0))


def _seen_first(clip: Float[np.ndarray, "m t v c"]) -> Float[np.ndarray, "m t v c"]:
    """Move people who are never seen behind the others, so that they take nobody's place."""
    absent = ~np.isfinite(clip).any(axis=(1, 2, 3))
    return clip[np.argsort(absent, kind="stable")]


def _vary(
    clip: Float[np.ndarray, "m t v c"],
    *,
    scaling: float,
    noise: float,
    dropped: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "m t v c"]:
    if scaling:
        clip = scale(clip, limit=scaling, rng=rng)
    if noise:
        clip = jitter(clip, deviation=noise, rng=rng)
    if dropped:
        clip = drop_joints(clip, share=dropped, rng=rng)
    return clip
