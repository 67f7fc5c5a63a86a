"""Draw one person, or one object, into a picture with Pillow.

A person is a set of round-ended limbs, sorted by depth and painted from the back: a dark outline,
the colour, a highlight. Hair is a ball behind the face, so front and back differ by themselves.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import ImageDraw

from poselens.synth.body import Body, Colour, Look
from poselens.synth.camera import Camera
from poselens.synth.figure import INDEX, Figure, unit

Array = NDArray[np.float64]
Ink = ImageDraw.ImageDraw


@dataclass(frozen=True)
class Part:
    """A limb from point ``a`` to point ``b`` (rows of :attr:`Puppet.points`), radii in metres."""

    a: int
    b: int
    wide_a: float
    wide_b: float
    colour: Colour
    outlined: bool = True


@dataclass(frozen=True, eq=False)
class Puppet:
    """A person ready to be drawn in every frame.

    Attributes:
        places: ``(t, p, 3)`` pixel x, pixel y and depth in metres of every point.
        parts: Limbs, hair and head.
        torso: Rows of left shoulder, right shoulder, right hip, left hip.
        look: Colours.
        thickness: Half the depth of the trunk, metres.
        focal: Focal length in pixels.
    """

    places: Float[np.ndarray, "t p 3"]
    parts: tuple[Part, ...]
    torso: tuple[int, int, int, int]
    look: Look
    thickness: float
    focal: float


def shade(colour: Colour, factor: float) -> Colour:
    """Scale a colour's brightness."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def _extras(figure: Figure, body: Body) -> dict[str, Array]:
    """Return the points beside the joints: fingers, hair, face, emblem, trouser tops."""
    head, radius = figure.at("head"), body.head_radius
    side = np.cross(figure.crown, figure.face)
    up = unit(figure.at("neck") - figure.at("pelvis"))
    across = unit(figure.at("left_shoulder") - figure.at("right_shoulder"))
    ahead = np.cross(across, up)
    points = {
        "face": head + radius * (0.16 * figure.face - 0.1 * figure.crown),
        "hair": head + radius * (-0.2 * figure.face + 0.2 * figure.crown),
        "mane": head + radius * (-0.55 * figure.face - 1.2 * figure.crown),
        "mouth": head + radius * (0.95 * figure.face - 0.45 * figure.crown),
        "nose": head + radius * (1.05 * figure.face - 0.1 * figure.crown),
    }
    chest = figure.at("neck") - 0.3 * body.torso * up + 0.075 * body.girth * ahead
    for name, sign in (("left", 1.0), ("right", -1.0)):
        elbow, wrist = figure.at(f"{name}_elbow"), figure.at(f"{name}_wrist")
        points[f"{name}_fingers"] = wrist + 0.4 * body.forearm * unit(wrist - elbow)
        points[f"{name}_eye"] = head + radius * (0.88 * figure.face + 0.1 * figure.crown)
        points[f"{name}_eye"] = points[f"{name}_eye"] + 0.36 * sign * radius * side
        points[f"{name}_ear"] = head + radius * (0.95 * sign * side - 0.05 * figure.crown)
        points[f"{name}_emblem"] = chest + 0.55 * sign * body.shoulder_half * across
        points[f"{name}_waist"] = figure.at(f"{name}_hip") + 0.06 * body.torso * up
    return points


