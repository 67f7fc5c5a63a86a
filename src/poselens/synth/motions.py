"""Recorded motion as the source: a joint file such as ``bandai2_joints.npz``.

The file holds ``names`` (one per take, ``SET_ACTION_STYLE_NUMBER``), ``lengths`` (frames per take),
``joints`` (22 names), and ``xyz`` ``(frames of all takes, 22, 3)``, centimetres, y up, at 30 frames
a second.
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.errors import SkeletonError
from poselens.synth.body import Body
from poselens.synth.figure import INDEX, JOINTS, Figure, unit

Array = NDArray[np.float64]

SOURCE_FPS = 30.0
LONGEST = 96
"""Frames at 24 a second: longer takes are cut to their middle."""

BLOCK = 8
"""Takes with neighbouring numbers come from one session: so many stay in one part, fewer in classes
of less than three times as many."""

_TAKE = re.compile(r"^[^_]+_(?P<action>[^_]+)_(?P<style>[^_]+)_(?P<number>\d+)$")

# figure joint -> (recorded joint, figure joint the bone starts from)
_BONES: dict[str, tuple[str, str]] = {
    "neck": ("Neck", "pelvis"),
    "head": ("Head", "neck"),
    **{
        f"{side}_{joint}": (f"{recorded}_{letter}", start.format(side=side))
        for side, letter in (("left", "L"), ("right", "R"))
        for joint, recorded, start in (
            ("shoulder", "UpperArm", "neck"),
            ("elbow", "LowerArm", "{side}_shoulder"),
            ("wrist", "Hand", "{side}_elbow"),
            ("hip", "UpperLeg", "pelvis"),
            ("knee", "LowerLeg", "{side}_hip"),
            ("ankle", "Foot", "{side}_knee"),
            ("toe", "Toes", "{side}_ankle"),
        )
    },
}


@dataclass(frozen=True, eq=False)
class Motions:
    """Takes of a joint file.

    Attributes:
        classes: ``ACTION_STYLE`` in alphabetical order.
        labels: ``(n,)`` class of every take.
        blocks: ``(n,)`` run of neighbouring takes within the class, from 0, at least three a class.
        offsets: ``(n + 1,)`` first frame of every take, and the end.
        xyz: ``(frames, 17, 3)`` centimetres, in the order of the figure's joints.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    blocks: NDArray[np.int64]
    offsets: NDArray[np.int64]
    xyz: NDArray[np.float16]

    def block(self, index: int) -> str:
        """Return the name of the run of neighbouring takes that a take belongs to."""
        return f"{self.classes[self.labels[index]]}-{self.blocks[index]:03d}"

    def take(self, index: int) -> Float[np.ndarray, "t 17 3"]:
        """Return one take in metres at 24 frames a second, on the spot.

        The path over the floor, smoothed over a second, is taken off: the person acts in place as
        on a treadmill, so that walks and runs stay in view.
        """
        joints = self.xyz[self.offsets[index] : self.offsets[index + 1]].astype(np.float64) / 100
        count = max(2, round(len(joints) * 24.0 / SOURCE_FPS))
        at = np.linspace(0.0, len(joints) - 1.0, count)
        low = np.minimum(at.astype(int), max(len(joints) - 2, 0))
        high = np.minimum(low + 1, len(joints) - 1)
        part = (at - low)[:, None, None]
        joints = (1 - part) * joints[low] + part * joints[high]
        spare = max(len(joints) - LONGEST, 0) // 2
        joints = joints[spare : spare + LONGEST]
        path = joints[:, 0] * [1.0, 0.0, 1.0]
        reach = np.abs(np.arange(len(path))[:, None] - np.arange(len(path)))
        weight = np.maximum(1.0 - reach / 24.0, 0.0)
        path = weight @ path / weight.sum(axis=1, keepdims=True)
        return np.asarray(joints - path[:, None], dtype=np.float32)


