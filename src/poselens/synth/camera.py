"""A pinhole camera before the person."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.synth.difficulty import Difficulty

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera that looks along -z, tilted down.

    Attributes:
        height: Metres above the floor.
        distance: Metres from the world's origin, along z.
        tilt: Downward tilt, radians.
        focal: Focal length, pixels.
        size: Height and width of the picture.
        shake: ``(t, 2)`` wander of the picture, pixels.
    """

    height: float
    distance: float
    tilt: float
    focal: float
    size: tuple[int, int]
    shake: Float[np.ndarray, "t 2"]

    def metres(self, points: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
        """Move world points before the camera: x right, y up, z away from it."""
        rise = points[..., 1] - self.height
        away = self.distance - points[..., 2]
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        return np.stack(
            [points[..., 0], rise * cosine + away * sine, away * cosine - rise * sine], axis=-1
        )

    def steady(self, metres: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 2"]:
        """Project points before the camera into the picture as it would be without shake."""
        depth = np.maximum(metres[..., 2], 0.1)
        flat = np.stack([metres[..., 0] / depth, -metres[..., 1] / depth], axis=-1)
        return np.asarray(np.array([self.size[1] / 2, self.size[0] / 2]) + self.focal * flat)

    def pixels(self, metres: Float[np.ndarray, "t v 3"]) -> Float[np.ndarray, "t v 2"]:
        """Project points before the camera into the picture of their frame."""
        return np.asarray(self.steady(metres) + self.shake[:, None])


def draw_camera(
    difficulty: Difficulty,
    person_height: float,
    size: tuple[int, int],
    frames: int,
    rng: np.random.Generator,
) -> tuple[Camera, float, float]:
    """Draw a camera, the turn of the person to it (radians) and the person's place (x, metres)."""
    height, width = size
    focal = 0.5 * height / np.tan(np.radians(rng.uniform(36.0, 50.0)) / 2)
    share = rng.uniform(*difficulty.person_share)
    distance = focal * person_height / (share * height)
    mount = rng.uniform(0.9, 1.8)
    # hands may go a quarter of the height above the head: the middle of that is shown in the middle
    middle = 0.6 * person_height
    slack = 0.5 * height * max(1.0 - 1.32 * share, 0.06)
    below = rng.uniform(-0.5, 0.8) * slack
    tilt = np.arctan2(mount - middle, distance) - np.arctan2(below, focal)
    aside = rng.uniform(-1.0, 1.0) * max(0.5 * width - 0.55 * share * height, 0.0) * 0.85
    time = np.arange(frames)[:, None] / 24.0
    wander = np.sin(2 * np.pi * rng.uniform(0.2, 1.0, 2) * time + rng.uniform(0, 6.28, 2))
    camera = Camera(
        height=float(mount),
        distance=float(distance),
        tilt=float(tilt),
        focal=float(focal),
        size=size,
        shake=rng.uniform(0.2, 1.2) * wander,
    )
    yaw = np.radians(rng.uniform(-difficulty.yaw, difficulty.yaw))
    return camera, float(yaw), float(aside * distance / focal)