def _parts(body: Body, look: Look, row: dict[str, int]) -> tuple[Part, ...]:
    """Return everything but the trunk, widths in metres."""
    girth, radius = body.girth * body.height / 1.7, body.head_radius
    sleeve = look.shirt if look.long_sleeves else look.skin
    parts = [
        Part(row["neck"], row["head"], 0.05 * girth, 0.05 * girth, look.skin),
        Part(row["hair"], row["hair"], radius, radius, look.hair),
        Part(row["face"], row["face"], 0.9 * radius, 0.9 * radius, look.skin, False),
        Part(row["nose"], row["nose"], 0.16 * radius, 0.16 * radius, shade(look.skin, 0.86), False),
        Part(row["mouth"], row["mouth"], 0.12 * radius, 0.12 * radius, (150, 60, 60), False),
        Part(row["left_emblem"], row["right_emblem"], 0.035, 0.035, look.emblem, False),
    ]
    if look.long_hair:
        parts.append(Part(row["hair"], row["mane"], 0.85 * radius, 0.6 * radius, look.hair))
    for side in ("left", "right"):
        shoulder, elbow, wrist, fingers, hip, knee, ankle, toe = (
            row[f"{side}_{joint}"]
            for joint in (
                *("shoulder", "elbow", "wrist", "fingers"),
                *("hip", "knee", "ankle", "toe"),
            )
        )
        ear, eye = row[f"{side}_ear"], row[f"{side}_eye"]
        parts += [
            Part(shoulder, elbow, 0.062 * girth, 0.05 * girth, look.shirt),
            Part(elbow, wrist, 0.046 * girth, 0.036 * girth, sleeve),
            Part(wrist, fingers, 0.045 * girth, 0.045 * girth, look.skin),
            Part(hip, knee, 0.088 * girth, 0.065 * girth, look.trousers),
            Part(knee, ankle, 0.062 * girth, 0.048 * girth, look.trousers),
            Part(ankle, toe, 0.05 * girth, 0.042 * girth, look.shoes),
            Part(eye, eye, 0.15 * radius, 0.15 * radius, (25, 20, 20), False),
            Part(ear, ear, 0.2 * radius, 0.2 * radius, shade(look.skin, 0.9), False),
        ]
    return tuple(parts)


def puppet(figure: Figure, body: Body, look: Look, camera: Camera) -> Puppet:
    """Project a figure and everything drawn with it."""
    extras = _extras(figure, body)
    row = {**INDEX, **{name: len(INDEX) + i for i, name in enumerate(extras)}}
    world = np.concatenate([figure.joints, np.stack(list(extras.values()), axis=1)], axis=1)
    metres = camera.metres(world)
    places = np.concatenate([camera.pixels(metres), metres[..., 2:]], axis=-1)
    corners = ("left_shoulder", "right_shoulder", "right_waist", "left_waist")
    return Puppet(
        places=places,
        parts=_parts(body, look, row),
        torso=(row[corners[0]], row[corners[1]], row[corners[2]], row[corners[3]]),
        look=look,
        thickness=0.085 * body.girth * body.height / 1.7,
        focal=camera.focal,
    )


def disc(ink: Ink, x: float, y: float, radius: float, colour: Colour) -> None:
    """Fill a circle."""
    ink.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def limb(ink: Ink, ends: tuple[float, float, float, float, float, float], colour: Colour) -> None:
    """Fill the hull of two circles given as x, y, radius each (the flanks are approximate)."""
    ax, ay, ar, bx, by, br = ends
    disc(ink, ax, ay, ar, colour)
    length = math.hypot(bx - ax, by - ay)
    if length < 0.5:
        return
    disc(ink, bx, by, br, colour)
    nx, ny = (ay - by) / length, (bx - ax) / length
    ink.polygon(
        (
            (ax + nx * ar, ay + ny * ar),
            (bx + nx * br, by + ny * br),
            (bx - nx * br, by - ny * br),
            (ax - nx * ar, ay - ny * ar),
        ),
        fill=colour,
    )


def _draw_part(ink: Ink, part: Part, points: list[list[float]], scale: float, tone: float) -> None:
    ax, ay, az = points[part.a]
    bx, by, bz = points[part.b]
    ar, br = scale * part.wide_a / az, scale * part.wide_b / bz
    colour = shade(part.colour, tone)
    if part.outlined:
        rim = max(0.8, 0.011 * scale / az)
        limb(ink, (ax, ay, ar + rim, bx, by, br + rim), shade(colour, 0.5))
    limb(ink, (ax, ay, ar, bx, by, br), colour)
    if ar > 2.5 and part.outlined:
        light = shade(colour, 1.16)
        offset = 0.3
        limb(
            ink,
            (
                ax - offset * ar,
                ay - offset * ar,
                0.45 * ar,
                bx - offset * br,
                by - offset * br,
                0.45 * br,
            ),
            light,
        )


