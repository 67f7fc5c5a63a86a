"""RTMPose in ONNX: the joints of the person in a box, each coordinate read off a bar of bins.

Source of the format: https://github.com/open-mmlab/mmpose/tree/main/projects/rtmpose (configs:
input 192 x 256, mean and standard deviation, SimCC with two bins a pixel) and MMDeploy's configs
``pose-detection_simcc`` (outputs ``simcc_x``, ``simcc_y``; padding 1.25).
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from poselens.pose.layouts import get_layout
from poselens.pose.onnx_session import OnnxNetwork, not_this_network, open_network

PADDING = 1.25
"""The region that is looked at, as a multiple of the person's box."""

SIZE = (256, 192)
_OUTPUTS = ("simcc_x", "simcc_y")
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


class RtmPose:
    """Finds 17 joints in each box; see ``open_rtmpose``.

    Args:
        network: The network.
    """

    layout = "coco-17"

    def __init__(self, network: OnnxNetwork) -> None:
        self._network = network
        self.provider = network.provider

    def find(
        self, frame: UInt8[np.ndarray, "h w 3"], boxes: Float[np.ndarray, "n 4"]
    ) -> Float[np.ndarray, "n v 3"]:
        """Return ``(x, y, score)`` of each joint in each box, in pixels of the frame.

        Raises:
            CheckpointError: ``POSE-007`` when the network gives something else.
        """
        joints = len(get_layout(self.layout))
        if len(boxes) == 0:
            return np.empty((0, joints, 3), np.float32)
        regions = padded(boxes, self._network.size)
        # one by one: some published files take a batch of one only
        found = [self._bars(cut(frame, region, self._network.size)) for region in regions]
        for across, down in found:
            if across.shape[:1] != (joints,) or down.shape[:1] != (joints,):
                shapes = (across.shape, down.shape)
                raise not_this_network(
                    self._network.file, f"found bars of {shapes}, expected {joints} joints"
                )
        inside = np.stack([decode(*bars, self._network.size) for bars in found])
        corner, extent = regions[:, None, :2], regions[:, None, 2:] - regions[:, None, :2]
        # the middle of the input's pixel 0 lies half a pixel inside the region; so in the frame
        shares = (inside[..., :2] + 0.5) / self._network.size[::-1]
        places = corner + shares * extent - 0.5
        return np.concatenate([places, inside[..., 2:]], axis=-1).astype(np.float32)

    def _bars(
        self, picture: UInt8[np.ndarray, "h w 3"]
    ) -> tuple[Float[np.ndarray, "v x"], Float[np.ndarray, "v y"]]:
        normal = (picture.astype(np.float32) - _MEAN) / _DEVIATION
        across, down = self._network.run(normal.transpose(2, 0, 1)[None], _OUTPUTS)
        return across[0], down[0]


def open_rtmpose(file: Path, *, require_gpu: bool = False, threads: int = 1) -> RtmPose:
    """Load RTMPose from an ONNX file.

    Raises:
        EnvironmentFault: ``ENV-005``, ``POSE-006``, as ``open_network``.
        CheckpointError: ``POSE-007`` for a file that is not this network.
    """
    network = open_network(file, size=SIZE, require_gpu=require_gpu, threads=threads)
    if not set(_OUTPUTS) <= set(network.outputs):
        raise not_this_network(
            file, f"its outputs are {', '.join(network.outputs)}, expected {' and '.join(_OUTPUTS)}"
        )
    return RtmPose(network)


def padded(boxes: Float[np.ndarray, "n 4"], size: tuple[int, int]) -> Float[np.ndarray, "n 4"]:
    """Return the regions to look at: larger than the boxes, and of the network's proportions.

    Args:
        boxes: Left, top, right, bottom.
        size: Height and width of the network's input.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1) * PADDING
    ratio = size[1] / size[0]
    width = np.maximum(sides[:, 0], sides[:, 1] * ratio)
    half = np.stack([width, width / ratio], axis=-1) / 2
    return np.concatenate([centres - half, centres + half], axis=-1)


def cut(
    frame: UInt8[np.ndarray, "h w 3"], region: Float[np.ndarray, " 4"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Cut a region out, black where it sticks out of the frame, at the size wanted.

    The region's edges may lie between pixels; the frame's own are 0 and its width or height.
    """
    height, width = size
    left, top, right, bottom = (float(edge) for edge in region)
    scale = (right - left) / width, (bottom - top) / height
    moved = (scale[0], 0.0, left, 0.0, scale[1], top)
    picture = Image.fromarray(frame)
    cut_out = picture.transform(
        (width, height), Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR
    )
    return np.asarray(cut_out)


def decode(
    across: Float[np.ndarray, "v x"], down: Float[np.ndarray, "v y"], size: tuple[int, int]
) -> Float[np.ndarray, "v 3"]:
    """Return ``(x, y, score)`` of each joint in pixels of the input; whole numbers are middles.

    The place is the fullest bin of either bar; the score is the smaller of the two, cut to [0, 1].

    Departure: the bar's own length says how many bins a pixel has.

    Args:
        across: Bins of x of each joint.
        down: Bins of y.
        size: Height and width of the input.
    """
    x = across.argmax(axis=1) * size[1] / across.shape[1]
    y = down.argmax(axis=1) * size[0] / down.shape[1]
    score = np.minimum(across.max(axis=1), down.max(axis=1)).clip(0, 1)
    return np.stack([x, y, np.nan_to_num(score)], axis=-1)
