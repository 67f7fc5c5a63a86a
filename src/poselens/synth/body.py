"""Bodies, clothes and habits of the eight people who act."""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

SUBJECTS = 8


@dataclass(frozen=True)
class Body:
    """Proportions of one person; lengths in metres follow from the height.

    The shares of the height are those of a standing adult (Winter, Biomechanics and Motor Control
    of Human Movement, table 4.1), each scaled by a ratio near 1.
    """

    height: float
    legs: float = 1.0
    arms: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    head: float = 1.0
    girth: float = 1.0

    @property
    def thigh(self) -> float:
        """Hip to knee."""
        return 0.245 * self.height * self.legs

    @property
    def shin(self) -> float:
        """Knee to ankle."""
        return 0.24 * self.height * self.legs

    @property
    def ankle_height(self) -> float:
        """Floor to ankle."""
        return 0.045 * self.height

    @property
    def hip_height(self) -> float:
        """Floor to hip when standing, knees not quite straight."""
        return self.ankle_height + 0.985 * (self.thigh + self.shin)

    @property
    def torso(self) -> float:
        """Middle of the hips to the base of the neck."""
        return 0.3 * self.height

    @property
    def neck(self) -> float:
        """Base of the neck to the centre of the head."""
        return 0.1 * self.height

    @property
    def head_radius(self) -> float:
        """Radius of the head."""
        return 0.07 * self.height * self.head

    @property
    def upper_arm(self) -> float:
        """Shoulder to elbow."""
        return 0.172 * self.height * self.arms

    @property
    def forearm(self) -> float:
        """Elbow to wrist."""
        return 0.15 * self.height * self.arms

    @property
    def arm(self) -> float:
        """Shoulder to wrist, arm stretched."""
        return self.upper_arm + self.forearm

    @property
    def shoulder_half(self) -> float:
        """Middle to one shoulder joint."""
        return 0.11 * self.height * self.shoulders

    @property
    def hip_half(self) -> float:
        """Middle to one hip joint."""
        return 0.056 * self.height * self.hips

    @property
    def foot(self) -> float:
        """Ankle to toes."""
        return 0.1 * self.height


@dataclass(frozen=True)
class Look:
    """Colours and cut of one person."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    emblem: Colour
    long_sleeves: bool
    long_hair: bool


@dataclass(frozen=True)
class Subject:
    """One person: body, look and habits.

    Attributes:
        name: ``s1`` ... ``s8``.
        body: Proportions.
        look: Clothes, of which the shirt changes a little from clip to clip.
        tempo: Cycles of this person per cycle of the average person.
        amplitude: Reach of this person's gestures, 1 for the average.
        sway: How much this person moves while doing nothing, 1 for the average.
    """

    name: str
    body: Body
    look: Look
    tempo: float
    amplitude: float
    sway: float


_SKINS: tuple[Colour, ...] = (
    (241, 205, 178),
    (224, 177, 143),
    (198, 146, 108),
    (158, 108, 76),
    (122, 80, 56),
    (92, 60, 44),
)
_HAIRS: tuple[Colour, ...] = (
    (38, 28, 24),
    (84, 54, 34),
    (140, 92, 48),
    (206, 168, 96),
    (150, 62, 34),
    (150, 150, 154),
)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the 8-bit RGB colour of a hue, saturation and value in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def hue_of(colour: Colour) -> float:
    """Return the hue of an 8-bit RGB colour, in [0, 1)."""
    return colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))[0]


def draw_body(rng: np.random.Generator) -> Body:
    """Draw the proportions of an adult."""
    return Body(
        height=float(rng.uniform(1.52, 1.92)),
        legs=float(rng.uniform(0.95, 1.05)),
        arms=float(rng.uniform(0.94, 1.08)),
        shoulders=float(rng.uniform(0.88, 1.12)),
        hips=float(rng.uniform(0.9, 1.15)),
        head=float(rng.uniform(0.95, 1.12)),
        girth=float(rng.uniform(0.85, 1.25)),
    )


def draw_look(rng: np.random.Generator) -> Look:
    """Draw clothes whose colours are muted, so that a held object stands out."""
    shirt_hue = float(rng.uniform())
    return Look(
        skin=_SKINS[int(rng.integers(len(_SKINS)))],
        hair=_HAIRS[int(rng.integers(len(_HAIRS)))],
        shirt=hsv(shirt_hue, rng.uniform(0.2, 0.55), rng.uniform(0.35, 0.85)),
        trousers=hsv(rng.uniform(), rng.uniform(0.1, 0.45), rng.uniform(0.18, 0.55)),
        shoes=hsv(rng.uniform(), 0.2, float(rng.choice([0.15, 0.9]))),
        emblem=hsv(shirt_hue + 0.5, 0.25, 0.95),
        long_sleeves=bool(rng.uniform() < 0.5),
        long_hair=bool(rng.uniform() < 0.5),
    )


def subject(seed: int, number: int) -> Subject:
    """Return person ``number`` (from 1) of the data set with this seed."""
    rng = np.random.default_rng([seed, 7919, number])
    return Subject(
        name=f"s{number}",
        body=draw_body(rng),
        look=draw_look(rng),
        tempo=float(rng.uniform(0.92, 1.08)),
        amplitude=float(rng.uniform(0.88, 1.08)),
        sway=float(rng.uniform(0.6, 1.5)),
    )


def dress(look: Look, rng: np.random.Generator) -> Look:
    """Return the clothes of the day: the same person and palette, other shades."""
    hue = hue_of(look.shirt) + float(rng.normal(0.0, 0.04))
    shirt = hsv(hue, rng.uniform(0.2, 0.55), rng.uniform(0.35, 0.85))
    trousers = hsv(hue_of(look.trousers), rng.uniform(0.1, 0.4), rng.uniform(0.18, 0.55))
    return Look(
        skin=look.skin,
        hair=look.hair,
        shirt=shirt,
        trousers=trousers,
        shoes=look.shoes,
        emblem=look.emblem,
        long_sleeves=bool(rng.uniform() < 0.5),
        long_hair=look.long_hair,
    )


def object_colour(look: Look, rng: np.random.Generator) -> Colour:
    """Draw a saturated colour whose hue is far from the shirt, the trousers and the skin."""
    taken = np.array([hue_of(look.shirt), hue_of(look.trousers), hue_of(look.skin)])
    hues = rng.uniform(size=16)
    gap = np.abs(hues[:, None] - taken)
    gap = np.minimum(gap, 1.0 - gap).min(axis=1)
    far = hues[gap > min(0.12, float(gap.max()) * 0.9)]
    # a pure blue is dark on a small picture: saturate it less
    blueness = max(0.0, 1.0 - abs(float(far[0]) - 0.67) / 0.12)
    return hsv(float(far[0]), 0.95 - 0.35 * blueness, 1.0)
