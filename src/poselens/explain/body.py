"""Attribution of joints drawn on the body, in the clip's frames or in a view from the front."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from poselens.errors import UsageError
from poselens.explain.overlay import colour_table
from poselens.pose.layouts import Layout, require_joint_count
from poselens.skeleton.ready import face_camera
from poselens.skeleton.sampling import Sampling, choose

CANVAS = (20, 23, 28)
"""Colour of a view without a picture: dark, as the colours of little are."""

_GREYS = (0.299, 0.587, 0.114)
_DIMMED = 0.75
_EDGE, _BONE = (236, 239, 243), (120, 130, 145)
_SMALLEST, _LARGEST = 0.008, 0.036  # radius of a joint, as a share of the picture's longer side
_FINE = 2  # Pillow draws hard edges; twice the size and back makes them smooth


def positive_share(attribution: Float[np.ndarray, "*a"]) -> Float[np.ndarray, "*a"]:
    """Return what speaks for the class as a share of the clip's largest value, in [0, 1].

    Args:
        attribution: Of one clip, signed; minus it shows what speaks for the class it was held
            against.
    """
    positive = np.maximum(attribution, 0).astype(np.float64)
    share: Float[np.ndarray, "*a"] = (positive / max(float(positive.max(initial=0)), 1e-12)).astype(
        np.float32
    )
    return share


def reading_times(
    frames: int, *, window: int, sample: Sampling, interval: float, first: int = 0
) -> Float[np.ndarray, " t"]:
    """Return where in the clip each place of the network's window was read, in frames.

    Args:
        frames: Of the clip, from the first to the last in which somebody is seen.
        window: Places of the window.
        sample: As the stream's input has it (``skeleton.sampling.choose``).
        interval: The same.
        first: The first frame in which somebody is seen.
    """
    read = choose(torch.tensor([frames]), window=window, sample=sample, share=interval)
    at = read.before[0].double()
    if read.weight is not None:
        at = at + read.weight[0]
    times: Float[np.ndarray, " t"] = at.numpy() + first
    return times


def frames_of(
    attribution: Float[np.ndarray, "m t v"], times: Float[np.ndarray, " t"], frames: int
) -> Float[np.ndarray, "m f v"]:
    """Return an attribution over the network's window as one over the frames of the clip.

    Between two places of the window it is interpolated; frames before the first and after the last
    were not read, and get 0. Places that read the same frame are averaged. It is for pictures:
    sums are those of the window.

    Args:
        attribution: Of one clip.
        times: Of :func:`reading_times`, ascending.
        frames: Of the clip.

    Raises:
        UsageError: ``EXP-036`` where times and attribution differ in number.
    """
    if len(times) != attribution.shape[1]:
        raise UsageError(
            "EXP-036",
            f"found {len(times)} times for an attribution of {attribution.shape[1]} moments",
            mend="give the times of the window that the network was shown",
        )
    at, place, count = np.unique(times, return_inverse=True, return_counts=True)
    rows = attribution.transpose(1, 0, 2).reshape(len(times), -1)
    mean = np.zeros((len(at), rows.shape[1]))
    np.add.at(mean, place, rows)
    mean /= count[:, None]
    wanted = np.arange(frames)
    # the ends of a crop lie between frames; the nearest frame was read
    inside = (wanted >= np.floor(at[0])) & (wanted <= np.ceil(at[-1]))
    found = np.stack([np.interp(wanted, at, column) for column in mean.T], axis=1)
    found[~inside] = 0.0
    shape = (frames, attribution.shape[0], attribution.shape[2])
    shown: Float[np.ndarray, "m f v"] = found.reshape(shape).transpose(1, 0, 2).astype(np.float32)
    return shown


def over_stretches(
    attribution: Float[np.ndarray, "m f v"], frames: Int[np.ndarray, " t"]
) -> Float[np.ndarray, "m t v"]:
    """Return the mean attribution around each of some frames, half way to the next ones.

    An attribution has peaks of a frame or two; of a few frames that are shown, none might be one.

    Args:
        attribution: Over all frames of a clip (:func:`frames_of`).
        frames: The frames that are shown, ascending.
    """
    count = attribution.shape[1]
    middles = (frames[1:] + frames[:-1] + 1) // 2
    edges = np.clip(np.concatenate([[0], middles, [count]]), 0, count)
    means = [
        # a frame that is shown twice shares its stretch
        attribution[:, first : max(last, first + 1)].mean(axis=1)
        for first, last in zip(np.minimum(edges[:-1], count - 1), edges[1:], strict=True)
    ]
    found: Float[np.ndarray, "m t v"] = np.stack(means, axis=1)
    return found


def front_view(
    positions: Float[np.ndarray, "m t v 3"],
    layout: Layout,
    *,
    size: tuple[int, int],
    margin: float = 0.08,
    vertical: int = 1,
) -> Float[np.ndarray, "m t v 2"]:
    """Return joints of a clip in pixels of a canvas, seen from the front without perspective.

    The clip is turned so that the first person's shoulders lie along x (``skeleton.ready``); x is
    to the right and what is up stays up. One scale holds for all frames, so that the body moves
    in the picture as it does in the room.

    Args:
        positions: Metres, y up; NaN marks a missing joint.
        layout: Their layout; without shoulders nothing is turned.
        size: ``(height, width)`` of the canvas.
        margin: Share of each side left free.
        vertical: Index of the coordinate that points up.
    """
    require_joint_count(positions.shape[2], layout)
    known = np.isfinite(positions).all(axis=-1)
    if not known.any():
        return np.full((*positions.shape[:3], 2), np.nan)
    if {"left_shoulder", "right_shoulder"} <= set(layout.joints):
        positions = face_camera(positions, layout, vertical=vertical)
    across = next(axis for axis in range(3) if axis != vertical)
    flat = np.stack([positions[..., across], -positions[..., vertical]], axis=-1)
    low, high = flat[known].min(axis=0), flat[known].max(axis=0)
    room = np.array([size[1], size[0]]) * (1 - 2 * margin)
    # a body in a single point is put in the middle
    scale = float(np.min(room / np.maximum(high - low, 1e-6)))
    middle = np.array([size[1], size[0]]) / 2
    placed: Float[np.ndarray, "m t v 2"] = (flat - (low + high) / 2) * scale + middle
    return placed


def blank_frames(frames: int, size: tuple[int, int]) -> UInt8[np.ndarray, "t h w 3"]:
    """Return empty pictures to draw bodies on, of ``(height, width)``."""
    blank: UInt8[np.ndarray, "t h w 3"] = np.broadcast_to(
        np.array(CANVAS, np.uint8), (frames, *size, 3)
    ).copy()
    return blank


def draw_body_attribution(
    frames: UInt8[np.ndarray, "t h w 3"],
    joints: Float[np.ndarray, "m t v 2"],
    attribution: Float[np.ndarray, "m t v"],
    layout: Layout,
    *,
    legend: bool = True,
) -> UInt8[np.ndarray, "t h w 3"]:
    """Return grey frames with every body in them, its joints the larger and lighter the more.

    Colours are those of heat maps (``overlay``): nothing is dark, the most in the clip is light,
    and one scale holds for the clip. A bone takes the colour of its end away from the centre, as
    streams of bones do. What speaks against the class is drawn as nothing.

    Args:
        frames: RGB, or :func:`blank_frames`.
        joints: In pixels of the frames; NaN marks a missing joint, which is not drawn.
        attribution: Signed, on the same frames (:func:`frames_of`).
        layout: Of the joints.
        legend: Whether the colours are explained in the corner of each frame.

    Raises:
        UsageError: ``EXP-036`` where frames, joints and attribution do not fit.
        SkeletonError: ``SKEL-004`` when joints and layout differ in number.
    """
    require_joint_count(joints.shape[2], layout)
    if joints.shape[:3] != attribution.shape or joints.shape[1] != len(frames):
        raise UsageError(
            "EXP-036",
            f"found {len(frames)} frames, joints of {joints.shape} and an attribution of "
            f"{attribution.shape}",
            mend="give all three for the same people, frames and joints",
        )
    shares = positive_share(attribution)
    grey = np.round(frames @ np.array(_GREYS) * _DIMMED).astype(np.uint8)
    drawn = [
        _draw_people(grey[t], joints[:, t], shares[:, t], layout, legend=legend)
        for t in range(len(frames))
    ]
    return np.stack(drawn) if drawn else np.zeros_like(frames)


def _draw_people(
    grey: UInt8[np.ndarray, "h w"],
    joints: Float[np.ndarray, "m v 2"],
    shares: Float[np.ndarray, "m v"],
    layout: Layout,
    *,
    legend: bool,
) -> NDArray[np.uint8]:
    height, width = grey.shape
    longer = max(height, width)
    layer = Image.new("RGBA", (width * _FINE, height * _FINE))
    pen = ImageDraw.Draw(layer)
    # estimators place joints outside the frame; far outside, a line there says nothing
    with np.errstate(invalid="ignore"):
        near = (np.abs(joints) < 2 * longer).all(axis=-1)
    thick = max(1.5, longer / 130)
    for points, known, share in zip(joints * _FINE, near, shares, strict=True):
        for joint, parent in layout.edges:
            if known[joint] and known[parent]:
                ends = (*points[joint].tolist(), *points[parent].tolist())
                _draw_bone(pen, ends, float(share[joint]), thick * _FINE)
        # the least first, so that the most lies on top
        for joint in np.argsort(share, kind="stable").tolist():
            if known[joint]:
                _draw_joint(pen, points[joint].tolist(), float(share[joint]), longer * _FINE)
    if legend:
        _draw_legend(pen, width * _FINE, height * _FINE)
    layer = layer.resize((width, height), Image.Resampling.BOX)
    picture = Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).convert("RGBA")
    picture.alpha_composite(layer)
    return np.asarray(picture.convert("RGB"))


def _draw_bone(pen: ImageDraw.ImageDraw, ends: Sequence[float], share: float, thick: float) -> None:
    # mixed here: Pillow writes over what is there, it does not mix
    part = min(max(share, 0.0), 1.0) ** 0.5
    red, green, blue = (
        round((1 - part) * plain + part * lit)
        for plain, lit in zip(_BONE, _colour(share), strict=True)
    )
    pen.line(ends, fill=(red, green, blue, 255), width=round(thick))


def _draw_joint(
    pen: ImageDraw.ImageDraw, point: Sequence[float], share: float, longer: float
) -> None:
    # the area grows with the share
    radius = longer * (_SMALLEST**2 + share * (_LARGEST**2 - _SMALLEST**2)) ** 0.5
    x, y = point
    pen.ellipse(
        (x - radius, y - radius, x + radius, y + radius),
        fill=(*_colour(share), 255),
        outline=(*_EDGE, 255),
        width=max(1, round(longer / 400)),
    )


def _draw_legend(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """Draw the scale of colours and sizes at the foot, where the picture has room for words."""
    font = _font(max(round(height / 34), 9 * _FINE))
    words = ("nothing", "most in the clip")
    room = [round(font.getlength(word)) for word in words]
    bar, gap = round(0.2 * width), round(height / 60)
    total = sum(room) + bar + 2 * gap
    if total + 2 * gap > width:
        return
    left, top = width - total - gap, height - round(font.size * 1.7)
    pen.rectangle((left - gap, top - gap // 2, width, height), fill=(*CANVAS, 190))
    pen.text((left, top), words[0], font=font, fill=(*_EDGE, 255))
    start, thick = left + room[0] + gap, font.size * 0.7
    middle = top + font.size * 0.65
    for step in range(bar):
        share = step / max(bar - 1, 1)
        pen.line(
            (start + step, middle - thick / 2, start + step, middle + thick / 2),
            fill=(*_colour(share), 255),
        )
    pen.text((start + bar + gap, top), words[1], font=font, fill=(*_EDGE, 255))


def _colour(share: float) -> tuple[int, int, int]:
    red, green, blue = colour_table()[round(255 * min(max(share, 0.0), 1.0))].tolist()
    return red, green, blue


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own DejaVu Sans, which every installation has."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
