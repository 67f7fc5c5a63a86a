"""Crops follow the person; coordinates come back to the frame; the real model finds bodies."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.errors import CheckpointError, EnvironmentFault, UsageError
from poselens.pose.layouts import get_layout
from poselens.pose.movenet import MoveNet, cut_square, next_crop, open_movenet, whole_frame
from poselens.types import Box

LAYOUT = get_layout("coco-17")


def joints(score=0.9, **places):
    """Joints at the places named, with ``score``; the rest unseen in the corner."""
    found = np.zeros((17, 3), np.float32)
    for name, (x, y) in places.items():
        found[LAYOUT.index(name)] = (x, y, score)
    return found


UPRIGHT = {
    "left_shoulder": (330, 200),
    "right_shoulder": (290, 200),
    "left_hip": (325, 280),
    "right_hip": (295, 280),
}


def test_whole_frame_is_a_centred_square_around_it():
    assert whole_frame((240, 320)) == Box(0, -40, 320, 280)
    assert whole_frame((320, 240)) == Box(-40, 0, 280, 320)


def test_crop_is_centred_at_the_hips_and_reaches_past_the_torso():
    # torso: 80 px up, times 1.9
    assert next_crop(joints(**UPRIGHT), (480, 640)) == Box(310 - 152, 280 - 152, 462, 432)


def test_crop_reaches_past_the_body_where_a_limb_is_far():
    found = next_crop(joints(**UPRIGHT, left_ankle=(310, 460)), (480, 640))
    assert found == Box(310 - 216, 280 - 216, 310 + 216, 280 + 216)


def test_crop_never_reaches_past_the_far_edge():
    found = next_crop(joints(**UPRIGHT, left_wrist=(600, 200)), (480, 640))
    # 1.2 * 290 = 348 would pass both edges and the half frame
    assert found == whole_frame((480, 640))


def test_half_body_is_centred_between_the_shoulders():
    seen = {name: UPRIGHT[name] for name in ("left_shoulder", "right_shoulder")}
    assert next_crop(joints(**seen), (480, 640)) == Box(222, 112, 398, 288)


@pytest.mark.parametrize(
    "found",
    [
        joints(),
        joints(0.1, **UPRIGHT),
        joints(left_hip=(5, 5), right_hip=(9, 9)),
        joints(left_shoulder=(100, 100)),
        joints(**dict.fromkeys(UPRIGHT, (100, 100))),
    ],
    ids=["nothing", "unsure", "no shoulder", "one shoulder, no hip", "one point"],
)
def test_a_lost_person_brings_back_the_whole_frame(found):
    assert next_crop(found, (480, 640)) == whole_frame((480, 640))


@given(st.lists(st.tuples(*[st.floats(-50, 700)] * 2, st.floats(0, 1)), min_size=17, max_size=17))
def test_crops_are_squares_no_larger_than_the_whole_frame(found):
    crop = next_crop(np.array(found, np.float32), (480, 640))
    assert crop.width == crop.height
    assert 4 <= crop.width <= 640


def test_square_is_black_outside_the_frame():
    frame = np.full((40, 60, 3), 200, np.uint8)
    found = cut_square(frame, Box(-30, -10, 30, 50), 60)
    assert (found[:, :30] == 0).all()
    assert (found[:10] == 0).all()
    assert (found[10:50, 30:] == 200).all()
    assert (cut_square(frame, Box(100, 100, 120, 120), 8) == 0).all()


def bright_spot(picture):
    """A network that puts all joints on the brightest place."""
    weights = picture[..., 0].astype(float) ** 4 + 1e-9
    rows, columns = np.indices(weights.shape) + 0.5
    y, x = ((weights * axis).sum() / weights.sum() / len(picture) for axis in (rows, columns))
    found = np.tile([y, x, 0.9], (17, 1))
    # wide hips keep the crop about as large as it is: 2 * 1.9 * 0.27 = 1.03
    found[LAYOUT.index("left_hip"), 1] += 0.27
    found[LAYOUT.index("right_hip"), 1] -= 0.27
    found[LAYOUT.index("nose"), 2] = 0.25
    return found


def test_joints_come_back_in_pixels_of_the_frame_while_the_crop_follows():
    frames = []
    for step in range(8):
        frame = np.zeros((240, 320, 3), np.uint8)
        frame[100:110, 100 + 6 * step : 110 + 6 * step] = 255
        frames.append(frame)
    pose = MoveNet(bright_spot).estimate(iter(frames))
    assert pose.skeleton.positions.shape == (1, 8, 17, 2)
    assert (pose.skeleton.layout, pose.skeleton.space) == ("coco-17", "pixels")
    ankle = pose.skeleton.positions[0, :, LAYOUT.index("left_ankle")]
    np.testing.assert_allclose(ankle[:, 0], 105 + 6 * np.arange(8), atol=1.5)
    np.testing.assert_allclose(ankle[:, 1], 105, atol=1.5)


def test_joints_below_the_threshold_are_missing_and_keep_their_score():
    frame = np.full((64, 64, 3), 9, np.uint8)
    pose = MoveNet(bright_spot, threshold=0.3).estimate([frame])
    assert np.isnan(pose.skeleton.positions[0, 0, LAYOUT.index("nose")]).all()
    assert pose.scores[0, 0, LAYOUT.index("nose")] == pytest.approx(0.25)
    assert np.isfinite(
        MoveNet(bright_spot, threshold=0.2).estimate([frame]).skeleton.positions
    ).all()


def test_no_frames():
    with pytest.raises(UsageError, match="no frames to look for joints in") as caught:
        MoveNet(bright_spot).estimate([])
    assert caught.value.code == "POSE-001"


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_frames_that_are_no_pictures(frame):
    with pytest.raises(UsageError, match=r"expected \(h, w, 3\) uint8 frames, found") as caught:
        MoveNet(bright_spot).estimate([frame])
    assert caught.value.code == "POSE-002"


def test_missing_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(EnvironmentFault, match="needs the package ai-edge-litert") as caught:
        open_movenet(tmp_path / "a.tflite")
    assert caught.value.code == "ENV-005"
    assert caught.value.mend == "pip install 'poselens[pose]'"


@pytest.mark.parametrize("content", [None, b"", b"not a model" * 99])
def test_file_that_is_no_model(tmp_path, content):
    pytest.importorskip("ai_edge_litert.interpreter")
    path = tmp_path / "a.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a MoveNet Lightning model for LiteRT") as caught:
        open_movenet(path)
    assert caught.value.code == "POSE-003"
    assert caught.value.file == str(path)


def test_other_model_is_refused_by_its_shapes(tmp_path, monkeypatch):
    class Other:
        def __init__(self, **_options):
            pass

        def allocate_tensors(self):
            pass

        def get_input_details(self):
            return [{"shape": np.array([1, 224, 224, 3]), "index": 0, "dtype": np.uint8}]

        get_output_details = get_input_details

    litert = pytest.importorskip("ai_edge_litert.interpreter")
    monkeypatch.setattr(litert, "Interpreter", Other)
    (tmp_path / "a.tflite").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"found input and output \[\[1, 224, 224, 3\]"):
        open_movenet(tmp_path / "a.tflite")


def shared():
    beside = Path(__file__).parents[2].parent / "shared"
    return Path(os.environ.get("POSELENS_SHARED", beside))


@pytest.mark.shared
def test_real_model_finds_the_signer():
    weights = shared() / "weights" / "movenet_single_pose_lightning_ptq.tflite"
    clip = shared() / "data" / "asl_clips" / "please.mkv"
    if not (weights.exists() and clip.exists()):
        pytest.skip("MoveNet's weights or the signing clips are not at hand")
    pytest.importorskip("ai_edge_litert.interpreter")
    av = pytest.importorskip("av")
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][20:30]
    found = open_movenet(weights).estimate(frames).skeleton.positions[0]
    place = {name: found[:, LAYOUT.index(name)] for name in LAYOUT.joints}
    # measured by eye in the pictures: 640x480, the signer faces the camera in the middle
    np.testing.assert_allclose(place["nose"].mean(axis=0), [315, 95], atol=25)
    np.testing.assert_allclose(place["right_shoulder"].mean(axis=0), [242, 178], atol=25)
    np.testing.assert_allclose(place["left_shoulder"].mean(axis=0), [398, 178], atol=25)
    assert (place["left_hip"][:, 1] > place["left_shoulder"][:, 1] + 150).all()
