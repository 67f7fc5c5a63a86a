"""From a clip of any length to the frames that the network sees."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from poselens.errors import SkeletonError

Positions = Float[np.ndarray, "m t v c"]
Sampled = Float[np.ndarray, "m s v c"]


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
