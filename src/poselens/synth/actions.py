"""Sixteen actions in eight pairs that pass through the same poses.

Within a pair only the order, the way round, the tempo, the depth or the holder differs:

=====================================  ==========================================================
raise-left-then-right / -right-...     which arm goes up first
circle-clockwise / -counterclockwise   way round of the right hand, as the viewer sees it
turn-left / turn-right                 way round of a full turn
wave-slow / wave-fast                  two or four beats in about two seconds
squat-deep-then-shallow / -shallow-... which of two squats is the deeper
pedal-forward / pedal-backward         way round of both hands seen from the side
pass-left-to-right / -right-to-left    which hand gives the object, which takes it
pick-up / put-down                     whether the hand is full after, or before, it was low
=====================================  ==========================================================

Seven pairs are one motion with progress running from 0 to 1 or from 1 to 0. In the last two pairs
the body moves alike and symmetrically in time: only the object tells them apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.synth.body import Subject
from poselens.synth.figure import OUTWARD, Controls, Figure, pose, turn_about_vertical

Array = NDArray[np.float64]

PAIRS: tuple[tuple[str, str], ...] = (
    ("raise-left-then-right", "raise-right-then-left"),
    ("circle-clockwise", "circle-counterclockwise"),
    ("turn-left", "turn-right"),
    ("wave-slow", "wave-fast"),
    ("squat-deep-then-shallow", "squat-shallow-then-deep"),
    ("pedal-forward", "pedal-backward"),
    ("pass-left-to-right", "pass-right-to-left"),
    ("pick-up", "put-down"),
)
CLASSES: tuple[str, ...] = tuple(name for pair in PAIRS for name in pair)
FAMILIES: tuple[str, ...] = ("raise", "circle", "turn", "wave", "squat", "pedal", "pass", "lift")
"""What the two actions of each pair have in common, in the order of the pairs."""

MIRROR: dict[str, str] = {
    **{a: b for pair in (PAIRS[0], PAIRS[2], PAIRS[6]) for a, b in (pair, pair[::-1])},
    **{name: name for pair in (PAIRS[3], PAIRS[4], PAIRS[5], PAIRS[7]) for name in pair},
}
"""Class of the left-right mirrored clip.

