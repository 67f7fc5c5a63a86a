import shutil
from functools import partial

import pytest

from poselens.synth.make import make_dataset


@pytest.fixture
def classes(drawn, tmp_path):
    source = tmp_path / "source"
    for name in ("sit", "stand"):
        (source / name).mkdir(parents=True)
        for clip in range(3):
            shutil.copy(drawn.video, source / name / f"{clip}.mp4")
    return source


def test_what_was_no_clip_is_told_and_no_failure(poselens, classes, tmp_path):
    (classes / "readme.txt").write_text("mine")
    answer = poselens("data", "import", "folder", classes, "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (0, "")
    assert "6 clips, 1 skipped" in answer.err
    assert "DATA-021" in answer.err


def test_damaged_clips_beyond_the_budget_are_exit_1(poselens, classes, tmp_path):
    (classes / "sit" / "0.mp4").write_bytes(b"")
    answer = poselens("data", "import", "folder", classes, "--out", tmp_path / "out", "--json")
    assert answer.code == 1
    assert answer.facts["imported"] == 5
    assert answer.facts["skipped_by_code"] == {"VID-002": 1}


def test_options_of_an_import_reach_it_or_are_refused(poselens, classes, tmp_path):
    words = ["data", "import", "folder", classes, "--out", tmp_path / "out", "--link", "symbolic"]
    assert poselens(*words).code == 0
    assert (tmp_path / "out" / "videos" / "sit" / "0.mp4").is_symlink()
    answer = poselens("data", "import", "nw-ucla", classes, "--out", tmp_path / "o", "--seed", 1)
    assert answer.code == 2
    assert "error[CFG-016]: nw-ucla has no use for --seed. Mend: leave it out" in answer.err
    assert "nw-ucla takes no options" in answer.err


def test_nothing_to_import_is_exit_3(poselens, tmp_path):
    (tmp_path / "empty").mkdir()
    answer = poselens(
        "data", "import", "folder", tmp_path / "empty", "--out", tmp_path / "o", "--json"
    )
    assert (answer.code, answer.facts["error"]["code"]) == (3, "DATA-012")
    assert not (tmp_path / "o").exists()


def test_a_drawn_set_and_its_sheet(poselens, tmp_path, monkeypatch):
    monkeypatch.setattr("poselens.synth.make.make_dataset", partial(make_dataset, size=(64, 64)))
    words = ["data", "synth", "--out", tmp_path / "d", "--clips", 16, "--difficulty", "easy"]
    answer = poselens(*words, "--workers", 1, "--sheet", tmp_path / "sheet.png", "--json")
    assert answer.code == 0
    assert answer.facts["clips"] == 16
    assert answer.facts["parts"] == {"train": 16}
    assert answer.facts["difficulty"] == "easy"
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_drawn_set_that_cannot_be(poselens, tmp_path):
    answer = poselens("data", "synth", "--out", tmp_path / "d", "--difficulty", "eazy", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "CFG-013")
    assert "did you mean 'easy'" in answer.err
    (tmp_path / "file").touch()
    answer = poselens("data", "synth", "--out", tmp_path / "file" / "d", "--clips", 16, "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (5, "ENV-003")
    answer = poselens("data", "synth", "--out", tmp_path / "d", "--motion", tmp_path / "file")
    assert answer.code == 3
    assert "SKEL-030" in answer.err