def _draw_torso(ink: Ink, person: Puppet, points: list[list[float]], scale: float) -> None:
    """Fill the trunk: an outlined shirt, and a band of trousers over the hips."""
    corners = [points[row] for row in person.torso]
    radii = [scale * person.thickness / corner[2] for corner in corners]
    rim = max(0.8, 0.011 * scale / corners[0][2])
    for grow, dim in ((rim, 0.5), (0.0, 1.0)):
        cloth = shade(person.look.shirt, dim)
        ring = [
            (corner[0], corner[1], radius + grow)
            for corner, radius in zip(corners, radii, strict=True)
        ]
        ink.polygon([(x, y) for x, y, _ in ring], fill=cloth)
        for start, stop in zip(ring, ring[1:] + ring[:1], strict=True):
            limb(ink, (*start, *stop), cloth)
    right, left = ((corners[i][0], corners[i][1] + 0.6 * radii[i], 0.85 * radii[i]) for i in (2, 3))
    limb(ink, (*right, *left), person.look.trousers)


@dataclass(frozen=True, eq=False)
class Thing:
    """A held object ready to be drawn.

    Attributes:
        places: ``(t, 3)`` pixel x, pixel y and depth in metres.
        radius: Metres.
        colour: Its colour.
        box: Whether it is a box, else a ball.
        focal: Focal length in pixels.
    """

    places: Float[np.ndarray, "t 3"]
    radius: float
    colour: Colour
    box: bool
    focal: float


def draw_thing(ink: Ink, thing: Thing, frame: int, zoom: int) -> None:
    """Draw a held object: dark rim, saturated colour, a light."""
    x, y, depth = (float(value) for value in thing.places[frame])
    x, y, radius = x * zoom, y * zoom, thing.focal * zoom * thing.radius / depth
    rim = max(1.0, 0.14 * radius)
    colour, light = thing.colour, shade(thing.colour, 0.4)
    if thing.box:
        for size, fill in ((radius + rim, light), (radius, colour)):
            ink.rectangle((x - size, y - size, x + size, y + size), fill=fill)
        ink.rectangle((x - 0.2 * radius, y - radius, x + 0.2 * radius, y + radius), fill=light)
    else:
        disc(ink, x, y, radius + rim, light)
        disc(ink, x, y, radius, colour)
        disc(ink, x - 0.3 * radius, y - 0.3 * radius, 0.3 * radius, (255, 255, 255))


def draw_person(ink: Ink, person: Puppet, frame: int, zoom: int, thing: Thing | None) -> None:
    """Draw a person, and the object they act with at its depth; pixels are scaled by ``zoom``."""
    places = person.places[frame] * [zoom, zoom, 1.0]
    if places[:, 2].min() < 0.3:
        return
    points: list[list[float]] = places.tolist()
    scale = person.focal * zoom
    middle = points[INDEX["pelvis"]][2]
    work: list[tuple[float, Part | Thing | None]] = [
        (0.5 * (points[part.a][2] + points[part.b][2]), part) for part in person.parts
    ]
    work.append((sum(points[row][2] for row in person.torso) / 4, None))
    if thing is not None:
        work.append((float(thing.places[frame, 2]) - thing.radius, thing))
    for depth, item in sorted(work, key=lambda pair: -pair[0]):
        if item is None:
            _draw_torso(ink, person, points, scale)
        elif isinstance(item, Thing):
            draw_thing(ink, item, frame, zoom)
        else:
            tone = 1.0 - 0.12 * min(max((depth - middle) / 0.4, -0.5), 1.0)
            _draw_part(ink, item, points, scale, tone)
