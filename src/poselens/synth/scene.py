"""Rooms: a wall and a floor with clutter, shapes that move through, and other people."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from poselens.synth.actions import CLASSES, perform, stroll
from poselens.synth.body import Colour, hsv, subject
from poselens.synth.camera import Camera
from poselens.synth.difficulty import Difficulty
from poselens.synth.draw import Ink, Puppet, puppet, shade
from poselens.synth.figure import Figure, turn_about_vertical

Array = NDArray[np.float64]

MARGIN = 8
"""Pixels of background beyond each edge of the picture, for the camera's shake."""


@dataclass(frozen=True, eq=False)
class Mover:
    """A shape that drifts and swings through the background.

    Attributes:
        places: ``(t, 2)`` centre, pixels.
        size: Half width and half height, pixels.
        colour: Fill.
        round: Ellipse, else rectangle.
    """

    places: Float[np.ndarray, "t 2"]
    size: tuple[float, float]
    colour: Colour
    round: bool


def _mute(rng: np.random.Generator) -> Colour:
    return hsv(rng.uniform(), rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.9))


def _hang(ink: Ink, width: int, floor: float, rng: np.random.Generator) -> None:
    """Hang a picture, a window or a board on the wall."""
    w, h = rng.uniform(0.06, 0.22) * width, rng.uniform(0.1, 0.45) * floor
    x, y = rng.uniform(0, width), rng.uniform(0.02, 0.7) * floor
    frame, colour = _mute(rng), _mute(rng)
    ink.rectangle((x - w / 2, y, x + w / 2, y + h), fill=colour, outline=frame, width=3)
    kind = rng.uniform()
    if kind < 0.4:
        ink.line((x, y, x, y + h), fill=frame, width=3)
        ink.line((x - w / 2, y + h / 2, x + w / 2, y + h / 2), fill=frame, width=3)
    elif kind < 0.7:
        for _ in range(4):
            cx, cy = rng.uniform(x - w / 2, x + w / 2), rng.uniform(y, y + h)
            r = rng.uniform(0.05, 0.2) * w
            ink.ellipse((cx - r, cy - r, cx + r, cy + r), fill=_mute(rng))


def _stand(ink: Ink, width: int, height: int, floor: float, rng: np.random.Generator) -> None:
    """Stand a shelf, a box, a lamp or a plant on the floor."""
    x, foot = rng.uniform(0, width), floor + rng.uniform(0.0, 0.4) * (height - floor)
    w, h = rng.uniform(0.05, 0.16) * width, rng.uniform(0.12, 0.5) * height
    colour, kind = _mute(rng), int(rng.integers(4))
    dark = shade(colour, 0.6)
    if kind == 0:
        ink.rectangle((x - w / 2, foot - h, x + w / 2, foot), fill=colour, outline=dark, width=3)
        for level in range(1, 4):
            y = foot - h * level / 4
            for book in range(4):
                left = x - w / 2 + w * (book + 0.1) / 4
                top = y + h / 4 * rng.uniform(0.2, 0.5)
                ink.rectangle((left, top, left + w / 5, y + h / 4), fill=_mute(rng))
    elif kind == 1:
        h *= 0.5
        ink.rectangle((x - w / 2, foot - h, x + w / 2, foot), fill=colour, outline=dark, width=2)
        lid = ((-0.5, 1.0), (-0.33, 1.2), (0.66, 1.2), (0.5, 1.0))
        ink.polygon([(x + i * w, foot - j * h) for i, j in lid], fill=shade(colour, 1.2))
    elif kind == 2:
        ink.line((x, foot, x, foot - h), fill=dark, width=4)
        cone = ((-0.33, 0.0), (0.33, 0.0), (0.2, 0.5), (-0.2, 0.5))
        ink.polygon([(x + i * w, foot - h - j * w) for i, j in cone], fill=colour)
    else:
        ink.rectangle((x - w / 5, foot - h * 0.25, x + w / 5, foot), fill=(150, 90, 60))
        for _ in range(9):
            a, r = rng.uniform(0.4, 2.7), rng.uniform(0.3, 0.75) * h
            tip = (x + r * np.cos(a) * 0.7, foot - h * 0.25 - r * np.sin(a))
            ink.line(
                (x, foot - h * 0.25, *tip), fill=hsv(0.33, 0.6, rng.uniform(0.3, 0.6)), width=5
            )


