"""From the bodies that a Kinect tracked to the people of a clip.

The sensor gives a body a new id whenever it loses it, and takes tables and seats for bodies. The
rules and thresholds here are those with which published results on NTU RGB+D were made: the authors
name them in the FAQ of github.com/shahroudy/NTURGB-D, numbers and order are those of CTR-GCN's
preparation (github.com/Uason-Chen/CTR-GCN, ``data/ntu``). Written anew; the differences are named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from poselens.data.ntu_skeleton import NtuSkeleton

SHORT = 11
"""Bodies seen in this many frames, or fewer, are ghosts."""
WIDE = 0.8
"""A frame is noisy in which a body is wider than this share of its height."""
NOISY = 0.69754
"""Bodies with this share of noisy frames, or more, are furniture."""
PEOPLE = 2


@dataclass(frozen=True, eq=False)
class Body:
    """All that was tracked under one id.

    Attributes:
        name: The id.
        frame: Frames in which it was seen, rising.
        joints_metres: ``(t, v, 3)``, NaN for a missing joint.
        joints_pixels: ``(t, v, 2)``, NaN for a missing joint.
    """

    name: str
    frame: Int[np.ndarray, " t"]
    joints_metres: Float[np.ndarray, "t v 3"]
    joints_pixels: Float[np.ndarray, "t v 2"]


def by_id(skeleton: NtuSkeleton) -> list[Body]:
    """Return a body for every id, in the order in which the ids come up."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(skeleton.body):
        rows.setdefault(name, []).append(row)
    return [
        Body(
            name, skeleton.frame[at], skeleton.joints_metres[at], skeleton.joints_pixels[at]
        )
        for name, at in rows.items()
    ]  # fmt: skip


def motion(joints_metres: Float[np.ndarray, "t v 3"]) -> float:
    r"""Return the sum of the variances of x, y and z over all frames and joints.

    .. math::
        \mathrm{var}(x) + \mathrm{var}(y) + \mathrm{var}(z)

    Missing joints do not count; 0 where none is known.
    """
    known = joints_metres[~np.isnan(joints_metres[..., 0])].astype(np.float64)
    return float(known.var(axis=0).sum()) if len(known) else 0.0


def noisy_frames(joints_metres: Float[np.ndarray, "t v 3"]) -> np.ndarray:
    """Tell of each frame whether the body is too wide for its height to be a person.

    Departure: extents are those of the joints that are known; a frame without any is noisy.
    """
    known = ~np.isnan(joints_metres[..., :1])
    low = np.where(known, joints_metres, np.inf).min(axis=1)
    high = np.where(known, joints_metres, -np.inf).max(axis=1)
    extent = np.where(known.any(axis=1), high - low, np.nan)
    noisy: np.ndarray = ~(extent[:, 0] <= WIDE * extent[:, 1])
    return noisy


def real_bodies(bodies: Sequence[Body]) -> list[Body]:
    """Leave ghosts and furniture out, and sort the others by how much they move, most first.

    A body that is alone is a person whatever it looks like. Of several, those of up to 11 frames
    go; then, one by one in the order in which they came up and while more than one is left, those
    with 69.754 % noisy frames or more. Motion is that of the frames that are not noisy, where it is
    less.

    Departure: where all are short, none goes for it; the published code stops there. Its thresholds
    of motion are not applied in that code, and are not here.
    """
    left = list(bodies)
    if len(left) > 1:
        left = [body for body in left if len(body.frame) > SHORT] or left
    moving = {body.name: motion(body.joints_metres) for body in left}
    for body in tuple(left):
        if len(left) == 1:
            break
        noisy = noisy_frames(body.joints_metres)
        if noisy.mean() >= NOISY:
            left.remove(body)
        else:
            steady = motion(body.joints_metres[~noisy])
            moving[body.name] = min(moving[body.name], steady)
    return sorted(left, key=lambda body: -moving[body.name])


def tracks(bodies: Sequence[Body]) -> list[list[Body]]:
    """Join bodies into at most two people, the most moving body first.

    The first opens track 1. Each further one joins the first track whose time, from its first to
    its last frame, it shares in no more than one frame: the sensor has then lost a person and found
    it again under another id. Bodies that fit neither track are left out.
    """
    found: list[list[Body]] = []
    spans: list[tuple[int, int]] = []
    for body in bodies:
        first, last = int(body.frame[0]), int(body.frame[-1])
        for place, (start, end) in enumerate(spans):
            if min(end, last) - max(start, first) <= 0:
                found[place].append(body)
                spans[place] = (min(start, first), max(end, last))
                break
        else:
            if len(found) < PEOPLE:
                found.append([body])
                spans.append((first, last))
    return found


def people(
    skeleton: NtuSkeleton,
) -> tuple[Float[np.ndarray, "m t v 3"], Float[np.ndarray, "m t v 2"]]:
    """Return the one or two people of a recording, in metres and in pixels.

    Departure: a frame without a body stays, as NaN, so that frame i is frame i of the video;
    CTR-GCN and PYSKL drop such frames. A body that was lost for a while keeps its frames apart;
    there they are closed up. Where two joined bodies share a frame, the one that moves more has it;
    there the later one has. The time of track 2 begins with its first body, there with the
    recording.

    Returns:
        ``(m, t, v, 3)`` and ``(m, t, v, 2)``, t the frames of the file, NaN where nothing is known.
    """
    joined = tracks(real_bodies(by_id(skeleton)))
    joints = skeleton.joints_metres.shape[1]
    metres = np.full((len(joined), skeleton.frames, joints, 3), np.nan, dtype=np.float32)
    pixels = np.full((len(joined), skeleton.frames, joints, 2), np.nan, dtype=np.float32)
    for person, bodies in enumerate(joined):
        for body in reversed(bodies):
            metres[person, body.frame] = body.joints_metres
            pixels[person, body.frame] = body.joints_pixels
    return metres, pixels
