"""Scenes of walking people with known identities, for trackers: drawn joints, no pictures.

People of one size walk straight across a picture with swinging limbs and cross each other's ways.
What a detector would give is the joints with noise, some poses missing, some joints missing, and
somebody who is behind somebody else not found at all.
"""

from dataclasses import dataclass

import numpy as np

# upright body of height 1, joints of coco-17, x to the right and y down
_BODY = np.array(
    [
        (0.00, 0.08), (0.02, 0.06), (-0.02, 0.06), (0.04, 0.07), (-0.04, 0.07),
        (0.10, 0.20), (-0.10, 0.20), (0.12, 0.35), (-0.12, 0.35), (0.13, 0.48),
        (-0.13, 0.48), (0.07, 0.52), (-0.07, 0.52), (0.07, 0.75), (-0.07, 0.75),
        (0.07, 0.97), (-0.07, 0.97),
    ]
)  # fmt: skip
_SWING = np.zeros(17)
_SWING[[7, 9, 13, 15]] = (0.05, 0.10, 0.06, 0.12)
_SWING[[8, 10, 14, 16]] = (-0.05, -0.10, -0.06, -0.12)


@dataclass(frozen=True)
class Scene:
    """Poses of each frame in a shuffled order, and who each is."""

    frames: list[np.ndarray]
    names: list[np.ndarray]
    truth: np.ndarray


def scene(
    seed: int,
    *,
    people: int = 2,
    length: int = 90,
    noise: float = 0.015,
    dropout: float = 0.1,
    occlusion: float = 0.5,
) -> Scene:
    """Draw one scene; ``noise`` is a share of the body's height."""
    draw = np.random.default_rng((11, seed))
    truth = np.stack([_walk(draw, number, length) for number in range(people)])
    frames, names = [], []
    for frame in range(length):
        found, who = [], []
        for number in range(people):
            hidden = any(
                _covered(truth[number, frame], truth[other, frame]) > occlusion
                for other in range(number)
            )
            if hidden or draw.random() < dropout:
                continue
            height = np.ptp(truth[number, frame, :, 1])
            pose = truth[number, frame] + draw.normal(0, noise * height, (17, 2))
            pose[draw.random(17) < 0.08] = np.nan
            found.append(pose)
            who.append(number)
        order = draw.permutation(len(found))
        frames.append(np.array(found).reshape(-1, 17, 2)[order])
        names.append(np.array(who, int)[order])
    return Scene(frames, names, truth)


def _walk(draw: np.random.Generator, number: int, length: int) -> np.ndarray:
    height = draw.uniform(150, 220)
    towards = 1 if number % 2 else -1
    speed = draw.uniform(3, 7) * towards
    # all meet somewhere near the middle of the scene, at different times
    meeting = 320 + draw.normal(0, 40), length * draw.uniform(0.35, 0.65)
    time = np.arange(length)
    x = meeting[0] + speed * (time - meeting[1])
    y = draw.uniform(60, 110) + 2 * np.sin(time / 4)
    swing = np.sin(time / draw.uniform(3, 5) + draw.uniform(0, 6))
    joints = np.tile(_BODY, (length, 1, 1))
    joints[..., 0] += swing[:, None] * _SWING * towards
    return joints * height + np.stack([x, y], axis=-1)[:, None]


def _covered(pose: np.ndarray, before: np.ndarray) -> float:
    """Return which share of a pose's box lies behind another's."""
    low = np.maximum(pose.min(axis=0), before.min(axis=0))
    high = np.minimum(pose.max(axis=0), before.max(axis=0))
    return float(np.maximum(high - low, 0).prod() / np.ptp(pose, axis=0).prod())


def switches(names: list[np.ndarray], sources: np.ndarray) -> int:
    """Count how often a person's poses go from one track to another."""
    last: dict[int, int] = {}
    count = 0
    for frame, who in enumerate(names):
        for row in range(len(sources)):
            if sources[row, frame] >= 0:
                name = int(who[sources[row, frame]])
                count += last.get(name, row) != row
                last[name] = row
    return count
