"""From one joint layout to another, where the joints allow it.

A joint is taken from the joint of the same name, once the names that layouts have for one place are
made equal, or it is the middle of a pair where its layout defines it so. Nothing is guessed: a
joint that the source does not have is NaN in the result, and is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from poselens.errors import UsageError
from poselens.pose.layouts import LAYOUTS, Layout, get_layout, known_layouts, require_joint_count

LEAST_SHARE = 0.5
"""Share of the target's joints that a source must give."""


def _both_sides(names: Mapping[str, str]) -> dict[str, str]:
    return {
        f"{side}_{name}": f"{side}_{place}"
        for name, place in names.items()
        for side in ("left", "right")
    }


_KINECT_V1 = {"shoulder_centre": "neck", "hip_centre": "pelvis"}

# The place of the body that a joint stands for, where its name is not that of the place. Departure:
# the base of the neck of sensors and motion capture counts as the middle of the shoulders, which
# OpenPose calls the neck, and the sensors' spine base as the middle of the hips; both are a few
# centimetres apart. Places farther apart keep names of their own although layouts call them alike:
# the top of a head and its middle, a thumb's tip and its knuckle.
_PLACES: dict[str, dict[str, str]] = {
    "kinect-20": _KINECT_V1,
    "ucla-20": _KINECT_V1,
    "ntu-25": {
        "spine_shoulder": "neck",
        "neck": "middle_of_neck",
        "spine_mid": "spine",
        "spine_base": "pelvis",
    },
    "openpose-25": {"mid_hip": "pelvis"},
    "halpe-26": {"hip": "pelvis", "head": "top_of_head"},
    "mediapipe-33": _both_sides({"thumb": "thumb_knuckle"}),
    "h36m-17": {
        "hip": "pelvis",
        "thorax": "neck",
        "head": "top_of_head",
        **_both_sides({"foot": "ankle"}),
    },
    "bandai-22": {
        "hips": "pelvis",
        "spine": "lower_spine",
        "head": "base_of_head",
        **_both_sides(
            {
                "shoulder": "collar",
                "upper_arm": "shoulder",
                "lower_arm": "elbow",
                "hand": "wrist",
                "upper_leg": "hip",
                "lower_leg": "knee",
                "foot": "ankle",
            }
        ),
    },
}

_MIDDLES = {"neck": ("left_shoulder", "right_shoulder"), "pelvis": ("left_hip", "right_hip")}
# Layouts whose neck and pelvis are middles: OpenPose trains on the mean of both shoulders and of
# both hips, Halpe marks them there, and MotionBERT makes them so for Human3.6M
# (lib/data/dataset_action.py).
_EXACT = ("openpose-18", "openpose-25", "halpe-26", "h36m-17")


