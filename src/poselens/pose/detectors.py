"""Detectors of people in ONNX: RTMDet and YOLOX.

============  ====================  ==========================================================
file          outputs               input
============  ====================  ==========================================================
RTMDet        ``dets``, ``labels``  BGR, mean 103.53 116.28 123.675, deviation 57.375 57.12 58.395
YOLOX         ``dets``, ``labels``  BGR, 0 to 255 (exported by MMDeploy)
YOLOX         ``output``            BGR, 0 to 255 (its own export: 5 + classes numbers a cell)
============  ====================  ==========================================================

In all of them the frame is shrunk into the upper left corner and the rest is grey (114).

Source of the formats: the configs of https://github.com/open-mmlab/mmdetection (``rtmdet``) and
https://github.com/open-mmlab/mmdeploy (``detection``), and
https://github.com/Megvii-BaseDetection/YOLOX/tree/main/demo/ONNXRuntime.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from poselens.errors import UsageError
from poselens.pose.onnx_session import OnnxNetwork, not_this_network, open_network

Kind = Literal["rtmdet", "yolox"]

SIZE = (640, 640)
_GREY = 114
_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
_DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)
_STRIDES = (8, 16, 32)
_OVERLAP = 0.6  # boxes that share more are of one person; YOLOX's own export leaves that to us
_PERSON = 0


class OnnxDetector:
    """Finds people; see ``open_detector``.

    Args:
        network: The network.
        kind: How it wants its input.
        threshold: Boxes with a lower score are left out.
    """

    def __init__(self, network: OnnxNetwork, kind: Kind, *, threshold: float = 0.4) -> None:
        self._network = network
        self._kind = kind
        self._threshold = threshold
        self._raw = "dets" not in network.outputs

    def detect(self, frame: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "n 5"]:
        """Return ``(left, top, right, bottom, score)`` of each person, the surest first.

        Raises:
            CheckpointError: ``POSE-007`` when the network gives something else.
        """
        picture, shrink = fitted(frame, self._network.size)
        pixels = picture[..., ::-1].astype(np.float32)
        if self._kind == "rtmdet":
            pixels = (pixels - _MEAN) / _DEVIATION
        batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        boxes = self._cells(batch) if self._raw else self._dets(batch)
        boxes[:, :4] /= shrink
        height, width = frame.shape[:2]
        boxes[:, :4] = boxes[:, :4].clip(0, (width, height, width, height))
        large = (boxes[:, 2:4] - boxes[:, :2]).min(axis=1) > 1
        sure = boxes[:, 4] >= self._threshold
        kept = boxes[large & sure]
        return np.asarray(kept[np.argsort(-kept[:, 4], kind="stable")])

    def _dets(self, batch: Float[np.ndarray, "1 3 h w"]) -> Float[np.ndarray, "n 5"]:
        dets, labels = self._network.run(batch, ("dets", "labels"))
        if dets.ndim != 3 or dets.shape[2] != 5 or labels.shape != dets.shape[:2]:
            raise not_this_network(
                self._network.file,
                f"dets {dets.shape} and labels {labels.shape}, expected (1, n, 5)",
            )
        return np.asarray(dets[0][labels[0] == _PERSON])

    def _cells(self, batch: Float[np.ndarray, "1 3 h w"]) -> Float[np.ndarray, "n 5"]:
        (cells,) = self._network.run(batch, self._network.outputs[:1])
        grid = cell_grid(self._network.size)
        if cells.ndim != 3 or cells.shape[1] != len(grid) or cells.shape[2] < 6:
            raise not_this_network(
                self._network.file,
                f"an output of {cells.shape}, expected (1, {len(grid)}, 5 + classes)",
            )
        rows, corner, stride = cells[0], grid[:, :2], grid[:, 2:]
        centres = (rows[:, :2] + corner) * stride
        # a cell that says nothing may say it with a huge number
        half = np.exp(rows[:, 2:4].clip(-20, 20)) * stride / 2
        classes = rows[:, 5:]
        score = np.where(classes.argmax(axis=1) == _PERSON, rows[:, 4] * classes[:, _PERSON], 0.0)
        found = np.concatenate([centres - half, centres + half, score[:, None]], axis=-1)
        return without_overlap(found[score >= self._threshold], _OVERLAP)


def open_detector(
    file: Path,
    kind: Kind | None = None,
    *,
    threshold: float = 0.4,
    require_gpu: bool = False,
    threads: int = 1,
) -> OnnxDetector:
    """Load a detector of people from an ONNX file.

    Args:
        file: The ``.onnx`` file.
        kind: Whose it is; None to tell by the outputs, or where these are alike by the file's name.
        threshold: Boxes with a lower score are left out.
        require_gpu: Refuse the CPU.
        threads: Threads of an operation.

    Raises:
        EnvironmentFault: ``ENV-005``, ``POSE-006``, as ``open_network``.
        CheckpointError: ``POSE-007`` for a file that is not such a network.
        UsageError: ``POSE-008`` when it may be either kind.
    """
    network = open_network(file, size=SIZE, require_gpu=require_gpu, threads=threads)
    outputs = set(network.outputs)
    if not ({"dets", "labels"} <= outputs or outputs == {"output"}):
        raise not_this_network(
            file,
            f"its outputs are {', '.join(network.outputs)}, expected dets and labels, or output",
        )
    if outputs == {"output"}:
        kind = "yolox"
    elif kind is None:
        kind = _named(file)
    return OnnxDetector(network, kind, threshold=threshold)


def _named(file: Path) -> Kind:
    name = file.name.lower()
    if "rtmdet" in name:
        return "rtmdet"
    if "yolox" in name:
        return "yolox"
    raise UsageError(
        "POSE-008",
        "the file does not say whether it is RTMDet or YOLOX, which want other input",
        file=file,
        mend="give --detector-kind rtmdet or yolox",
    )


def fitted(
    frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], float]:
    """Shrink or enlarge a frame into the upper left corner of a grey picture.

    Returns:
        The picture, and its scale.
    """
    height, width = frame.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inside = (max(round(width * scale), 1), max(round(height * scale), 1))
    picture = np.full((*size, 3), _GREY, np.uint8)
    scaled = np.asarray(Image.fromarray(frame).resize(inside, Image.Resampling.BILINEAR))
    picture[: inside[1], : inside[0]] = scaled[: size[0], : size[1]]
    return picture, scale


def cell_grid(size: tuple[int, int]) -> Float[np.ndarray, "n 3"]:
    """Return column, row and stride of each cell of YOLOX's output, in its order."""
    rows = []
    for stride in _STRIDES:
        down, across = np.indices((size[0] // stride, size[1] // stride))
        rows.append(np.stack([across, down, np.full_like(down, stride)], axis=-1).reshape(-1, 3))
    return np.concatenate(rows).astype(np.float32)


def without_overlap(boxes: Float[np.ndarray, "n 5"], limit: float) -> Float[np.ndarray, "n 5"]:
    """Keep the surest of boxes that share more than ``limit`` of their union."""
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for at in range(len(boxes)):
        low = np.maximum(boxes[kept, :2], boxes[at, :2])
        high = np.minimum(boxes[kept, 2:4], boxes[at, 2:4])
        shared = np.maximum(high - low, 0).prod(axis=-1)
        if (shared <= limit * (area[kept] + area[at] - shared)).all():
            kept.append(at)
    return boxes[kept]
