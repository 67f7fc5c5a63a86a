import math

import numpy as np
import pytest

from poselens.synth.camera import Camera


def test_projection_equals_a_pinhole_written_out() -> None:
    camera = Camera(
        height=1.3,
        distance=4.0,
        tilt=0.2,
        focal=180.0,
        size=(144, 192),
        shake=np.array([[1.5, -0.5], [0.0, 2.0]]),
    )
    world = np.random.default_rng(0).uniform((-1, 0, -1), (1, 2, 1), size=(2, 5, 3))
    metres = camera.metres(world)
    pixels = camera.pixels(metres)
    forward = (0.0, -math.sin(0.2), -math.cos(0.2))
    up = (0.0, math.cos(0.2), -math.sin(0.2))
    for frame in range(2):
        for joint in range(5):
            x, y, z = world[frame, joint]
            away = (x, y - 1.3, z - 4.0)
            right = away[0]
            rise = sum(a * b for a, b in zip(away, up, strict=True))
            depth = sum(a * b for a, b in zip(away, forward, strict=True))
            assert metres[frame, joint] == pytest.approx([right, rise, depth])
            u = 96 + camera.shake[frame, 0] + 180 * right / depth
            v = 72 + camera.shake[frame, 1] - 180 * rise / depth
            assert pixels[frame, joint] == pytest.approx([u, v])
