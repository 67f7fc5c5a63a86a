"""How alike two poses are: object key point similarity, and overlap of boxes."""

import numpy as np
from jaxtyping import Bool, Float

GENERIC_SIGMA = 0.07
"""For joints of layouts whose annotators' spread nobody published: between COCO's wrist and hip."""

_COCO = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip


def sigmas_of(layout: str, joints: int) -> Float[np.ndarray, " v"]:
    """Return each joint's spread between annotators, as a share of the person's size.

    Source: https://cocodataset.org/#keypoints-eval for ``coco-17``. Departure: 0.07 for every joint
    of other layouts.
    """
    if layout == "coco-17":
        return np.array(_COCO)
    return np.full(joints, GENERIC_SIGMA)


def square_size(poses: Float[np.ndarray, "n v c"]) -> Float[np.ndarray, " n"]:
    """Return the square of each person's size: a quarter of the box's squared diagonal.

    Departure: COCO takes the area of the outline. A box seen edge-on has hardly any area, though
    the person is as large as before; its diagonal stays. For an upright person both are about
    alike.
    """
    known = np.isfinite(poses).all(axis=-1, keepdims=True)
    low = np.where(known, poses, np.inf).min(axis=1)
    high = np.where(known, poses, -np.inf).max(axis=1)
    return (
        np.where(known.any(axis=(1, 2)), np.square(np.maximum(high - low, 0)).sum(axis=-1), 0) / 4
    )


def oks(
    first: Float[np.ndarray, "n v c"],
    second: Float[np.ndarray, "m v c"],
    size: Float[np.ndarray, " n"],
    sigmas: Float[np.ndarray, " v"],
) -> Float[np.ndarray, "n m"]:
    """Return object key point similarity of every pair, in [0, 1].

    ``sum_v exp(-d_v^2 / (2 s^2 (2 sigma_v)^2)) / w`` over the joints known in both, where ``w`` is
    the number of joints known in the one that shows fewer.

    Departure: COCO averages over the annotated joints; here neither side is the truth, and a pose
    that shares two joints of ten is not alike because those two agree.

    Args:
        first: Joints, NaN where missing.
        second: Joints of the others.
        size: Square of each first one's size, ``s^2``.
        sigmas: Spread of each joint.
    """
    both = _both_known(first, second)
    apart = np.square(np.nan_to_num(first[:, None] - second[None])).sum(axis=-1)
    spread = np.maximum(size, 1e-6)[:, None, None] * np.square(2 * sigmas)
    alike = np.where(both, np.exp(-apart / (2 * spread)), 0.0).sum(axis=-1)
    known_first, known_second = (
        np.isfinite(one).all(axis=-1).sum(axis=1) for one in (first, second)
    )
    fewer = np.minimum(known_first[:, None], known_second[None])
    return np.asarray(alike / np.maximum(fewer, 1))


def overlap(
    first: Float[np.ndarray, "n v c"], second: Float[np.ndarray, "m v c"]
) -> Float[np.ndarray, "n m"]:
    """Return intersection over union of the boxes of the joints known in both, for every pair.

    Joints that only one side shows would make one box larger, which says nothing about the place.
    """
    both = _both_known(first, second)[..., None]
    low, high = [], []
    for poses in (
        np.broadcast_to(first[:, None], (*both.shape[:3], first.shape[-1])),
        second[None],
    ):
        low.append(np.where(both, poses, np.inf).min(axis=2))
        high.append(np.where(both, poses, -np.inf).max(axis=2))
    # a pixel more on every side: a person of one known joint has a box as well
    edges = [(np.maximum(*low), np.minimum(*high)), (low[0], high[0]), (low[1], high[1])]
    with np.errstate(invalid="ignore"):
        shared, one, other = (
            np.maximum(top - bottom + 1e-3, 0).prod(axis=-1) for bottom, top in edges
        )
        found = shared / (one + other - shared)
    return np.where(both.any(axis=(2, 3)), found, 0.0)


def _both_known(
    first: Float[np.ndarray, "n v c"], second: Float[np.ndarray, "m v c"]
) -> Bool[np.ndarray, "n m v"]:
    known = [np.isfinite(poses).all(axis=-1) for poses in (first, second)]
    return np.asarray(known[0][:, None] & known[1][None])


def without_duplicates(
    poses: Float[np.ndarray, "n v c"],
    worth: Float[np.ndarray, " n"],
    sigmas: Float[np.ndarray, " v"],
    limit: float,
) -> list[int]:
    """Return which poses to keep where several are of one person: the worthiest of each.

    A pose is dropped that is more than ``limit`` alike, by ``oks``, to one that is worth more.

    Returns:
        Positions in ``poses``, the worthiest first.
    """
    size = square_size(poses)
    alike = oks(poses, poses, size, sigmas)
    alike = np.maximum(alike, alike.T)
    kept: list[int] = []
    for candidate in np.argsort(-worth, kind="stable").tolist():
        if all(alike[candidate, other] <= limit for other in kept):
            kept.append(candidate)
    return kept
