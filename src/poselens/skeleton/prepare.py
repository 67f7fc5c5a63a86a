"""From the stored skeleton of one clip to the array that goes into a batch."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from poselens.pose.layouts import Layout, require_joint_count
from poselens.skeleton import augment, sampling
from poselens.skeleton.normalise import Footing, face_camera, normalise, origin

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
    clip = sampling.fill_gaps(sampling.trim(_seen_first(clip)[:people]))
    if face:
        clip = face_camera(clip, layout, vertical=vertical)
    if rng is not None and rotation:
        clip = augment.rotate(clip, limits=rotation, about=origin(clip, layout), rng=rng)
    clip = normalise(clip, layout=layout, footing=footing, frame_size=frame_size)
    if sample == "crop":
        clip = sampling.crop_and_resize(clip, window=window, interval=interval, rng=rng)
    elif sample == "uniform":
        clip = sampling.uniform_sample(clip, window=window, rng=rng)
    else:
        clip = sampling.resize(clip, window)
    if mirrored:
        clip = augment.mirror(clip, layout)
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
        clip = augment.scale(clip, limit=scaling, rng=rng)
    if noise:
        clip = augment.jitter(clip, deviation=noise, rng=rng)
    if dropped:
        clip = augment.drop_joints(clip, share=dropped, rng=rng)
    return clip
