import pytest

from poselens.errors import CheckpointError, EnvironmentFault, UsageError
from poselens.recognition import pose
from poselens.recognition.pose import choose_estimator


@pytest.fixture
def opened(monkeypatch):
    """Weights that an estimator was opened with."""
    files = []

    def fake(weights):
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

    def missing(_):
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
    with pytest.raises(UsageError, match="found pose 'openpose', expected movenet, none or auto"):
        choose_estimator("openpose")
