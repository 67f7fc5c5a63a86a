"""How hard the drawn clips are: one frozen record per setting."""

import difflib
from dataclasses import dataclass

from poselens.errors import UsageError


@dataclass(frozen=True)
class Difficulty:
    """Ranges from which every clip draws its picture and its sensor.

    Attributes:
        yaw: Largest turn of the camera around the person, in degrees, to either side.
        person_share: Smallest and largest height of the standing person, as a share of the picture.
        distractors: Smallest and largest number of other people behind the person.
        clutter: Number of things standing on the floor and hanging on the wall.
        movers: Number of coloured shapes that move through the background.
        jitter: Standard deviation of a joint in metres, across the view; depth has twice of it.
        missing: Share of joints the sensor loses.
        grain: Standard deviation of the picture noise, in grey levels of 255.
    """

    yaw: float
    person_share: tuple[float, float]
    distractors: tuple[int, int]
    clutter: int
    movers: int
    jitter: float
    missing: float
    grain: float


DIFFICULTIES: dict[str, Difficulty] = {
    "easy": Difficulty(
        yaw=8.0,
        person_share=(0.48, 0.62),
        distractors=(0, 0),
        clutter=4,
        movers=0,
        jitter=0.005,
        missing=0.0,
        grain=2.0,
    ),
    "standard": Difficulty(
        yaw=20.0,
        person_share=(0.3, 0.6),
        distractors=(1, 2),
        clutter=10,
        movers=3,
        jitter=0.014,
        missing=0.03,
        grain=3.0,
    ),
    "hard": Difficulty(
        yaw=40.0,
        person_share=(0.24, 0.5),
        distractors=(2, 4),
        clutter=16,
        movers=7,
        jitter=0.028,
        missing=0.1,
        grain=7.0,
    ),
}


def get_difficulty(name: str) -> Difficulty:
    """Return a difficulty by name.

    Raises:
        UsageError: ``CFG-013`` for an unknown name, with the nearest known one.
    """
    if name in DIFFICULTIES:
        return DIFFICULTIES[name]
    near = difflib.get_close_matches(name, DIFFICULTIES, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        "CFG-013",
        f"unknown difficulty {name!r}{guess}",
        mend=f"use one of {', '.join(DIFFICULTIES)}",
    )
