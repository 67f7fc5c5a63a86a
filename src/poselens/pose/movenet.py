"""MoveNet Lightning: the 17 COCO joints of one person, about 10 ms a frame on one CPU core.

The network wants the person to fill its small square input, so each frame is cropped around where
the joints were in the frame before. The rule is the one Google publishes with the model (TensorFlow
Hub tutorial "MoveNet: Ultra fast and accurate pose detection model"); the fallback to the shoulders
is ours.
"""

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from poselens.errors import CheckpointError, EnvironmentFault
from poselens.pose.estimators import Pose, require_pictures
from poselens.pose.layouts import get_layout
from poselens.types import Box, Skeleton

INPUT_SIDE = 192

_SEEN = 0.2  # score from which a joint steers the crop
_TORSO_MARGIN = 1.9
_BODY_MARGIN = 1.2
_REACH = 2.2  # shoulder widths from the neck to an outstretched hand
_LAYOUT = get_layout("coco-17")
_SHOULDERS = [_LAYOUT.index("left_shoulder"), _LAYOUT.index("right_shoulder")]
_HIPS = [_LAYOUT.index("left_hip"), _LAYOUT.index("right_hip")]

Inference = Callable[[UInt8[np.ndarray, "h w 3"]], Float[np.ndarray, "v 3"]]
"""One run of the network: a square picture to ``(y, x, score)`` of each joint, all in [0, 1]."""


class MoveNet:
    """Finds one person's joints by tracked crops; see ``open_movenet``.

    Args:
        infer: The network.
        threshold: Joints with a lower score are reported as missing.
    """

    layout = "coco-17"

    def __init__(self, infer: Inference, *, threshold: float = 0.3) -> None:
        self._infer = infer
        self._threshold = threshold

    def estimate(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Pose:
        """Find the joints of the person nearest the middle, frame after frame.

        The first frame is looked at twice, whole and then cropped.

        Raises:
            UsageError: ``POSE-001`` for no frames, ``POSE-002`` for frames that are no pictures.
        """
        found: list[Float[np.ndarray, "v 3"]] = []
        crop: Box | None = None
        for frame in require_pictures(frames):
            size = (frame.shape[0], frame.shape[1])
            if crop is None:
                crop = next_crop(self.look(frame, whole_frame(size)), size)
            joints = self.look(frame, crop)
            crop = next_crop(joints, size)
            found.append(joints)
        track = np.stack(found).astype(np.float32)
        scores = track[None, :, :, 2]
        positions = np.where(scores[..., None] >= self._threshold, track[None, :, :, :2], np.nan)
        skeleton = Skeleton(positions.astype(np.float32), self.layout, "pixels")
        return Pose(skeleton, scores)

    def look(self, frame: UInt8[np.ndarray, "h w 3"], crop: Box) -> Float[np.ndarray, "v 3"]:
        """Return ``(x, y, score)`` of each joint of the person in a square, in pixels."""
        found = self._infer(cut_square(frame, crop, INPUT_SIDE))
        return np.stack(
            (
                crop.left + found[:, 1] * crop.width,
                crop.top + found[:, 0] * crop.height,
                found[:, 2],
            ),
            axis=-1,
        )


def open_movenet(weights: Path, *, threshold: float = 0.3, threads: int = 1) -> MoveNet:
    """Load MoveNet Lightning for LiteRT.

    Args:
        weights: The ``.tflite`` file, see ``poselens.pose.weights``.
        threshold: Joints with a lower score are reported as missing.
        threads: Threads of the interpreter.

    Raises:
        EnvironmentFault: ``ENV-005`` when LiteRT is not installed.
        CheckpointError: ``POSE-003`` for a file that is not this model.
    """
    try:
        litert = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as fault:
        raise EnvironmentFault(
            "ENV-005",
            "finding joints needs the package ai-edge-litert",
            mend="pip install 'poselens[pose]'",
        ) from fault
    try:
        content = weights.read_bytes()
        interpreter = litert.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    except (OSError, ValueError, RuntimeError) as fault:
        raise _not_movenet(weights, "it cannot be loaded") from fault
    shapes = [list(map(int, tensor["shape"])) for tensor in (*taken, *given)]
    if shapes != [[1, INPUT_SIDE, INPUT_SIDE, 3], [1, 1, len(_LAYOUT), 3]]:
        raise _not_movenet(weights, f"found input and output {shapes}")

    def infer(picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "v 3"]:
        interpreter.set_tensor(taken[0]["index"], picture[None].astype(taken[0]["dtype"]))
        interpreter.invoke()
        return np.array(interpreter.get_tensor(given[0]["index"])[0, 0], np.float32)

    return MoveNet(infer, threshold=threshold)


def _not_movenet(weights: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        "POSE-003",
        f"not a MoveNet Lightning model for LiteRT: {reason}",
        file=weights,
        mend="fetch the weights movenet-lightning again",
    )


def whole_frame(size: tuple[int, int]) -> Box:
    """Return the smallest centred square around the frame; it sticks out on two sides."""
    height, width = size
    side = max(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return Box(left, top, left + side, top + side)


def next_crop(joints: Float[np.ndarray, "v 3"], size: tuple[int, int]) -> Box:
    """Choose the square in which to look for the person in the next frame.

    Centred at the hips, reaching ``max(1.9 torso, 1.2 body)``, where both are the largest
    horizontal or vertical distance from the centre to a joint seen, of the torso and of all. The
    whole frame where the person is lost, or where the square would be as large.

    Departure: where no hip is seen (half-body pictures), the square is centred between the
    shoulders and reaches at least 2.2 shoulder widths, as far as hands go; Google's rule goes back
    to the whole frame there.

    Args:
        joints: ``(x, y, score)`` in pixels of the frame.
        size: Height and width of the frame.
    """
    height, width = size
    points, seen = joints[:, :2], joints[:, 2] > _SEEN
    if not seen[_SHOULDERS].any():
        return whole_frame(size)
    if seen[_HIPS].any():
        centre = points[_HIPS].mean(axis=0)
        torso = [joint for joint in _SHOULDERS + _HIPS if seen[joint]]
        reach = _TORSO_MARGIN * np.abs(points[torso] - centre).max()
    elif seen[_SHOULDERS].all():
        centre = points[_SHOULDERS].mean(axis=0)
        reach = _REACH * np.linalg.norm(points[_SHOULDERS[0]] - points[_SHOULDERS[1]])
    else:
        return whole_frame(size)
    reach = max(reach, _BODY_MARGIN * np.abs(points[seen] - centre).max())
    # beyond the far edge there is nothing to see
    reach = min(reach, max(centre[0], width - centre[0], centre[1], height - centre[1]))
    if not 2 <= reach <= max(height, width) / 2:
        return whole_frame(size)
    left, top = (round(float(value - reach)) for value in centre)
    side = round(2 * float(reach))
    return Box(left, top, left + side, top + side)


def cut_square(
    frame: UInt8[np.ndarray, "h w 3"], crop: Box, side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """Cut out a square, black where it sticks out of the frame, scaled to ``side`` pixels."""
    height, width = frame.shape[:2]
    top, bottom = max(crop.top, 0), min(crop.bottom, height)
    left, right = max(crop.left, 0), min(crop.right, width)
    square = np.zeros((crop.height, crop.width, 3), np.uint8)
    if top < bottom and left < right:
        inside = square[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left]
        inside[:] = frame[top:bottom, left:right]
    scaled = Image.fromarray(square).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(scaled)