class Converted(NamedTuple):
    """Joints in another layout, and the names of those that the source could not give."""

    positions: Float[np.ndarray, "*b v c"]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """How one layout becomes another.

    Attributes:
        source: Layout that is given.
        target: Layout that is wanted.
        origins: For each joint of the target the joint of the source, the two joints it lies
            between, or nothing.
    """

    source: Layout
    target: Layout
    origins: tuple[tuple[int, ...], ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Joints of the target that the source cannot give."""
        return tuple(
            name
            for name, origin in zip(self.target.joints, self.origins, strict=True)
            if not origin
        )

    @property
    def share(self) -> float:
        """Share of the target's joints that the source gives, in [0, 1]."""
        return 1 - len(self.missing) / len(self.target)

    def __call__(self, positions: Float[np.ndarray, "*b v c"]) -> Float[np.ndarray, "*b w c"]:
        """Return joints of the source as joints of the target, NaN where missing."""
        shape = (*positions.shape[:-2], len(self.target), positions.shape[-1])
        moved = np.full(shape, np.nan, dtype=positions.dtype)
        for joint, origin in enumerate(self.origins):
            if origin:
                # of one joint alone the mean is that joint, bit for bit
                moved[..., joint, :] = positions[..., list(origin), :].mean(axis=-2)
        return moved


def conversion(from_layout: str, to_layout: str) -> Conversion:
    """Return how ``from_layout`` becomes ``to_layout``, however little of it.

    Raises:
        UsageError: ``CFG-003`` an unknown layout.
    """
    return _planned(get_layout(from_layout), get_layout(to_layout))


@lru_cache(maxsize=256)
def _planned(source: Layout, target: Layout) -> Conversion:
    if source == target:
        return Conversion(source, target, tuple((joint,) for joint in range(len(target))))
    by_place = {place(source, name): joint for joint, name in enumerate(source.joints)}
    wanted = [place(target, name) for name in target.joints]
    origins: list[tuple[int, ...]] = [
        (by_place[spot],) if spot in by_place else () for spot in wanted
    ]
    if source.name not in LAYOUTS or target.name not in LAYOUTS:
        # places of a user's own layout are not known; what is left over and is called alike is one
        left = {
            name: joint
            for joint, name in enumerate(source.joints)
            if place(source, name) not in wanted
        }
        origins = [
            origin or ((left[name],) if name in left else ())
            for name, origin in zip(target.joints, origins, strict=True)
        ]
    for joint, spot in enumerate(wanted):
        ends = _MIDDLES.get(spot, ()) if target.name in _EXACT else ()
        if not origins[joint] and ends and all(end in by_place for end in ends):
            origins[joint] = tuple(by_place[end] for end in ends)
    return Conversion(source, target, tuple(origins))


def place(layout: Layout, joint: str) -> str:
    """Return the place of the body that a joint stands for: its own name, or that of another."""
    return _PLACES.get(layout.name, {}).get(joint, joint)


def convert(
    positions: Float[np.ndarray, "*b v c"],
    from_layout: str,
    to_layout: str,
    *,
    least: float = LEAST_SHARE,
) -> Converted:
    """Return joints in another layout, with NaN at those that the source does not have.

    Args:
        positions: Joints of ``from_layout`` in pixels or metres, NaN where missing.
        from_layout: Layout of ``positions``.
        to_layout: Layout wanted.
        least: Share of the target's joints, in [0, 1], that the source must give.

    Raises:
        UsageError: ``CFG-003`` an unknown layout; ``CFG-045`` when the source gives too few of the
            target's joints, with the layouts that it becomes in full.
        SkeletonError: ``SKEL-004`` when ``positions`` are not joints of ``from_layout``.
    """
    plan = conversion(from_layout, to_layout)
    require_joint_count(positions.shape[-2], plan.source)
    if plan.share < least:
        given = len(plan.target) - len(plan.missing)
        full = [name for name, missing in convertible(from_layout).items() if not missing]
        raise UsageError(
            "CFG-045",
            f"{from_layout} gives {given} of the {len(plan.target)} joints of {to_layout}, "
            f"at least {100 * least:.0f} % are needed",
            mend=f"{from_layout} becomes {', '.join(full) or 'no other layout'} in full",
        )
    return Converted(plan(positions), plan.missing)


def convertible(from_layout: str, *, least: float = LEAST_SHARE) -> dict[str, tuple[str, ...]]:
    """Return the layouts that a layout can become, each with the joints it would lack.

    Layouts that it becomes in full come first.

    Raises:
        UsageError: ``CFG-003`` an unknown layout.
    """
    plans = [conversion(from_layout, name) for name in known_layouts() if name != from_layout]
    plans.sort(key=lambda plan: len(plan.missing))
    return {plan.target.name: plan.missing for plan in plans if plan.share >= least}


def complete_sources(to_layout: str) -> tuple[str, ...]:
    """Return the layouts that become ``to_layout`` without lacking a joint.

    Raises:
        UsageError: ``CFG-003`` an unknown layout.
    """
    others = [name for name in known_layouts() if name != to_layout]
    return tuple(name for name in others if not conversion(name, to_layout).missing)
