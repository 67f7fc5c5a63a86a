import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.data.video import count_frames, read_frames

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture
def data(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "data")


@pytest.fixture
def copy(poselens, data, tmp_path):
    return lambda *words: poselens(
        "data",
        "cache",
        data,
        "--format",
        "video",
        "--out",
        tmp_path / "new",
        "--workers",
        1,
        *words,
    )


def test_a_copy_is_a_whole_data_set(copy, data, tmp_path):
    answer = copy("--short-side", 24, "--json")
    facts = answer.facts
    assert (answer.code, facts["clips"], facts["made"], facts["frames"]) == (0, 14, 14, 168)
    assert facts["left_out"]["skipped"] == 0
    old, new = open_folder(data), open_folder(tmp_path / "new")
    assert new.ids.tolist() == old.ids.tolist()
    assert new.labels.tolist() == old.labels.tolist()
    assert new.parts("p").tolist() == old.parts("p").tolist()
    assert "short side 24, H.264 with GOP 15" in new.info.source
    assert new.info.model_copy(update={"source": ""}) == old.info
    assert new.fingerprint() != old.fingerprint()
    for clip in range(14):
        record, path = new.record(clip), new.video_path(clip)
        pixels = read_frames(path, [0]).pixels
        assert pixels.shape[1:3] == (record.height, record.width)
        assert count_frames(path) == 12
        np.testing.assert_array_equal(
            new.skeleton(clip, "metres").positions, old.skeleton(clip, "metres").positions
        )
        joints = new.skeleton(clip, "pixels").positions
        assert (joints >= 0).all()
        assert (joints <= [record.width, record.height]).all()
    assert facts["bytes_after"] == sum(
        file.stat().st_size for file in (tmp_path / "new" / "videos").iterdir()
    )
    report = json.loads((tmp_path / "new" / "copy_report.json").read_text())
    assert report["of"]["fingerprint"] == old.fingerprint()
    assert not (tmp_path / "new.unfinished").exists()


def test_every_command_reads_a_copy(copy, poselens, tmp_path):
    copy()
    run = tmp_path / "run"
    small = ("--set", "input.scale=36", "--set", "input.size=32", "--set", "training.epochs=1",
             "--set", "training.workers=0", "--set", "network.backbone=resnet18")  # fmt: skip
    assert poselens("train", "rgb", tmp_path / "new", "--recipe", "tiny", "--protocol", "p",
                    "--out", run, "--device", "cpu", *small).code == 0  # fmt: skip
    evaluated = poselens("evaluate", run, tmp_path / "new", "--protocol", "p", "--json")
    assert evaluated.code == 0
    assert evaluated.facts["notes"] == []
    video = tmp_path / "new" / "videos" / "c13.mp4"
    words = ("predict", run, video, "--out", tmp_path / "out", "--no-video", "--json")
    assert poselens(*words).code == 0


def test_the_bytes_of_a_copy_do_not_depend_on_the_processes(copy, poselens, data, tmp_path):
    copy()
    other = tmp_path / "other"
    poselens("data", "cache", data, "--format", "video", "--out", other, "--workers", 3)
    for file in sorted((tmp_path / "new").rglob("*")):
        if file.is_file() and file.name != "copy_report.json":
            twin = other / file.relative_to(tmp_path / "new")
            assert file.read_bytes() == twin.read_bytes(), file.name


def test_a_clip_that_cannot_be_read_is_left_out_and_named(copy, data, tmp_path):
    (data / "videos" / "c03.mp4").write_text("not a video at all\n")
    answer = copy("--json")
    assert answer.code == 1
    left = answer.facts["left_out"]
    assert left["skipped_by_code"] == {"VID-003": 1}
    assert left["list"][0]["file"].startswith("clip c03: ")
    new = open_folder(tmp_path / "new")
    assert len(new) == 13
    assert "c03" not in new.ids
    assert new.skeleton(new.index_of("c04"), "pixels") is not None


def test_nothing_to_copy_is_refused(copy, data):
    shutil.rmtree(data / "videos")
    answer = copy()
    assert answer.code == 3
    assert "DATA-012" in answer.err
    assert "no such video file" in answer.err


