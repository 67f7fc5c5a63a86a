import shutil

import pytest
from drawn import QUICK
from fake_pose import Fake

from poselens.data.folder import open_folder

SET = [word for setting in (*QUICK, "training.batch_size=4") for word in ("--set", setting)]


@pytest.fixture
def classes(drawn, tmp_path):
    source = tmp_path / "source"
    for name in ("sit", "stand"):
        (source / name).mkdir(parents=True)
        for clip in range(5):
            origin = drawn.data / "videos" / f"synth-00002{clip}.mp4"
            shutil.copy(origin, source / name / f"{clip}.mp4")
    return source


def test_from_videos_to_a_bundle_and_a_report(poselens, classes, tmp_path, monkeypatch):
    monkeypatch.setattr("poselens.recognition.pose.choose", lambda *_: (Fake(), None))
    out = tmp_path / "out"
    answer = poselens("run", classes, "--out", out, *SET, "--json")
    assert answer.code == 0
    facts = answer.facts
    assert facts["streams"].keys() == {"rgb", "joint"}
    assert (facts["protocol"], facts["n"], facts["notes"]) == ("random", 2, [])
    assert open_folder(out / "data-with-pose").info.skeletons["pixels"].layout == "coco-17"
    page = (out / "report.html").read_text()
    assert "input.space=pixels" in page
    again = poselens("run", classes, "--out", out, *SET)
    assert again.code == 0
    assert "fused" in again.out


def test_videos_without_joints_train_what_they_can(poselens, classes, tmp_path):
    answer = poselens("run", classes, "--out", tmp_path / "out", *SET, "--json")
    assert answer.code == 0
    assert answer.facts["streams"].keys() == {"rgb"}
    (note,) = answer.facts["notes"]
    assert "weights fetch movenet-lightning" in note
    assert note in answer.err


def test_what_cannot_be_run(poselens, classes, drawn, tmp_path):
    out = tmp_path / "out"
    for words, code, error in (
        ([tmp_path / "nowhere", "--out", out], 2, "DATA-001"),
        ([drawn.data, "--out", out, "--recipe", "tinny"], 2, "CFG-008"),
        ([drawn.data, "--out", out, "--protocol", "xsub"], 2, "CFG-004"),
        ([drawn.data, "--out", out, "--streams", "jiont"], 2, "CFG-021"),
        ([drawn.data, "--out", out, "--set", "training.epoch=1"], 2, "CFG-001"),
        ([classes, "--out", out, "--streams", "joint"], 2, "RUN-009"),
        ([classes, "--out", classes / "out"], 2, "DATA-020"),
    ):
        answer = poselens("run", *words, "--json")
        assert (answer.code, answer.facts["error"]["code"]) == (code, error)


def test_a_signal_leaves_one_object(poselens, drawn, tmp_path, monkeypatch):
    class Stopped:
        exit_code = 130

    monkeypatch.setattr("poselens.recipes.pipeline.train", lambda *_: Stopped)
    answer = poselens("run", drawn.data, "--out", tmp_path / "out", "--json")
    assert (answer.code, answer.facts) == (130, {"bundle": None, "complete": False})
    assert "the same command goes on" in answer.err
