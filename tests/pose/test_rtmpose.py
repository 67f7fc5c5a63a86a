"""A joint drawn at a known pixel is found within one, wherever the box lies."""

import sys

import numpy as np
import pytest

onnx_files = pytest.importorskip("onnx_files")
pytest.importorskip("onnxruntime")

from poselens.errors import CheckpointError, EnvironmentFault  # noqa: E402
from poselens.pose.rtmpose import cut, decode, open_rtmpose, padded  # noqa: E402


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return open_rtmpose(onnx_files.rtmpose(tmp_path_factory.mktemp("onnx") / "rtmpose.onnx"))


def spot(x, y, size=(480, 640)):
    frame = np.full((*size, 3), 20, np.uint8)
    frame[y - 1 : y + 2, x - 1 : x + 2] = 130
    frame[y, x] = 250
    return frame


@pytest.mark.parametrize(
    ("x", "y", "box"),
    [
        (300, 200, (200, 100, 400, 400)),
        (250, 130, (200, 100, 400, 400)),
        (30, 40, (-60, -80, 120, 160)),
        (600, 450, (500, 300, 640, 480)),
        (320, 240, (100, 200, 540, 280)),
        (310, 205, (295, 190, 325, 220)),
    ],
    ids=["middle", "edge", "sticks out", "corner", "wide", "small"],
)
def test_a_joint_at_a_known_pixel_is_found_within_one(network, x, y, box):
    found = network.find(spot(x, y), np.array([box], float))
    assert found.shape == (1, 17, 3)
    # where the input is coarser than the frame, within one of its pixels
    region = padded(np.array([box], float), (256, 192))[0]
    pixel = max((region[2] - region[0]) / 192, 1)
    np.testing.assert_allclose(found[0, :, 0], x, atol=pixel)
    np.testing.assert_allclose(found[0, :, 1], y, atol=pixel)
    # the spot is smaller than a pixel of the input where the box is wide
    assert (found[0, :, 2] > 0.1).all()


def test_each_box_has_its_own_joints(network):
    frame = np.maximum(spot(100, 100), spot(500, 300))
    found = network.find(frame, np.array([(50, 50, 150, 200), (450, 250, 550, 400)], float))
    np.testing.assert_allclose(found[:, 0, :2], [(100, 100), (500, 300)], atol=1)


def test_no_box_no_joint(network):
    assert network.find(spot(5, 5), np.empty((0, 4))).shape == (0, 17, 3)


def test_decoding_is_the_fullest_bin_and_the_smaller_score():
    across, down = np.zeros((2, 384)), np.zeros((2, 512))
    across[0, 96], down[0, 384] = 0.8, 0.6
    across[1, 0], down[1, 511] = 1.7, 1.2
    found = decode(across, down, (256, 192))
    np.testing.assert_allclose(found[0], (48, 192, 0.6))
    np.testing.assert_allclose(found[1], (0, 255.5, 1))


def test_over_many_boxes_places_are_right_on_the_mean(network):
    """A half pixel's slip in either direction would show."""
    draw = np.random.default_rng(0)
    off = []
    for _ in range(60):
        x, y = draw.integers(100, 400, 2)
        corner = np.array([x, y]) - draw.uniform(30, 100, 2)
        box = np.concatenate([corner, corner + draw.uniform(130, 220, 2)])
        off.append(network.find(spot(x, y), box[None])[0, 0, :2] - (x, y))
    np.testing.assert_allclose(np.mean(off, axis=0), 0, atol=0.15)


def test_regions_have_the_inputs_proportions_and_a_quarter_more():
    (tall, wide) = padded(np.array([(0, 0, 30, 160), (0, 0, 192, 10)], float), (256, 192))
    np.testing.assert_allclose(tall, (15 - 75, 80 - 100, 15 + 75, 80 + 100))
    np.testing.assert_allclose(wide, (96 - 120, 5 - 160, 96 + 120, 5 + 160))


def test_cutting_is_black_outside_and_the_frame_itself_at_full_size():
    frame = np.random.default_rng(0).integers(1, 255, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(cut(frame, np.array([0.0, 0, 30, 20]), (20, 30)), frame)
    moved = cut(frame, np.array([-10.0, 0, 20, 20]), (20, 30))
    assert (moved[:, :10] == 0).all()
    np.testing.assert_array_equal(moved[:, 10:], frame[:, :20])


def test_the_provider_is_told_and_the_cpu_can_be_refused(network, tmp_path):
    import onnxruntime

    assert network.provider == "CPUExecutionProvider"
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("a GPU is there")
    file = onnx_files.rtmpose(tmp_path / "r.onnx")
    with pytest.raises(
        EnvironmentFault, match="a GPU is required, but onnxruntime runs on"
    ) as caught:
        open_rtmpose(file, require_gpu=True)
    assert (caught.value.code, caught.value.exit_code) == ("POSE-006", 5)


def test_files_that_are_not_rtmpose(tmp_path):
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"not a network" * 50)
    files = {
        tmp_path / "missing.onnx": "cannot read: No such file",
        garbage: "it cannot be loaded",
        onnx_files.other(tmp_path / "other.onnx"): "its outputs are copy, expected simcc_x",
    }
    for file, words in files.items():
        with pytest.raises(CheckpointError, match=words) as caught:
            open_rtmpose(file)
        assert (caught.value.code, caught.value.file) == ("POSE-007", str(file))


def test_another_number_of_joints(tmp_path):
    other = open_rtmpose(onnx_files.rtmpose(tmp_path / "hand.onnx", joints=21))
    with pytest.raises(CheckpointError, match=r"found bars of .*expected 17 joints"):
        other.find(spot(50, 50), np.array([(0.0, 0, 100, 100)]))


def test_missing_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EnvironmentFault, match="need the package onnxruntime") as caught:
        open_rtmpose(tmp_path / "r.onnx")
    assert caught.value.code == "ENV-005"
    assert "poselens[rtmpose]" in caught.value.mend
