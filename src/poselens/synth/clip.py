"""One clip: plan, pictures and skeletons, all a function of (seed, index)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from poselens.synth.actions import Held, Performance, perform
from poselens.synth.body import dress, object_colour, subject
from poselens.synth.camera import Camera, draw_camera
from poselens.synth.difficulty import Difficulty
from poselens.synth.draw import Ink, Puppet, Thing, draw_person, puppet, shade
from poselens.synth.figure import coco_joints, turn_about_vertical
from poselens.synth.motions import retarget
from poselens.synth.scene import MARGIN, Mover, draw_backdrop, draw_crowd, draw_movers, place

Array = NDArray[np.float64]

FPS = 24.0
ZOOM = 2
"""Pictures are drawn this many times larger and averaged down."""


@dataclass(frozen=True, eq=False)
class Order:
    """What to draw: enough, with nothing else, to draw the same clip anywhere.

    Attributes:
        seed: Seed of the data set.
        index: Number of the clip.
        label: Class index.
        number: Number of the subject, from 1.
        difficulty: Ranges of the picture and the sensor.
        size: Height and width of the picture.
        motion: ``(t, 22, 3)`` recorded joints in metres, or None for procedural motion.
    """

    seed: int
    index: int
    label: int
    number: int
    difficulty: Difficulty
    size: tuple[int, int]
    motion: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """Everything of a clip before pixels exist.

    Attributes:
        person: The one who acts.
        thing: The object in the action, or None.
        stand: ``(8, 2)`` corners of the stand in the first frame without shake, or None.
        crowd: People behind, the farthest first.
        backdrop: The empty room.
        movers: Shapes behind the people.
        shadow: ``(t, 2, 2)`` opposite corners of the shadow, pixels.
        camera: Where all of this is seen from.
    """

    person: Puppet
    thing: Thing | None
    stand: Float[np.ndarray, "8 2"] | None
    crowd: list[Puppet]
    backdrop: Image.Image
    movers: list[Mover]
    shadow: Float[np.ndarray, "t 2 2"]
    camera: Camera


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """A clip with its skeletons; pictures are drawn when asked for.

    Attributes:
        order: What was asked for.
        subject: Name of the person.
        view: ``left``, ``front`` or ``right``: side to which the person's front is turned.
        pixels: ``(1, t, 17, 2)`` joints in pixels, NaN where the sensor lost them.
        metres: ``(1, t, 17, 3)`` joints before the camera: x right, y up, z away.
        stage: What the pictures are drawn from.
    """

    order: Order
    subject: str
    view: str
    pixels: Float[np.ndarray, "1 t v 2"]
    metres: Float[np.ndarray, "1 t v 3"]
    stage: Stage

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.pixels.shape[1])

    def pictures(self, wanted: Iterable[int] | None = None) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Draw the wanted frames, or all of them, one after another."""
        return _pictures(self.stage, self.order, range(self.frames) if wanted is None else wanted)


def draw_clip(order: Order) -> DrawnClip:
    """Draw the motion, the camera, the scene and the sensor's skeletons of one clip.

    Each part has a random stream of its own, so that two clips that differ in one part agree in
    the others.
    """
    streams = np.random.default_rng([order.seed, order.index]).spawn(4)
    acting, filming, scenery, sensing = streams
    who = subject(order.seed, order.number)
    performance = _performance(order, acting)
    frames = len(performance.figure.joints)
    camera, yaw, aside = draw_camera(order.difficulty, who.body.height, order.size, frames, filming)
    figure = place(performance.figure, yaw, aside, 0.0)
    look = dress(who.look, scenery)
    held, thing, stand = performance.held, None, None
    if held is not None:
        thing, stand = _set_up(held, yaw, aside, camera, object_colour(look, scenery), scenery)
    stage = Stage(
        person=puppet(figure, who.body, look, camera),
        thing=thing,
        stand=stand,
        crowd=draw_crowd(camera, order.difficulty, frames, scenery),
        backdrop=draw_backdrop(camera, order.difficulty, ZOOM, scenery),
        movers=draw_movers(order.size, order.difficulty, frames, scenery),
        shadow=_shadow(figure.at("pelvis"), camera),
        camera=camera,
    )
    truth = camera.metres(coco_joints(figure, who.body))
    pixels, metres = sense(truth, camera, order.difficulty, sensing)
    view = "front" if abs(yaw) < np.radians(7) else "left" if yaw < 0 else "right"
    return DrawnClip(order, who.name, view, pixels[None], metres[None], stage)


def _performance(order: Order, rng: np.random.Generator) -> Performance:
    who = subject(order.seed, order.number)
    if order.motion is not None:
        return Performance(retarget(order.motion, who.body), None)
    frames = round(48 * rng.uniform(0.87, 1.13))
    return perform(order.label, who, rng, frames)


