"""Tiny ONNX networks with the names and shapes of RTMPose, RTMDet and YOLOX, and known answers.

``rtmpose`` puts each joint where the picture is brightest in one colour channel: its bars are the
largest value of each column and each row of the picture, twice as fine. The detectors give boxes
that are written into the file.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def _save(path: Path, nodes: list, inputs: list, outputs: list, constants: dict) -> Path:
    graph = helper.make_graph(
        nodes, "made", inputs, outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def _picture(height: object, width: object) -> object:
    return helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])


def rtmpose(path: Path, *, joints: int = 17, height: int = 256, width: int = 192) -> Path:
    """Write a network whose joints are all where the picture is brightest.

    A joint's bar is a tent over the brightest column (row): exact to a pixel of the input.
    """
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["bright"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["bright"], ["columns"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["bright"], ["rows"], axes=[2], keepdims=0),
    ]
    for name, bar in (("simcc_x", "columns"), ("simcc_y", "rows")):
        nodes += [
            helper.make_node("Unsqueeze", [bar, "one"], [f"{bar}1"]),
            helper.make_node("Expand", [f"{bar}1", f"{bar}_shape"], [f"{bar}2"]),
            helper.make_node("Unsqueeze", [f"{bar}2", "last"], [f"{bar}3"]),
            helper.make_node("Expand", [f"{bar}3", f"{bar}_twice"], [f"{bar}4"]),
            helper.make_node("Reshape", [f"{bar}4", f"{bar}_flat"], [f"{bar}5"]),
            # normalised white is 2.25 to 2.65: brings it near 0.9
            helper.make_node("Mul", [f"{bar}5", "third"], [name]),
        ]
    constants = {
        "one": np.array([1]),
        "last": np.array([3]),
        "third": np.array(0.34, np.float32),
    }
    for bar, length in (("columns", width), ("rows", height)):
        constants[f"{bar}_shape"] = np.array([1, joints, length])
        constants[f"{bar}_twice"] = np.array([1, joints, length, 2])
        constants[f"{bar}_flat"] = np.array([1, joints, 2 * length])
    outputs = [
        helper.make_tensor_value_info("simcc_x", TensorProto.FLOAT, [1, joints, 2 * width]),
        helper.make_tensor_value_info("simcc_y", TensorProto.FLOAT, [1, joints, 2 * height]),
    ]
    return _save(path, nodes, [_picture(height, width)], outputs, constants)


def detector(path: Path, boxes: list, labels: list, *, side: int = 320) -> Path:
    """Write a network with outputs ``dets`` and ``labels``, which gives the boxes written here.

    A last box spans the first pixel's colour, so that a test sees what input the network got:
    its score is 0, its first three edges are the colour in the order of the channels.
    """
    nodes = [
        helper.make_node("Slice", ["input", "zero2", "one2", "axes"], ["pixel"]),
        helper.make_node("Reshape", ["pixel", "flat"], ["colour"]),
        helper.make_node("Concat", ["colour", "tail"], ["last"], axis=2),
        helper.make_node("Concat", ["boxes", "last"], ["dets"], axis=1),
        helper.make_node("Identity", ["kinds"], ["labels"]),
    ]
    constants = {
        "zero2": np.array([0, 0]),
        "one2": np.array([1, 1]),
        "axes": np.array([2, 3]),
        "flat": np.array([1, 1, 3]),
        "tail": np.array([[[0, 0]]], np.float32),
        "boxes": np.array([boxes], np.float32).reshape(1, -1, 5),
        "kinds": np.array([[*labels, 0]], np.int64),
    }
    count = len(boxes) + 1
    outputs = [
        helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, count, 5]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, [1, count]),
    ]
    return _save(path, nodes, [_picture("height", "width") if side == 0 else _picture(side, side)],
                 outputs, constants)  # fmt: skip


def cells(path: Path, rows: np.ndarray, *, side: int = 64) -> Path:
    """Write a network with YOLOX's own output: ``rows`` (cells, 5 + classes), whatever it sees."""
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["zero"]),
        helper.make_node("Add", ["rows", "zero"], ["output"]),
    ]
    constants = {"rows": rows[None].astype(np.float32), "nothing": np.array(0, np.float32)}
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, *rows.shape])]
    return _save(path, nodes, [_picture(side, side)], outputs, constants)


def other(path: Path) -> Path:
    """Write a network that is none of these."""
    nodes = [helper.make_node("Identity", ["input"], ["copy"])]
    outputs = [helper.make_tensor_value_info("copy", TensorProto.FLOAT, [1, 3, 8, 8])]
    return _save(path, nodes, [_picture(8, 8)], outputs, {})