Order of arms, way of turning and giving hand swap. Waves, picks and puts use either arm, squats and
pedals are symmetric: they stay. Circles are always drawn with the right arm, and a mirrored one
would be drawn with the left: they are not named and never mirrored.
"""

REST = np.array([0.13, -0.93, 0.1])  # wrist from shoulder, hanging: outward, up, forward


@dataclass(frozen=True, eq=False)
class Held:
    """An object: where its centre is, and whether it lies on a stand on the floor.

    Attributes:
        centre: ``(t, 3)`` metres.
        stand: ``(3,)`` centre of the top of the stand it lies on or is meant for, or None.
        radius: Metres.
    """

    centre: Float[np.ndarray, "t 3"]
    stand: Float[np.ndarray, " 3"] | None
    radius: float


@dataclass(frozen=True, eq=False)
class Performance:
    """A person acting, and the object in the action if there is one."""

    figure: Figure
    held: Held | None


def ramp(progress: Array, start: float, stop: float) -> Array:
    """Rise smoothly from 0 at ``start`` to 1 at ``stop`` (cubic)."""
    x = np.clip((progress - start) / (stop - start), 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def bump(progress: Array, start: float, stop: float, hold: float = 0.2) -> Array:
    """Rise to 1, stay for the share ``hold`` of the time, and fall back; symmetric in time."""
    rise = 0.5 * (1 - hold) * (stop - start)
    return ramp(progress, start, start + rise) - ramp(progress, stop - rise, stop)


def progress_of(frames: int, rng: np.random.Generator) -> Array:
    """Draw how an action unfolds: 0 to 1 with idle ends and uneven speed.

    Its distribution is symmetric under reversal of time, so that it says nothing about direction.
    """
    start, stop = rng.uniform(0.02, 0.1), rng.uniform(0.9, 0.98)
    time = np.clip((np.linspace(0.0, 1.0, frames) - start) / (stop - start), 0.0, 1.0)
    uneven = rng.uniform(-0.25, 0.25)
    return np.asarray(time + uneven * np.sin(2 * np.pi * time) / (2 * np.pi))


def idle(frames: int, subject: Subject, rng: np.random.Generator) -> Controls:
    """Stand and sway: slow random sines on every control."""
    time = np.arange(frames) / 24.0

    def drift(size: float, *shape: int) -> Array:
        """Sum two slow sines of random frequency and phase per entry."""
        frequency = rng.uniform(0.15, 0.7, size=(2, 1, *shape))
        phase = rng.uniform(0.0, 2 * np.pi, size=(2, 1, *shape))
        clock = time.reshape(-1, *([1] * len(shape)))
        waves = np.sin(2 * np.pi * frequency * clock + phase).mean(axis=0)
        return np.asarray(size * subject.sway * waves)

    pelvis = drift(0.02, 3)
    pelvis[:, 1] = -np.abs(pelvis[:, 1]) * 0.4
    hands = REST + rng.normal(0.0, 0.03, size=(2, 3)) + drift(0.03, 2, 3)
    return Controls(
        pelvis=pelvis,
        yaw=rng.normal(0.0, 0.08) + drift(0.05),
        lean=np.array([0.03, 0.0]) + drift(0.03, 2),
        hands=hands,
        grip=np.zeros((frames, 2, 3)),
        hold=np.zeros((frames, 2)),
        feet=np.zeros((frames, 2, 3)) + rng.normal(0.0, 0.02, size=(2, 3)) * [1.0, 0.0, 1.0],
        gaze=rng.normal(0.0, 0.12, size=2) * [1.0, 0.5] + drift(0.15, 2) * [1.0, 0.5],
    )


def swing(angle: Array, azimuth: float) -> Float[np.ndarray, "t 3"]:
    """Put the hand on an arc from hanging (angle 0) to overhead (pi), between side and front."""
    reach = 0.95
    flat = reach * np.sin(angle)
    return np.stack(
        [
            0.12 + flat * np.cos(azimuth),
            -reach * np.cos(angle),
            0.08 + flat * np.sin(azimuth),
        ],
        axis=-1,
    )


def lead(hands: Array, side: int, path: Float[np.ndarray, "t 3"], weight: Array) -> None:
    """Move one hand from where it is towards a path, as far as ``weight`` says."""
    hands[:, side] += weight[:, None] * (path - hands[:, side])


def raise_arms(base: Controls, u: Array, who: Subject, rng: np.random.Generator) -> None:
    """Raise the left arm, then the right."""
    top = np.pi * min(0.93 * who.amplitude, 0.97)
    for side, (start, stop) in enumerate(((0.0, 0.5), (0.5, 1.0))):
        lift = bump(u, start, stop)
        path = swing(top * lift, float(rng.uniform(0.2, 0.9)))
        lead(base.hands, side, path, np.clip(6 * lift, 0.0, 1.0))
        base.lean[:, 1] -= 0.05 * OUTWARD[side] * lift


def circle(base: Controls, u: Array, who: Subject, rng: np.random.Generator) -> None:
    """Draw clockwise circles (for the viewer) in the frontal plane with the right hand."""
    cycles = rng.uniform(1.6, 2.1) * who.tempo
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * cycles * u
    size = 0.42 * who.amplitude
    # clockwise on the picture from the top: first to the picture's right, the person's left
    path = np.stack(
        [0.15 - size * np.sin(angle), 0.12 + size * np.cos(angle), np.full_like(u, 0.6)], axis=-1
    )
    lead(base.hands, 1, path, bump(u, 0.0, 1.0, hold=0.72))


def turn(base: Controls, u: Array, who: Subject, rng: np.random.Generator) -> None:
    """Turn once to the left on the spot, in small steps."""
    base.yaw[:] += 2 * np.pi * u
    busy = bump(u, 0.0, 1.0, hold=0.7)
    steps = 2 * np.pi * rng.integers(3, 5) * u + rng.uniform(0, 2 * np.pi)
    for side, phase in enumerate((0.0, np.pi)):
        base.feet[:, side, 1] += 0.05 * busy * np.maximum(np.sin(steps + phase), 0.0)
        base.hands[:, side, 0] += 0.14 * busy * who.amplitude
        base.hands[:, side, 1] += 0.04 * busy
    base.pelvis[:, 1] -= 0.012 * busy * np.abs(np.cos(steps))


def wave(base: Controls, u: Array, who: Subject, rng: np.random.Generator, beats: float) -> None:
    """Wave with either hand."""
    side = int(rng.integers(2))
    swing_by = (
        0.3
        * who.amplitude
        * np.sin(
            rng.uniform(0, 2 * np.pi) + 2 * np.pi * beats * who.tempo * rng.uniform(0.93, 1.07) * u
        )
    )
    path = np.stack([0.4 + swing_by, 0.62 - 0.25 * np.abs(swing_by), np.full_like(u, 0.25)], -1)
    lead(base.hands, side, path, bump(u, 0.0, 1.0, hold=0.72))


def squat(base: Controls, u: Array, who: Subject, rng: np.random.Generator) -> None:
    """Squat twice, deep and then half as deep."""
    deep = bump(u, 0.0, 0.5) * rng.uniform(0.23, 0.27)
    shallow = bump(u, 0.5, 1.0) * rng.uniform(0.1, 0.13)
    drop = (deep + shallow) * who.amplitude
    base.pelvis[:, 1] -= drop * who.body.height
    base.pelvis[:, 2] -= 0.55 * drop * who.body.height
    base.lean[:, 0] += 1.9 * drop
    front = np.broadcast_to([-0.05, -0.05, 0.85], (len(u), 3))
    for side in (0, 1):
        base.feet[:, side, 0] += 0.06 * OUTWARD[side]
        lead(base.hands, side, front, np.clip(drop / 0.2, 0.0, 1.0))


def pedal(base: Controls, u: Array, who: Subject, rng: np.random.Generator) -> None:
    """Circle both hands in front of the chest as if on pedals: away at the top, back below."""
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(1.8, 2.4) * who.tempo * u
    busy = bump(u, 0.0, 1.0, hold=0.72)
    size = 0.27 * who.amplitude
    for side, phase in enumerate((0.0, np.pi)):
        path = np.stack(
            [
                np.full_like(u, -0.1),
                -0.12 + size * np.cos(angle + phase),
                0.58 + size * np.sin(angle + phase),
            ],
            axis=-1,
        )
        lead(base.hands, side, path, busy)


def hand_over(base: Controls, u: Array, who: Subject, rng: np.random.Generator) -> None:
    """Bring both hands from the sides to the middle and part them again."""
    up = bump(u, 0.0, 1.0, hold=0.7)
    meet = bump(u, 0.22, 0.78, hold=0.12)
    inward = -who.body.shoulder_half / who.body.arm - 0.01
    height = rng.uniform(-0.5, -0.2)
    for side in (0, 1):
        outward = 0.62 * who.amplitude
        path = np.stack(
            [
                outward + (inward + 0.06 - outward) * meet,
                height + 0.05 * meet,
                0.45 + 0.15 * meet,
            ],
            axis=-1,
        )
        lead(base.hands, side, path, up)


def fetch(base: Controls, u: Array, who: Subject, rng: np.random.Generator) -> int:
    """Bend down, touch a low stand with either hand, and rise again; return the side."""
    side = int(rng.integers(2))
    body = who.body
    low = bump(u, 0.08, 0.92, hold=0.12)
    outward = float(OUTWARD[side])
    base.pelvis[:, 1] -= 0.17 * low * body.height
    base.pelvis[:, 2] -= 0.12 * low * body.height
    base.lean[:, 0] += 0.85 * low
    base.lean[:, 1] += 0.14 * outward * low
    base.gaze[:, 1] -= 0.6 * low
    place = body.height * np.array([0.25 * outward, 0.27, 0.25])
    carry = np.array([0.3, -0.35, 0.5])
    lead(base.hands, side, np.broadcast_to(carry, (len(u), 3)), bump(u, 0.0, 1.0, hold=0.8))
    base.grip[:, side] = place
    base.hold[:, side] = ramp(low, 0.0, 1.0)
    return side


_MOVES: tuple[Callable[[Controls, Array, Subject, np.random.Generator], object], ...] = (
    raise_arms,
    circle,
    turn,
    lambda base, u, who, rng: wave(base, u, who, rng, beats=2.0),
    squat,
    pedal,
    hand_over,
    fetch,
)


def _palm(figure: Figure, side: int) -> Float[np.ndarray, "t 3"]:
    """Return the middle of the palm, a little beyond the wrist along the forearm."""
    name = ("left", "right")[side]
    elbow, wrist = figure.at(f"{name}_elbow"), figure.at(f"{name}_wrist")
    return np.asarray(wrist + 0.3 * (wrist - elbow))


def perform(label: int, who: Subject, rng: np.random.Generator, frames: int) -> Performance:
    """Act out one class once.

    The random numbers drawn do not depend on which of the pair is acted, and neither does the body
    in the last two pairs.

    Args:
        label: Index into :data:`CLASSES`.
        who: Person acting.
        rng: Source of this clip's habits.
        frames: Length at 24 frames a second.
    """
    pair, second = divmod(label, 2)
    base = idle(frames, who, rng)
    u = progress_of(frames, rng)
    if pair == 3 and second:
        wave(base, u, who, rng, beats=4.0)
        return Performance(pose(who.body, base), None)
    backwards = second and pair < 6
    side = _MOVES[pair](base, 1.0 - u if backwards else u, who, rng)
    figure = pose(who.body, base)
    radius = 0.06 * who.body.height
    if pair == 6:
        giver = ramp(u, 0.46, 0.54)[:, None]
        left, right = _palm(figure, 0), _palm(figure, 1)
        source, target = (right, left) if second else (left, right)
        return Performance(figure, Held((1 - giver) * source + giver * target, None, radius))
    if pair == 7:
        assert isinstance(side, int)
        return Performance(figure, _fetched(figure, base, u, side, bool(second), radius))
    return Performance(figure, None)


def _fetched(figure: Figure, base: Controls, u: Array, side: int, put: bool, radius: float) -> Held:
    """Return the object of a pick or a put: in the palm on one side of the low point in time."""
    palm = _palm(figure, side)
    lowest = int(np.argmin(np.abs(u - 0.5)))
    drop = np.array([0.0, -0.3 * radius, 0.0])
    rest = palm[lowest] + drop
    in_hand = u < 0.5 if put else u >= 0.5
    centre = np.where(in_hand[:, None], palm + drop, rest)
    return Held(centre, rest - np.array([0.0, radius, 0.0]), radius)


def stroll(who: Subject, rng: np.random.Generator, frames: int) -> Figure:
    """Walk across the view: what people in the background do."""
    base = idle(frames, who, rng)
    time = np.arange(frames) / 24.0
    speed = rng.uniform(0.5, 1.1)
    phase = 2 * np.pi * (0.5 + 0.5 * speed) * time + rng.uniform(0, 2 * np.pi)
    stride = 0.28 * speed
    for side, offset in enumerate((0.0, np.pi)):
        base.feet[:, side, 2] += stride * np.sin(phase + offset)
        base.feet[:, side, 1] += 0.09 * np.maximum(np.cos(phase + offset), 0.0)
        base.hands[:, side, 2] -= 0.35 * np.sin(phase + offset)
    base.pelvis[:, 1] -= 0.03 + 0.015 * np.cos(2 * phase)
    heading = rng.choice([-1.0, 1.0]) * np.pi / 2
    base.yaw[:] = heading + rng.normal(0.0, 0.2)  # one heading for the whole path
    figure = pose(who.body, base)
    way = np.zeros((frames, 1, 3))
    way[:, 0, 2] = speed * (time - time.mean())
    path = turn_about_vertical(way, base.yaw)
    return Figure(figure.joints + path, figure.face, figure.crown)
