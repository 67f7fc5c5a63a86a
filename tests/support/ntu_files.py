"""Writes NTU RGB+D as it is downloaded: ``.skeleton`` files and ``_rgb.avi`` videos.

The published structure, byte for byte: counts, the line of ten fields that opens a body, ``25``,
and 25 lines of twelve fields, numbers as the authors' tool prints them (up to seven digits).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from poselens.data.video import write_video

WIDTH, HEIGHT = 1920, 1080
FIRST_ID = 72057594037931101
_FOCAL = 1060.0

# a person of 1.7 m, joints in the order of ``ntu-25``: x to the side, y up from the hip
_BODY = np.array(
    [
        (0, 0), (0, 0.3), (0, 0.6), (0, 0.75),
        (-0.2, 0.5), (-0.3, 0.25), (-0.32, 0), (-0.33, -0.08),
        (0.2, 0.5), (0.3, 0.25), (0.32, 0), (0.33, -0.08),
        (-0.1, 0), (-0.12, -0.4), (-0.12, -0.8), (-0.14, -0.85),
        (0.1, 0), (0.12, -0.4), (0.12, -0.8), (0.14, -0.85),
        (0, 0.5), (-0.34, -0.15), (-0.3, -0.1), (0.34, -0.15), (0.3, -0.1),
    ]
)  # fmt: skip


@dataclass
class Tracked:
    """A body: its id, first frame, and joints ``(t, 25, 3)`` in metres."""

    name: int
    start: int
    joints_metres: np.ndarray
    colour: Mapping[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    """Texts written in place of a joint's colour coordinates, by (frame, joint)."""
    gone: Sequence[int] = ()
    """Frames of the recording in which the sensor does not see it."""


def actor(
    frames: int, *, seed: int, action: int = 1, side: float = 0.0, reach: float = 0.35
) -> np.ndarray:
    """A person before the camera who waves an arm, at a pace and a side that the action sets."""
    draw = np.random.default_rng((5, seed))
    joints = np.zeros((frames, 25, 3))
    joints[..., :2] = _BODY * draw.uniform(0.9, 1.1)
    joints[..., 2] = draw.uniform(2.8, 3.6)
    joints[..., 0] += side
    time = np.linspace(0, 2 * np.pi * (1 + action % 3), frames)
    arm = [9, 10, 11, 23, 24] if action % 2 else [5, 6, 7, 21, 22]
    joints[:, arm, 1] += reach * (1 - np.cos(time))[:, None]
    joints[:, arm, 2] -= 0.2 * np.sin(time)[:, None]
    return joints + draw.normal(0, 0.004, joints.shape)


def table(frames: int) -> np.ndarray:
    """Furniture that the sensor takes for a body: wide, low and still."""
    joints = np.zeros((frames, 25, 3))
    joints[..., :2] = _BODY * (2.0, 0.2)
    joints[..., 2] = 4.0
    return joints


def in_picture(joints_metres: np.ndarray) -> np.ndarray:
    """Where joints are in the colour video."""
    x, y, depth = np.moveaxis(joints_metres, -1, 0)
    return np.stack([WIDTH / 2 + _FOCAL * x / depth, HEIGHT / 2 - _FOCAL * y / depth], axis=-1)


def skeleton_text(frames: int, bodies: Sequence[Tracked]) -> str:
    """The content of one file, lines ended as the download has them."""
    lines = [str(frames)]
    for frame in range(frames):
        seen = [
            body
            for body in bodies
            if 0 <= frame - body.start < len(body.joints_metres) and frame not in body.gone
        ]
        lines.append(str(len(seen)))
        for body in seen:
            lines += [f"{body.name} 0 1 1 1 1 0 0.02764709 0.05745083 2", "25"]
            lines += _joint_lines(body, frame)
    return "\r\n".join(lines) + "\r\n"


def _joint_lines(body: Tracked, frame: int) -> list[str]:
    metres = body.joints_metres[frame - body.start]
    with np.errstate(divide="ignore", invalid="ignore"):
        colour = in_picture(metres)
    lines = []
    for joint, (position, pixel) in enumerate(zip(metres, colour, strict=True)):
        xyz = [f"{value:.7g}" for value in position]
        depth = [f"{value:.7g}" for value in (pixel - (WIDTH / 2, HEIGHT / 2)) / 2.9 + (256, 212)]
        shown = body.colour.get((frame, joint), [f"{value:.7g}" for value in pixel])
        lines.append(
            " ".join([*xyz, *depth, *shown, *["0.2461258", "0.02", "0.9648686", "-0.0896", "2"]])
        )
    return lines


def recording(name: str, *, frames: int = 24, people: int = 1) -> list[Tracked]:
    """One or two people for a recording, moving as its action has it."""
    action, subject = int(name[-3:]), int(name[9:12])
    seed = sum(ord(letter) * place for place, letter in enumerate(name, 1))
    return [
        Tracked(
            FIRST_ID + 101 * subject + person,
            0,
            actor(
                frames, seed=seed + person, action=action + person,
                side=0.8 * person - 0.4 * (people - 1),
            ),
        )
        for person in range(people)
    ]  # fmt: skip


def write_recording(
    folder: Path,
    name: str,
    *,
    frames: int = 24,
    bodies: Sequence[Tracked] | None = None,
    size: tuple[int, int] | None = None,
) -> Path:
    """Write ``name.skeleton``, and ``name_rgb.avi`` of a height and width where one is given."""
    bodies = recording(name, frames=frames) if bodies is None else bodies
    path = folder / "nturgb+d_skeletons" / f"{name}.skeleton"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(skeleton_text(frames, bodies).encode())
    if size is not None:
        videos = folder / "nturgb+d_rgb"
        videos.mkdir(exist_ok=True)
        write_video(videos / f"{name}_rgb.avi", _pictures(frames, bodies, size), fps=30, gop=6)
    return path


def _pictures(frames: int, bodies: Sequence[Tracked], size: tuple[int, int]) -> np.ndarray:
    height, width = size
    pictures = np.full((frames, height, width, 3), 70, np.uint8)
    for body in bodies:
        for row, joints in enumerate(body.joints_metres):
            pixels = in_picture(joints) * (width / WIDTH, height / HEIGHT)
            for x, y in pixels.round().astype(int):
                spot = pictures[body.start + row, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                spot[:] = (240, 200, 60)
    return pictures


def names(
    subjects: Sequence[int], actions: Sequence[int], *, setup: int = 1, repetitions: int = 2
) -> list[str]:
    """Names of recordings by every subject of every action, before all three cameras."""
    return [
        f"S{setup:03}C{camera:03}P{subject:03}R{repetition:03}A{action:03}"
        for subject in subjects
        for camera in (1, 2, 3)
        for repetition in range(1, repetitions + 1)
        for action in actions
    ]


def importing(root: Path) -> tuple[list[object], str, str]:
    """A small source: three subjects that train, of them one validates, and one that tests."""
    for name in names((1, 2, 4, 3), (10, 23, 26, 59), repetitions=1):
        bodies = recording(name, people=2 if name.endswith("059") else 1)
        write_recording(root, name, bodies=bodies, size=(54, 96))
    for name in names((1, 3), (10, 59), setup=2, repetitions=2):
        bodies = recording(name, people=2 if name.endswith("059") else 1)
        write_recording(root, name, bodies=bodies, size=(54, 96))
    return ["ntu60", root], "ntu60-xsub", "both"
