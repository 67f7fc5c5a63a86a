"""What may go wrong between a camera and a network, by kind and severity, for evaluation only.

A disturbance acts before the normal preparation: a crop that comes from joints suffers from what
happens to them. What chance decides depends on the seed and the clip's id alone, whatever the order
of the clips, the batch or the process; and the same for every severity, so that a milder one is
part of a harder one. Its severity at rest leaves every clip as it is, bit for bit.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8

from poselens.clips.crop import Region
from poselens.clips.disturb_joints import (
    drop_frames,
    drop_joints,
    drop_limbs,
    hold_frames,
    shake,
    torso_lengths,
)
from poselens.clips.disturb_pictures import cover, darken, grain, scale_region, shift_region
from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.errors import UsageError
from poselens.pose.layouts import get_layout
from poselens.types import Skeleton, Space

Acts = Literal["joints", "pixel-joints", "time", "crop", "pictures"]


@dataclass(frozen=True)
class Kind:
    """One way to disturb clips.

    Attributes:
        title: For people.
        unit: What a severity counts; ``%`` for a share, which lies in [0, 1].
        phrase: A clause with ``{}`` in the place of the severity.
        levels: Severities to try, mildest first.
        acts: What it changes.
        highest: Largest severity that is taken.
        rest: Severity that changes nothing, the smallest that is taken.
    """

    title: str
    unit: str
    phrase: str
    levels: tuple[float, ...]
    acts: Acts
    highest: float
    rest: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are severities."""
        return self.acts == "time"


_SHARES = (0.05, 0.1, 0.2, 0.4)

