"""Boxes come back in pixels of the frame, whatever the network's size and wishes."""

import numpy as np
import pytest

onnx_files = pytest.importorskip("onnx_files")
pytest.importorskip("onnxruntime")

from poselens.errors import CheckpointError, UsageError  # noqa: E402
from poselens.pose.detectors import cell_grid, fitted, open_detector, without_overlap  # noqa: E402

FRAME = np.zeros((480, 640, 3), np.uint8)
FRAME[:, :] = (200, 100, 50)


def test_boxes_are_scaled_back_and_only_people_are_kept(tmp_path):
    boxes = [(10, 20, 60, 120, 0.5), (100, 20, 160, 120, 0.9), (5, 5, 50, 50, 0.95)]
    file = onnx_files.detector(tmp_path / "rtmdet.onnx", boxes, [0, 0, 2])
    found = open_detector(file).detect(FRAME)
    # 640 x 480 in 320: half the size
    np.testing.assert_allclose(
        found, [(200, 40, 320, 240, 0.9), (20, 40, 120, 240, 0.5)], rtol=1e-6
    )


def test_boxes_are_cut_to_the_frame_and_unsure_ones_left_out(tmp_path):
    boxes = [(-10, 20, 400, 310, 0.8), (1, 1, 40, 40, 0.39), (50, 250, 90, 300, 0.9)]
    found = open_detector(onnx_files.detector(tmp_path / "rtmdet.onnx", boxes, [0, 0, 0])).detect(
        FRAME
    )
    np.testing.assert_allclose(found, [(0, 40, 640, 480, 0.8)], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "rtmdet_nano.onnx",
            [(50 - 103.53) / 57.375, (100 - 116.28) / 57.12, (200 - 123.675) / 58.395],
        ),
        ("yolox_tiny.onnx", [50, 100, 200]),
    ],
)
def test_each_kind_has_its_input(tmp_path, name, expected):
    """The network's last box is the colour of the first pixel, as it got it."""
    opened = open_detector(onnx_files.detector(tmp_path / name, [], []), threshold=0.0)
    picture, _ = fitted(FRAME, (320, 320))
    assert picture[0, 0].tolist() == [200, 100, 50]
    pixels = picture[..., ::-1].astype(np.float32)
    seen = []
    opened._network._session.run, original = None, opened._network._session.run
    opened._network._session.run = lambda names, given: seen.append(given) or original(names, given)
    opened.detect(FRAME)
    (given,) = seen
    np.testing.assert_allclose(given["input"][0, :, 0, 0], expected, rtol=1e-5)
    assert pixels.shape == (320, 320, 3)


def test_the_frame_lies_in_the_upper_left_corner_of_grey():
    picture, scale = fitted(FRAME, (320, 416))
    assert scale == pytest.approx(0.65)
    assert picture.shape == (320, 416, 3)
    assert (picture[:312, :416] == (200, 100, 50)).all()
    assert (picture[312:] == 114).all()


def test_cells_of_yolox_are_decoded(tmp_path):
    grid = cell_grid((64, 64))
    assert len(grid) == 64 + 16 + 4
    assert grid[9].tolist() == [1, 1, 8]
    assert grid[64 + 5].tolist() == [1, 1, 16]
    rows = np.zeros((84, 7))
    rows[:, 2:4] = -9
    # stride 16, cell (1, 1): centre 1.5 cells = 24, 2 cells wide, 3 high
    rows[64 + 5] = [0.5, 0.5, np.log(2), np.log(3), 0.9, 0.9, 0.1]
    # nearly the same from a finer cell, less sure; and something that is no person
    rows[9] = [2.0, 2.0, np.log(4), np.log(6), 0.8, 0.8, 0.1]
    rows[20] = [0.5, 0.5, np.log(2), np.log(2), 0.9, 0.1, 0.9]
    file = onnx_files.cells(tmp_path / "any.onnx", rows)
    found = open_detector(file).detect(np.zeros((128, 128, 3), np.uint8))
    np.testing.assert_allclose(found, [(16, 0, 80, 96, 0.81)], rtol=1e-5)


def test_boxes_that_overlap_leave_the_surest():
    boxes = np.array([(0, 0, 10, 10, 0.5), (1, 0, 11, 10, 0.9), (30, 0, 40, 10, 0.4)])
    np.testing.assert_array_equal(without_overlap(boxes, 0.6), boxes[[1, 2]])
    assert without_overlap(np.empty((0, 5)), 0.6).shape == (0, 5)


def test_files_that_are_no_detector(tmp_path):
    with pytest.raises(
        CheckpointError, match="its outputs are copy, expected dets and labels"
    ) as caught:
        open_detector(onnx_files.other(tmp_path / "yolox.onnx"))
    assert caught.value.code == "POSE-007"
    file = onnx_files.cells(tmp_path / "short.onnx", np.zeros((10, 7)))
    with pytest.raises(CheckpointError, match=r"an output of \(1, 10, 7\), expected \(1, 84, 5"):
        open_detector(file).detect(FRAME)


def test_a_file_that_may_be_either(tmp_path):
    file = onnx_files.detector(tmp_path / "end2end.onnx", [], [])
    with pytest.raises(UsageError, match="does not say whether it is RTMDet or YOLOX") as caught:
        open_detector(file)
    assert (caught.value.code, caught.value.mend) == (
        "POSE-008", "give --detector-kind rtmdet or yolox",
    )  # fmt: skip
    assert open_detector(file, "yolox").detect(FRAME).shape == (0, 5)