def _set_up(
    held: Held,
    yaw: float,
    aside: float,
    camera: Camera,
    colour: tuple[int, int, int],
    rng: np.random.Generator,
) -> tuple[Thing, Float[np.ndarray, "8 2"] | None]:
    """Project the object, and the stand it belongs on."""
    turns, shift = np.full(len(held.centre), yaw), np.array([aside, 0.0, 0.0])
    centre = turn_about_vertical(held.centre[:, None], turns) + shift
    seen = camera.metres(centre)
    places = np.concatenate([camera.pixels(seen), seen[..., 2:]], axis=-1)[:, 0]
    thing = Thing(places, held.radius, colour, bool(rng.uniform() < 0.5), camera.focal)
    if held.stand is None:
        return thing, None
    half = 1.5 * held.radius
    x, top, z = held.stand
    corners = np.array(
        [[x + i * half, y, z + j * half] for y in (top, 0.0) for j in (-1, 1) for i in (-1, 1)]
    )
    corners = turn_about_vertical(corners[None], np.array([yaw])) + shift
    return thing, camera.steady(camera.metres(corners)[0])


def _shadow(pelvis: Float[np.ndarray, "t 3"], camera: Camera) -> Float[np.ndarray, "t 2 2"]:
    """Return the corners of the ellipse under the person."""
    floor = pelvis * [1.0, 0.0, 1.0]
    spread = np.array([[-0.32, 0.0, -0.2], [0.32, 0.0, 0.24]])
    corners = floor[:, None] + spread
    return camera.pixels(camera.metres(corners))


def sense(
    truth: Float[np.ndarray, "t v 3"],
    camera: Camera,
    difficulty: Difficulty,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "t v 2"], Float[np.ndarray, "t v 3"]]:
    """Return joints as a depth camera would: noisy, depth more than the rest, some missing.

    Half of the noise wanders slowly and half is fresh in every frame. A joint is missing in both
    spaces for a run of about five frames.
    """
    frames, joints, _ = truth.shape
    spread = difficulty.jitter * np.array([1.0, 1.0, 2.0])
    fresh = rng.normal(size=truth.shape)
    knots = rng.normal(size=(frames // 8 + 2, joints, 3))
    place_in = np.arange(frames) / 8
    before, part = place_in.astype(int), (place_in % 1.0)[:, None, None]
    slow = (1 - part) * knots[before] + part * knots[before + 1]
    seen = truth + spread * np.sqrt(0.5) * (fresh + slow)
    pixels = camera.pixels(seen)
    starts = rng.uniform(size=(frames, joints)) < difficulty.missing / 5
    lost = np.zeros_like(starts)
    for step in range(min(5, frames)):
        lost[step:] |= starts[: frames - step]
    pixels[lost], seen[lost] = np.nan, np.nan
    return pixels.astype(np.float32), seen.astype(np.float32)


def _draw_stand(ink: Ink, corners: Array, zoom: int) -> None:
    """Draw the stand: a crate with a light top."""
    corner = [(float(x) * zoom, float(y) * zoom) for x, y in corners]
    wood = (168, 128, 84)
    for face, tone in (((0, 2, 6, 4), 0.55), ((1, 3, 7, 5), 0.55), ((2, 3, 7, 6), 0.8)):
        ink.polygon([corner[i] for i in face], fill=shade(wood, tone), outline=shade(wood, 0.4))
    ink.polygon([corner[i] for i in (0, 1, 3, 2)], fill=wood, outline=shade(wood, 0.4))


def _pictures(stage: Stage, order: Order, wanted: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
    height, width = order.size
    rng = np.random.default_rng([order.seed, order.index, 1])
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, size=3)
    table = [min(255, int(level * tint)) for tint in gain for level in range(256)]
    bank = rng.normal(0.0, order.difficulty.grain, size=(height + 32, width + 32, 3))
    grain = bank.astype(np.int16)
    offsets = rng.integers(0, 32, size=(len(stage.camera.shake), 2))
    for frame in wanted:
        dx, dy = stage.camera.shake[frame]
        left, top = round((MARGIN - dx) * ZOOM), round((MARGIN - dy) * ZOOM)
        picture = stage.backdrop.crop((left, top, left + width * ZOOM, top + height * ZOOM))
        ink = ImageDraw.Draw(picture)
        for mover in stage.movers:
            x, y = mover.places[frame] * ZOOM
            w, h = mover.size[0] * ZOOM, mover.size[1] * ZOOM
            shape = ink.ellipse if mover.round else ink.rectangle
            shape((x - w, y - h, x + w, y + h), fill=mover.colour, outline=shade(mover.colour, 0.6))
        for other in stage.crowd:
            draw_person(ink, other, frame, ZOOM, None)
        (x0, y0), (x1, y1) = (stage.shadow[frame] * ZOOM).tolist()
        ImageDraw.Draw(picture, "RGBA").ellipse((x0, min(y0, y1), x1, max(y0, y1)), (0, 0, 0, 90))
        if stage.stand is not None:
            _draw_stand(ink, stage.stand + stage.camera.shake[frame], ZOOM)
        draw_person(ink, stage.person, frame, ZOOM, stage.thing)
        pixels = np.asarray(picture.reduce(ZOOM).point(table), dtype=np.int16)
        i, j = offsets[frame]
        noisy = pixels + grain[i : i + height, j : j + width]
        yield np.clip(noisy, 0, 255).astype(np.uint8)