KINDS: dict[str, Kind] = {
    "joint-dropout": Kind(
        "Joints missing, one by one", "% of the joints", "{} of the joints are missing",
        (0.1, 0.2, 0.4, 0.6), "joints", 1.0,
    ),
    "limb-dropout": Kind(
        "Limbs out of sight for a while", "% of the clip",
        "each arm and leg is out of sight for {} of the clip", (0.1, 0.2, 0.4, 0.6), "joints", 1.0,
    ),
    "missing-frames": Kind(
        "Nobody found in a frame", "% of the frames", "nobody is found in {} of the frames",
        (0.1, 0.2, 0.4, 0.6), "joints", 1.0,
    ),
    "joint-noise": Kind(
        "Joints shaken", "% of the torso's length",
        "joints are shaken by {} of the torso's length", (0.02, 0.05, 0.1, 0.2), "joints", 2.0,
    ),
    "joint-noise-pixels": Kind(
        "Joints shaken, in pixels", "pixels", "joints are shaken by {} pixels",
        (1.0, 2.0, 4.0, 8.0), "pixel-joints", 1000.0,
    ),
    "frame-rate": Kind(
        "Fewer frames a second", "times fewer", "the frame rate is {} times lower",
        (2.0, 3.0, 4.0, 8.0), "time", 1000.0, 1.0,
    ),
    "crop-shift": Kind(
        "Crop beside the person", "% of the crop's size", "the crop lies {} of its size beside",
        (0.05, 0.1, 0.2, 0.4), "crop", 0.95,
    ),
    "crop-scale": Kind(
        "Crop too large or too small", "% of the crop's size",
        "the crop is {} too large or too small", (0.1, 0.2, 0.4, 0.8), "crop", 10.0,
    ),
    "occlusion": Kind(
        "Something stands in front", "% of the crop's area", "{} of the crop is covered",
        _SHARES, "pictures", 1.0,
    ),
    "moving-occlusion": Kind(
        "Something passes in front", "% of the crop's area",
        "{} of the crop is covered by something that moves", _SHARES, "pictures", 1.0,
    ),
    "darkness": Kind(
        "Less light", "stops (halvings of the light)", "the light is halved {} times",
        (1.0, 2.0, 3.0, 4.0), "pictures", 16.0,
    ),
    "picture-noise": Kind(
        "Grainy pictures", "grey values of 255", "the pictures' noise is {} of 255 grey values",
        (5.0, 10.0, 20.0, 40.0), "pictures", 255.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Disturbance:
    """One kind at one severity; travels to data processes with the clips' own settings.

    Attributes:
        kind: A name in ``KINDS``.
        level: The severity, in the kind's unit (shares in [0, 1]).
        seed: Seed of what chance decides.

    Raises:
        UsageError: ``EVAL-060`` for an unknown kind, ``EVAL-061`` for a severity that it cannot
            have.
    """

    kind: str
    level: float
    seed: int = 0

    def __post_init__(self) -> None:
        about = kind_of(self.kind)
        fits = isfinite(self.level) and about.rest <= self.level <= about.highest
        if not fits or (about.whole and self.level != int(self.level)):
            numbers = "whole numbers" if about.whole else "numbers"
            raise UsageError(
                "EVAL-061",
                f"found level {self.level:g} of {self.kind}, expected {numbers} from "
                f"{about.rest:g} to {about.highest:g} ({_counted(about)})",
                mend="give --levels that the kind can have",
            )

    def joints(self, skeleton: Skeleton, clip: str) -> Skeleton:
        """Return the joints of a clip as they are seen under the disturbance."""
        kind, level, given = self.kind, self.level, skeleton.positions
        rng = generator(self.seed, clip)
        if kind == "joint-dropout":
            positions = drop_joints(given, level, rng)
        elif kind == "limb-dropout":
            positions = drop_limbs(given, level, get_layout(skeleton.layout), rng)
        elif kind == "missing-frames":
            positions = drop_frames(given, level, rng)
        elif kind == "joint-noise":
            torso = torso_lengths(given, get_layout(skeleton.layout))
            positions = shake(given, level * torso, rng)
        elif kind == "joint-noise-pixels" and skeleton.space == "pixels":
            positions = shake(given, level, rng)
        elif kind == "frame-rate":
            positions = given[:, self.frames(np.arange(given.shape[1]))]
        else:
            return skeleton
        return replace(skeleton, positions=positions)

    def frames(self, wanted: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the frames that are seen in the place of those wanted, from the clip's first."""
        return hold_frames(wanted, int(self.level)) if self.kind == "frame-rate" else wanted

    def region(self, region: Region, frame_size: tuple[int, int], clip: str) -> Region:
        """Return where the crop of a clip lies under the disturbance."""
        if self.kind == "crop-shift":
            return shift_region(region, frame_size, self.level, generator(self.seed, clip))
        if self.kind == "crop-scale":
            return scale_region(region, frame_size, self.level, generator(self.seed, clip))
        return region

    def pictures(
        self, pixels: UInt8[np.ndarray, "n h w 3"], when: Float[np.ndarray, " n"], clip: str
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Return frames of a clip's region under the disturbance; ``when`` is a share of the clip.

        Frames of one clip are to come together, in the order of the network.
        """
        if self.kind in ("occlusion", "moving-occlusion"):
            rng, moving = generator(self.seed, clip), self.kind == "moving-occlusion"
            return cover(pixels, self.level, when, rng, moving=moving)
        if self.kind == "darkness":
            return darken(pixels, self.level)
        if self.kind == "picture-noise":
            return grain(pixels, self.level, generator(self.seed, clip))
        return pixels


def kind_of(name: str) -> Kind:
    """Return what is known of a kind.

    Raises:
        UsageError: ``EVAL-060`` for an unknown name.
    """
    if name not in KINDS:
        raise UsageError(
            "EVAL-060", f"unknown disturbance {name!r}", mend=f"use one of {', '.join(KINDS)}"
        )
    return KINDS[name]


def _counted(kind: Kind) -> str:
    share = kind.unit.startswith("% ")
    return f"1 is 100 {kind.unit}" if share else kind.unit


def generator(seed: int, clip: str) -> np.random.Generator:
    """Return the generator of a clip; it depends on the seed and the id alone."""
    name = hashlib.sha256(clip.encode()).digest()
    return np.random.default_rng((seed, int.from_bytes(name[:16], "big")))


def reaches(name: str, stream: RgbStream | SkeletonStream, stored: Collection[Space]) -> bool:
    """Return whether a kind can change what a stream sees.

    Args:
        name: A kind.
        stream: The stream.
        stored: Spaces in which the data set has joints; the crop comes from those in pixels.

    Raises:
        UsageError: ``EVAL-060`` for an unknown kind.
    """
    acts = kind_of(name).acts
    if isinstance(stream, SkeletonStream):
        in_pixels = acts == "pixel-joints" and stream.input.space == "pixels"
        return acts in ("joints", "time") or in_pixels
    cropped = stream.input.crop and "pixels" in stored
    return acts in ("pictures", "time") or cropped
