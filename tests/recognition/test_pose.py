import numpy as np
import pytest

from poselens.errors import CheckpointError, EnvironmentFault, UsageError
from poselens.pose.people import DetectedPeople, SweptPeople
from poselens.recognition import pose
from poselens.recognition.pose import EstimatorChoice, choose, choose_estimator


@pytest.fixture
def opened(monkeypatch):
    """Weights that an estimator was opened with."""
    files = []

    def fake(weights, *, threshold):
        assert threshold == 0.3
        files.append(weights)
        return "estimator"

    monkeypatch.setattr(pose, "open_movenet", fake)
    return files


def test_none_is_none(opened, tmp_path):
    assert choose_estimator("none") == (None, None)
    assert choose_estimator("none", tmp_path / "weights") == (None, None)
    assert opened == []


def test_auto_downloads_nothing_and_says_how_to_get_it(opened, empty_cache):
    estimator, note = choose_estimator("auto")
    assert estimator is None
    assert "poselens weights fetch movenet-lightning" in note
    assert opened == []
    assert not empty_cache.exists()


def test_auto_takes_what_lies_in_the_cache(opened, empty_cache):
    empty_cache.mkdir()
    stored = empty_cache / "movenet_single_pose_lightning_ptq.tflite"
    stored.write_bytes(b"weights")
    assert choose_estimator("auto") == ("estimator", None)
    assert opened == [stored]


def test_auto_goes_on_without_the_package(monkeypatch, empty_cache):
    empty_cache.mkdir()
    (empty_cache / "movenet_single_pose_lightning_ptq.tflite").write_bytes(b"weights")

    def missing(_, **options):
        raise EnvironmentFault("ENV-005", "finding joints needs the package ai-edge-litert")

    monkeypatch.setattr(pose, "open_movenet", missing)
    estimator, note = choose_estimator("auto")
    assert estimator is None
    assert "ai-edge-litert" in note
    with pytest.raises(EnvironmentFault):
        choose_estimator("auto", empty_cache / "movenet_single_pose_lightning_ptq.tflite")


def test_a_file_given_is_what_is_opened(opened, tmp_path):
    file = tmp_path / "mine.tflite"
    file.write_bytes(b"weights")
    for choice in ("auto", "movenet"):
        assert choose_estimator(choice, file) == ("estimator", None)
    assert opened == [file, file]
    with pytest.raises(CheckpointError, match="no such file") as caught:
        choose_estimator("movenet", tmp_path / "nowhere")
    assert caught.value.code == "WGT-002"


def test_an_unknown_estimator():
    with pytest.raises(
        UsageError, match="found pose 'openpose', expected movenet, rtmpose, none or auto"
    ):
        choose_estimator("openpose")


def test_a_detector_means_rtmpose_and_both_files_are_needed(tmp_path):
    weights, detector = tmp_path / "rtmpose.onnx", tmp_path / "rtmdet.onnx"
    choice, note = choose("auto", weights, detector=detector)
    assert (choice, note) == (EstimatorChoice("rtmpose", weights, detector), None)
    for name, given in (
        ("rtmpose", {}),
        ("rtmpose", {"weights": weights}),
        ("movenet", {"weights": weights, "detector": detector}),
    ):
        with pytest.raises(UsageError, match="RTMPose needs --weights and --detector") as caught:
            choose(name, **given)
        assert caught.value.code == "POSE-009"


def test_rtmpose_is_opened_with_its_detector(tmp_path):
    onnx_files = pytest.importorskip("onnx_files")
    pytest.importorskip("onnxruntime")
    weights = onnx_files.rtmpose(tmp_path / "rtmpose.onnx")
    detector = onnx_files.detector(
        tmp_path / "end2end.onnx", [(40, 40, 120, 140, 0.9), (180, 40, 260, 140, 0.8)], [0, 0]
    )
    choice = EstimatorChoice("rtmpose", weights, detector, "rtmdet", several=True)
    opened = choice.open()
    assert isinstance(opened.estimator, DetectedPeople)
    assert opened.provider == "CPUExecutionProvider"
    frame = np.full((480, 640, 3), 30, np.uint8)
    frame[149:152, 149:152] = frame[169:172, 419:422] = 250
    found = opened.estimator.estimate([frame] * 5)
    assert found.skeleton.positions.shape == (2, 5, 17, 2)
    places = found.skeleton.positions[:, :, 3]
    # where the spot begins
    np.testing.assert_allclose(places[0], [(150, 150)] * 5, atol=2)
    np.testing.assert_allclose(places[1], [(420, 170)] * 5, atol=2)
    assert choice.facts()["detector_sha256"] != choice.facts()["weights_sha256"]


def test_several_people_by_movenet_need_another_way(opened, tmp_path, monkeypatch):
    class Net:
        look = None

    monkeypatch.setattr(pose, "open_movenet", lambda _, threshold: Net())
    choice = EstimatorChoice("movenet", tmp_path / "w", several=True)
    assert isinstance(choice.open().estimator, SweptPeople)
    with pytest.raises(EnvironmentFault, match="a GPU is required, but MoveNet runs on the CPU"):
        EstimatorChoice("movenet", tmp_path / "w", require_gpu=True).open()