def load_motions(path: Path) -> Motions:
    """Open a joint file.

    Raises:
        SkeletonError: ``SKEL-030`` for a file that is no such archive, ``SKEL-031`` for joints,
            names or lengths that do not fit, ``SKEL-032`` for a class of less than three takes.
    """
    mend = "give an .npz with names, lengths, joints and xyz, or leave --motion out"
    try:
        # numpy leaves a file it opened itself open when the archive is cut short
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            names = [str(name) for name in archive["names"]]
            joints = [str(name) for name in archive["joints"]]
            lengths, xyz = archive["lengths"], archive["xyz"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        message = f"not a joint file ({error})"
        raise SkeletonError("SKEL-030", message, file=path, mend=mend) from error
    takes = [_TAKE.match(name) for name in names]
    strange = [name for name, take in zip(names, takes, strict=True) if take is None]
    if strange:
        message = f"take {strange[0]!r} is not named SET_ACTION_STYLE_NUMBER"
        raise SkeletonError("SKEL-031", message, file=path, where="names", mend=mend)
    wanted = ["Hips", *(recorded for recorded, _ in _BONES.values())]
    lacking = [name for name in wanted if name not in joints]
    if lacking:
        message = f"joint {lacking[0]!r} is missing, found {', '.join(joints)}"
        raise SkeletonError("SKEL-031", message, file=path, where="joints", mend=mend)
    if len(lengths) != len(names) or xyz.shape != (int(lengths.sum()), len(joints), 3):
        message = (
            f"xyz has shape {xyz.shape}, expected ({int(lengths.sum())}, {len(joints)}, 3) "
            f"from {len(lengths)} lengths and {len(names)} names"
        )
        raise SkeletonError("SKEL-031", message, file=path, where="xyz", mend=mend)
    named = [take for take in takes if take is not None]
    kinds = np.array([f"{take['action']}_{take['style']}" for take in named])
    found, labels = np.unique(kinds, return_inverse=True)
    classes = tuple(str(name) for name in found)
    numbers = np.array([int(take["number"]) for take in named])
    return Motions(
        classes=classes,
        labels=labels.astype(np.int64),
        blocks=_blocks(labels, numbers, classes, path),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        xyz=xyz[:, [joints.index(recorded) for recorded in wanted]],
    )


def _blocks(
    labels: NDArray[np.int64], numbers: NDArray[np.int64], classes: tuple[str, ...], path: Path
) -> NDArray[np.int64]:
    """Cut the takes of every class, in the order of their numbers, into runs."""
    blocks = np.zeros(len(labels), dtype=np.int64)
    for label, name in enumerate(classes):
        takes = np.flatnonzero(labels == label)
        if len(takes) < 3:
            raise SkeletonError(
                "SKEL-032",
                f"class {name!r} has {len(takes)} takes, expected at least 3",
                file=path,
                mend="leave the class out of the joint file",
            )
        takes = takes[np.argsort(numbers[takes], kind="stable")]
        blocks[takes] = np.arange(len(takes)) // min(BLOCK, len(takes) // 3)
    return blocks


def _lengths(body: Body) -> dict[str, float]:
    """Return the length of the bone that ends in each joint."""
    lengths = {"neck": body.torso, "head": body.neck}
    shoulder = float(np.hypot(body.shoulder_half, 0.03 * body.height))
    for side in ("left", "right"):
        for joint, length in (
            ("shoulder", shoulder),
            ("elbow", body.upper_arm),
            ("wrist", body.forearm),
            ("hip", body.hip_half),
            ("knee", body.thigh),
            ("ankle", body.shin),
            ("toe", body.foot),
        ):
            lengths[f"{side}_{joint}"] = length
    return lengths


def retarget(joints: Float[np.ndarray, "t 17 3"], body: Body) -> Figure:
    """Give recorded bone directions the bone lengths of ``body``, the lowest foot on the floor."""
    source = joints.astype(np.float64)
    columns = {name: position for position, name in enumerate(("pelvis", *_BONES))}
    lengths = _lengths(body)
    placed = {"pelvis": source[:, 0] * [1.0, 0.0, 1.0]}
    for name, (_, start) in _BONES.items():
        bone = unit(source[:, columns[name]] - source[:, columns[start]])
        placed[name] = placed[start] + lengths[name] * bone
    figure = np.stack([placed[name] for name in JOINTS], axis=1)
    feet = figure[:, [INDEX["left_toe"], INDEX["right_toe"]], 1]
    ankles = figure[:, [INDEX["left_ankle"], INDEX["right_ankle"]], 1] - 0.7 * body.ankle_height
    low = np.concatenate([feet, ankles], axis=1).min(axis=1)
    # runs leave the floor: one height for the whole take, not one per frame
    figure[..., 1] += 0.3 * body.ankle_height - np.percentile(low, 10)
    crown = unit(figure[:, INDEX["head"]] - figure[:, INDEX["neck"]])
    across = unit(figure[:, INDEX["left_shoulder"]] - figure[:, INDEX["right_shoulder"]])
    return Figure(joints=figure, face=unit(np.cross(across, crown)), crown=crown)