def draw_backdrop(
    camera: Camera, difficulty: Difficulty, zoom: int, rng: np.random.Generator
) -> Image.Image:
    """Draw the room without people, ``zoom`` times the picture, with a margin on each side."""
    height, width = ((side + 2 * MARGIN) * zoom for side in camera.size)
    behind = np.array([0.0, 0.0, -rng.uniform(1.5, 4.0)])
    seam = float(camera.steady(camera.metres(behind))[1])
    floor = min(max((seam + MARGIN) * zoom, 0.25 * height), 0.95 * height)
    wall = hsv(rng.uniform(), rng.uniform(0.04, 0.32), rng.uniform(0.5, 0.95))
    ground = hsv(rng.uniform(0.0, 0.6), rng.uniform(0.08, 0.4), rng.uniform(0.3, 0.8))
    picture = Image.new("RGB", (width, height), shade(wall, 1.0))
    ink = ImageDraw.Draw(picture)
    for band in range(12):
        y = floor + (height - floor) * band / 12
        ink.rectangle((0, y, width, height), fill=shade(ground, 0.75 + 0.03 * band))
    for plank in range(-12, 13) if rng.uniform() < 0.6 else ():
        x = width / 2 + plank * width * 0.09
        ink.line((x, floor, width / 2 + (x - width / 2) * 2.2, height), fill=shade(ground, 0.7))
    ink.line((0, floor, width, floor), fill=shade(wall, 0.6), width=4)
    for _ in range(difficulty.clutter // 2):
        _hang(ink, width, floor, rng)
    for _ in range(difficulty.clutter - difficulty.clutter // 2):
        _stand(ink, width, height, floor, rng)
    grid = rng.normal(0.0, 6.0, size=(height // 6, width // 6))
    rough = Image.fromarray(np.clip(grid + 128, 0, 255).astype(np.uint8))
    rough = rough.resize((width, height), Image.Resampling.BICUBIC)
    light = np.asarray(rough, dtype=np.int16)[..., None] - 128
    return Image.fromarray(np.clip(np.asarray(picture) + light, 0, 255).astype(np.uint8))


def draw_movers(
    size: tuple[int, int], difficulty: Difficulty, frames: int, rng: np.random.Generator
) -> list[Mover]:
    """Draw the shapes that move behind the people."""
    height, width = size
    time = np.arange(frames)[:, None] / 24.0
    movers = []
    for _ in range(difficulty.movers):
        start = rng.uniform(size=2) * [width, height]
        drift = rng.normal(0.0, 0.12, size=2) * width
        phase, frequency = rng.uniform(0, 2 * np.pi, size=2), rng.uniform(0.2, 1.2, size=2)
        swing = (
            rng.uniform(0.0, 0.12, size=2) * height * np.sin(2 * np.pi * frequency * time + phase)
        )
        half = rng.uniform(0.02, 0.06, size=2) * height
        movers.append(
            Mover(
                places=start + drift * time + swing,
                size=(float(half[0]), float(half[1])),
                colour=hsv(rng.uniform(), rng.uniform(0.3, 0.8), rng.uniform(0.4, 0.95)),
                round=bool(rng.uniform() < 0.5),
            )
        )
    return movers


def draw_crowd(
    camera: Camera, difficulty: Difficulty, frames: int, rng: np.random.Generator
) -> list[Puppet]:
    """Draw other people who walk or act behind the person, the farthest first."""
    low, high = difficulty.distractors
    crowd = []
    depths = np.sort(-rng.uniform(1.3, 5.0, size=int(rng.integers(low, high + 1))))
    for depth in depths:
        # strangers, not the eight subjects: their number is beyond the last
        who = subject(int(rng.integers(2**31)), 0)
        if rng.uniform() < 0.5:
            figure = stroll(who, rng, frames)
        else:
            figure = perform(int(rng.integers(len(CLASSES))), who, rng, frames).figure
        figure = place(figure, float(rng.uniform(-0.6, 0.6)), 0.0, 0.0)
        reach = 0.45 * camera.size[1] * (camera.distance - depth) / camera.focal
        aside = rng.uniform(0.35, 1.0) * reach * rng.choice([-1.0, 1.0])
        figure = place(figure, 0.0, float(aside), float(depth))
        crowd.append(puppet(figure, who.body, who.look, camera))
    return crowd


def place(figure: Figure, yaw: float, x: float, z: float) -> Figure:
    """Turn a figure about the vertical by ``yaw``, then move it over the floor."""
    turns = np.full(len(figure.joints), yaw)
    return Figure(
        joints=turn_about_vertical(figure.joints, turns) + np.array([x, 0.0, z]),
        face=turn_about_vertical(figure.face[:, None], turns)[:, 0],
        crown=turn_about_vertical(figure.crown[:, None], turns)[:, 0],
    )
