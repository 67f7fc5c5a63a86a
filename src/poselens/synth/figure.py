"""Kinematics: from what a person wants (hands, feet, lean) to joints in metres.

Axes of the person and of the world: x to the person's left, y up, z where the person looks when
not turned. The origin lies on the floor under the person.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.synth.body import Body

Array = NDArray[np.float64]

JOINTS = (
    "pelvis",
    "neck",
    "head",
    *(
        f"{side}_{joint}"
        for side in ("left", "right")
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")
    ),
)
INDEX = {name: position for position, name in enumerate(JOINTS)}
SIDES = ("left", "right")
OUTWARD = np.array([1.0, -1.0])  # x of "away from the body" for the left and the right side


@dataclass(frozen=True, eq=False)
class Controls:
    """What a person does, frame by frame, in the person's own axes.

    Attributes:
        pelvis: ``(t, 3)`` offset of the pelvis from standing, metres.
        yaw: ``(t,)`` turn of the whole person about the vertical, radians, positive to the left.
        lean: ``(t, 2)`` forward and leftward lean of the trunk, radians.
        hands: ``(t, 2, 3)`` wrists left and right from their shoulders: outward, up, forward, in
            arm lengths.
        grip: ``(t, 2, 3)`` wrists as places in metres, used as far as ``hold`` says.
        hold: ``(t, 2)`` weight of ``grip`` against ``hands``, in [0, 1].
        feet: ``(t, 2, 3)`` offset of the ankles from standing, metres.
        gaze: ``(t, 2)`` turn of the head to the left and up, radians.
    """

    pelvis: Float[np.ndarray, "t 3"]
    yaw: Float[np.ndarray, " t"]
    lean: Float[np.ndarray, "t 2"]
    hands: Float[np.ndarray, "t 2 3"]
    grip: Float[np.ndarray, "t 2 3"]
    hold: Float[np.ndarray, "t 2"]
    feet: Float[np.ndarray, "t 2 3"]
    gaze: Float[np.ndarray, "t 2"]


@dataclass(frozen=True, eq=False)
class Figure:
    """A posed person.

    Attributes:
        joints: ``(t, 17, 3)`` metres, in the order of :data:`JOINTS`.
        face: ``(t, 3)`` unit vector out of the face.
        crown: ``(t, 3)`` unit vector out of the top of the head.
    """

    joints: Float[np.ndarray, "t 17 3"]
    face: Float[np.ndarray, "t 3"]
    crown: Float[np.ndarray, "t 3"]

    def at(self, name: str) -> Float[np.ndarray, "t 3"]:
        """Return one joint over time."""
        return self.joints[:, INDEX[name]]


def unit(vectors: Array) -> Array:
    """Scale vectors along the last axis to length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9))


def bend(
    root: Float[np.ndarray, "t 3"],
    target: Float[np.ndarray, "t 3"],
    pole: Float[np.ndarray, "t 3"],
    first: float,
    second: float,
) -> tuple[Float[np.ndarray, "t 3"], Float[np.ndarray, "t 3"]]:
    """Place the middle and the end of a two-bone limb (law of cosines).

    The end reaches ``target`` or, out of reach, points at it; the middle joint lies on the side of
    ``pole``. Bones are ``first`` and ``second`` metres long whatever the target.
    """
    reach = target - root
    span = np.linalg.norm(reach, axis=-1, keepdims=True)
    along = reach / np.maximum(span, 1e-9)
    span = np.clip(span, abs(first - second) + 1e-3, 0.999 * (first + second))
    foot = (first**2 - second**2 + span**2) / (2 * span)
    rise = np.sqrt(np.maximum(first**2 - foot**2, 0.0))
    side = unit(pole - (pole * along).sum(-1, keepdims=True) * along)
    return root + foot * along + rise * side, root + span * along


def turn_about_vertical(points: Float[np.ndarray, "t v 3"], yaw: Float[np.ndarray, " t"]) -> Array:
    """Turn points about the vertical axis by an angle per frame, positive to the left."""
    cosine, sine = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([cosine * x + sine * z, y, cosine * z - sine * x], axis=-1)


def pose(body: Body, controls: Controls) -> Figure:
    """Return the joints that follow from the controls."""
    frames = len(controls.yaw)
    joints = np.zeros((frames, len(JOINTS), 3))
    pitch, roll = controls.lean[:, 0], controls.lean[:, 1]
    up = unit(np.stack([np.sin(roll), np.cos(pitch) * np.cos(roll), np.sin(pitch)], axis=-1))
    across = unit(np.array([1.0, 0.0, 0.0]) - up[:, :1] * up)
    pelvis = controls.pelvis + np.array([0.0, body.hip_height, 0.0])
    neck = pelvis + body.torso * up
    joints[:, INDEX["pelvis"]], joints[:, INDEX["neck"]] = pelvis, neck
    joints[:, INDEX["head"]] = neck + body.neck * unit(up + np.array([0.0, 0.4, 0.15]))
    for side, name in enumerate(SIDES):
        sign = OUTWARD[side]
        shoulder = neck - 0.03 * body.height * up + sign * body.shoulder_half * across
        free = shoulder + body.arm * controls.hands[:, side] * np.array([sign, 1.0, 1.0])
        weight = controls.hold[:, side, None]
        target = (1 - weight) * free + weight * controls.grip[:, side]
        pole = np.broadcast_to([0.7 * sign, -0.6, -0.5], target.shape)
        elbow, wrist = bend(shoulder, target, pole, body.upper_arm, body.forearm)
        hip = pelvis + sign * body.hip_half * np.array([1.0, 0.0, 0.0])
        stance = np.array([1.15 * sign * body.hip_half, body.ankle_height, 0.0])
        ankle_target = controls.feet[:, side] + stance
        knees = np.broadcast_to([0.25 * sign, 0.0, 1.0], target.shape)
        knee, ankle = bend(hip, ankle_target, knees, body.thigh, body.shin)
        toe = ankle + np.array([0.25 * sign * body.foot, -0.7 * body.ankle_height, body.foot])
        limb = (shoulder, elbow, wrist, hip, knee, ankle, toe)
        joints[:, INDEX[f"{name}_shoulder"] : INDEX[f"{name}_shoulder"] + 7] = np.stack(limb, 1)
    yaw, nod = controls.gaze[:, 0], controls.gaze[:, 1]
    face = np.stack([np.sin(yaw) * np.cos(nod), np.sin(nod), np.cos(yaw) * np.cos(nod)], axis=-1)
    crown = unit(0.8 * np.array([0.0, 1.0, 0.0]) + 0.2 * up)
    crown = unit(crown - (crown * face).sum(-1, keepdims=True) * face)
    return Figure(
        joints=turn_about_vertical(joints, controls.yaw),
        face=turn_about_vertical(face[:, None], controls.yaw)[:, 0],
        crown=turn_about_vertical(crown[:, None], controls.yaw)[:, 0],
    )


def coco_joints(figure: Figure, body: Body) -> Float[np.ndarray, "t 17 3"]:
    """Return the joints of layout ``coco-17``: five points of the head, then the limbs."""
    head, radius = figure.at("head"), body.head_radius
    side = np.cross(figure.crown, figure.face)  # y x z = x: to the person's left
    eye = head + radius * (0.8 * figure.face + 0.2 * figure.crown)
    points = [
        head + radius * 1.02 * figure.face,
        eye + 0.36 * radius * side,
        eye - 0.36 * radius * side,
        head + 0.95 * radius * side,
        head - 0.95 * radius * side,
    ]
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        points += [figure.at(f"left_{joint}"), figure.at(f"right_{joint}")]
    return np.stack(points, axis=1)