def test_clips_of_one_video_become_files_of_their_own(copy, data, tmp_path):
    lines = (data / "clips.csv").read_text().splitlines()
    header = lines[0].split(",")
    rows = [line.split(",") for line in lines[1:]]
    rows[1][header.index("video")] = rows[0][header.index("video")]
    for row, (start, end) in zip(rows[:2], (("0.0", "0.2"), ("0.2", "0.4")), strict=True):
        row[header.index("start_s")], row[header.index("end_s")] = start, end
    text = "\n".join([lines[0], *(",".join(row) for row in rows)])
    (data / "clips.csv").write_text(text + "\n")
    assert copy().code == 0
    new = open_folder(tmp_path / "new")
    assert [new.record(clip).video for clip in (0, 1)] == ["videos/c00.mp4", "videos/c00_2.mp4"]
    assert [count_frames(new.video_path(clip)) for clip in (0, 1)] == [6, 6]
    assert new.record(0).start_s is None
    assert new.record(0).end_s is None


def test_clips_of_joints_alone_come_along(copy, data, tmp_path):
    text = (data / "clips.csv").read_text().replace("videos/c05.mp4", "")
    (data / "clips.csv").write_text(text)
    assert copy("--json").facts["clips"] == 14
    old, new = open_folder(data), open_folder(tmp_path / "new")
    assert new.video_path(5) is None
    np.testing.assert_array_equal(
        new.skeleton(5, "pixels").positions, old.skeleton(5, "pixels").positions
    )


def test_a_killed_run_goes_on_and_copies_nothing_twice(copy, data, tmp_path):
    ledger = tmp_path / "new.unfinished" / "copies.jsonl"
    words = [sys.executable, "-m", "poselens", "data", "cache", str(data), "--format", "video",
             "--out", str(tmp_path / "new"), "--workers", "1"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    with subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL) as process:
        for _ in range(1200):
            if ledger.exists() and ledger.read_bytes().count(b"\n") >= 3:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    if (tmp_path / "new").exists():
        pytest.skip("it was done before it could be killed")
    there = ledger.read_bytes().count(b"\n")
    assert there >= 3
    with ledger.open("ab") as file:
        file.write(b'{"video": "videos/c1')
    facts = copy("--json").facts
    assert (facts["clips"], facts["made"]) == (14, 14 - there)


def test_other_settings_or_another_video_are_copied_anew(copy, data, tmp_path, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("poselens.recipes.copying._write", stop)
        assert copy().code == 130
    video = data / "videos" / "c02.mp4"
    os.utime(video, ns=(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr("poselens.recipes.copying._write", stop)
        assert copy("--crf", 30).code == 130
    assert copy("--json").facts["made"] == 14


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--format", "video"], "DATA-068", "copies need a folder"),
        (["--format", "video", "--out", "OUT", "--workers", 0], "DATA-068", "child processes"),
        (["--format", "video", "--out", "OUT", "--recipe", "tiny"], "DATA-068", "--recipe"),
        (["--format", "packed"], "DATA-068", "needs --recipe"),
        (["--recipe", "tiny", "--gop", 4], "DATA-068", "no use for --gop"),
        (["--format", "video", "--out", "IN/x"], "DATA-065", "inside the data set"),
        (["--format", "video", "--out", "FULL"], "DATA-020", "exists already"),
    ],
)
def test_wrong_words(poselens, data, tmp_path, words, code, text):
    places = {"OUT": tmp_path / "new", "IN/x": data / "x", "FULL": data}
    answer = poselens("data", "cache", data, *[places.get(word, word) for word in words])
    assert answer.code == 2
    assert f"error[{code}]" in answer.err
    assert text in answer.err


def test_a_damaged_ledger_is_refused(copy, tmp_path):
    (tmp_path / "new.unfinished").mkdir()
    (tmp_path / "new.unfinished" / "copies.jsonl").write_text('{"video": 1}\n')
    answer = copy()
    assert answer.code == 3
    assert "error[DATA-067]" in answer.err
    assert "the ledger of unfinished copies is damaged. Mend: remove its folder" in answer.err


def test_a_second_run_of_the_same_copies_is_refused(copy, tmp_path):
    import fcntl

    (tmp_path / "new.unfinished").mkdir()
    descriptor = os.open(tmp_path / "new.unfinished", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    answer = copy()
    os.close(descriptor)
    assert answer.code == 2
    assert "error[DATA-066]" in answer.err


def test_pictures_are_kept_whole_where_there_are_no_joints(copy, data, tmp_path):
    text = (data / "dataset.yaml").read_text()
    head, _, rest = text.partition("skeletons:")
    tail = rest[rest.index("protocols:") :]
    (data / "dataset.yaml").write_text(f"{head}{tail}")
    facts = copy("--json").facts
    assert facts["whole_frame"] == 0
    assert "whole pictures" in open_folder(tmp_path / "new").info.source
