"""The commands whose forms stay fixed, typed as the documentation does, on tiny drawn data."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn import SMALL_RGB, SMALL_SKELETON

from poselens.data.folder import open_folder
from poselens.data.video import probe
from poselens.synth.make import make_dataset

PROTOCOL = ["--protocol", "cross-subject"]
SRC = str(Path(__file__).parents[2] / "src")


def sets(*settings):
    return [word for setting in settings for word in ("--set", setting)]


# --- one passage through everything ---------------------------------------------------------------


@pytest.fixture(scope="module")
def passage(drawn, tmp_path_factory):
    """Folder in which the commands of ``test_the_whole_passage`` leave their results."""
    return tmp_path_factory.mktemp("passage")


def test_the_whole_passage(poselens, drawn, passage, monkeypatch):
    monkeypatch.chdir(passage)
    data = drawn.data
    common = ["--recipe", "tiny", *PROTOCOL, "--device", "cpu"]

    trained = poselens("train", "rgb", data, *common, "--out", "rgb", *sets(*SMALL_RGB), "--json")
    assert trained.code == 0
    assert (trained.facts["run"], trained.facts["epochs"]) == ("rgb", 1)
    assert "epoch 1/1" in trained.err
    trained = poselens("train", "skeleton", data, *common, "--out", "joint", *sets(*SMALL_SKELETON))
    assert (trained.code, trained.out) == (0, "")
    assert "joint: last of 1 epochs, trained on train; 0 clips skipped" in trained.err

    fused = poselens("fuse", "rgb", "joint", "--data", data, *PROTOCOL, "--out", "bundle", "--json")
    assert fused.code == 0
    assert fused.facts["fusion"]["weights"] == {"rgb": 0.5, "joint": 0.5}

    judged = poselens("evaluate", "bundle", data, *PROTOCOL, "--json")
    assert judged.code == 0
    facts = judged.facts
    assert {
        "top1", "mean_class", "n", "interval", "selection", "data_fingerprint",
    } <= facts.keys()  # fmt: skip
    assert facts["n"] == 16
    assert 0 <= facts["interval"][0] <= facts["top1"] <= facts["interval"][1] <= 1
    assert facts["data_fingerprint"] == open_folder(data).fingerprint()
    alone = poselens("evaluate", "joint", data, *PROTOCOL, "--json").facts
    assert alone["top1"] == facts["streams"]["joint"]["top1"]
    table = poselens("evaluate", "bundle", data, *PROTOCOL)
    assert "fused" in table.out
    assert f"selection: {facts['selection']}" in table.err
    assert "16 clips, 1 view" in " ".join(table.out.split())
    crops = ["--views", "3-crops"]
    assert poselens("evaluate", "bundle", data, *PROTOCOL, *crops, "--json").facts["views"] == 3
    table = poselens("evaluate", "bundle", data, *PROTOCOL, *crops)
    assert "rgb in 3 views (3-crops)" in " ".join(table.out.split())
    assert "note: rgb saw 3 views of each clip (3-crops), which cost 3 times one" in table.err
    wrong = poselens("evaluate", "joint", data, *PROTOCOL, *crops, "--json")
    assert (wrong.code, wrong.facts["error"]["code"]) == (2, "CFG-038")

    predicted = poselens("predict", "bundle", drawn.video, "--out", "out", "--json")
    assert predicted.code == 0
    (clip,) = predicted.facts["clips"]
    assert {"status", "label", "scores", "person_coverage"} <= clip.keys()
    assert (clip["status"], clip["person_coverage"]) == ("ok", None)
    given = ["--skeleton", drawn.skeleton, "--out", "given", "--json"]
    (clip,) = poselens("predict", "bundle", drawn.video, *given).facts["clips"]
    assert clip["person_coverage"] == 1.0
    assert sum(clip["scores"].values()) == pytest.approx(1)
    assert probe(clip["labelled_video"]).frames == clip["frames"]

    reported = poselens("report", "bundle", data, *PROTOCOL, "--out", "r.html", "--run", "rgb",
                        "--run", "joint")  # fmt: skip
    assert (reported.code, reported.err) == (0, "r.html\n")
    assert (passage / "r.html").stat().st_size > 50_000


def test_run_from_a_data_set_folder(poselens, drawn, tmp_path):
    answer = poselens("run", drawn.data, "--out", tmp_path, "--streams", "joint", "--device",
                      "cpu", *sets(*SMALL_SKELETON), "--json")  # fmt: skip
    assert answer.code == 0
    assert answer.facts["report"] == str(tmp_path / "report.html")
    assert (tmp_path / "bundle" / "bundle.json").is_file()


# --- making data sets -----------------------------------------------------------------------------


def test_import_a_folder_and_a_csv(poselens, drawn, tmp_path):
    source = tmp_path / "source"
    for number, name in enumerate(("sit", "stand", "sit", "stand")):
        (source / name).mkdir(parents=True, exist_ok=True)
        origin = drawn.data / "videos" / f"synth-00000{number}.mp4"
        (source / name / f"{number}.mp4").write_bytes(origin.read_bytes())
    answer = poselens("data", "import", "folder", source, "--out", tmp_path / "a", "--json")
    assert answer.code == 0
    assert answer.facts["imported"] == 4
    (source / "c.csv").write_text("video,label,split\nsit/0.mp4,x,train\nstand/1.mp4,y,test\n")
    answer = poselens("data", "import", "csv", source / "c.csv", "--out", tmp_path / "b", "--json")
    assert (answer.code, answer.facts["imported"]) == (0, 2)
    assert open_folder(tmp_path / "b").info.classes == ["x", "y"]
    again = poselens("data", "import", "csv", source / "c.csv", "--out", tmp_path / "b", "--json")
    assert (again.code, again.facts["error"]["code"]) == (2, "DATA-020")


@pytest.mark.parametrize("kind", ["utd-mhad", "nw-ucla"])
def test_import_from_a_place_that_is_none(poselens, tmp_path, kind):
    answer = poselens("data", "import", kind, tmp_path / "none", "--out", tmp_path / "x", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "DATA-001")
    (tmp_path / "empty").mkdir()
    answer = poselens("data", "import", kind, tmp_path / "empty", "--out", tmp_path / "x", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (3, "DATA-012")


def test_equal_seeds_draw_equal_bytes(poselens, tmp_path, monkeypatch):
    monkeypatch.setattr("poselens.synth.make.make_dataset", partial(make_dataset, size=(64, 64)))
    for name in ("a", "b"):
        words = ["--out", tmp_path / name, "--clips", 16, "--seed", 5, "--workers", 1]
        assert poselens("data", "synth", *words).code == 0
    files = [path for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) > 16
    for path in files:
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == twin.read_bytes(), path.name


# --- small commands -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["ntu-25", "coco-17"])
def test_cost(poselens, layout):
    (facts,) = poselens("cost", "--recipe", "paper", "--layout", layout, "--json").facts["recipes"]
    assert {"rgb", "skeleton", "gmacs", "params"} <= facts.keys()
    assert facts["gmacs"] <= 35.1
    table = poselens("cost", "--recipe", "paper", "--layout", layout)
    assert f"{facts['gmacs']:.3f}" in table.out


def test_doctor_and_weights(poselens):
    assert poselens("doctor", "--json").facts["checks"]
    assert poselens("weights", "list", "--json").facts["weights"]


# --- bad input ------------------------------------------------------------------------------------


def predicted(poselens, tmp_path, *words):
    answer = poselens("predict", *words, "--out", tmp_path / "out", "--overwrite", "--json")
    return answer.code, answer.facts.get("clips", answer.facts.get("error"))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing.mp4", "VID-001"),
        ("empty.mp4", "VID-002"),
        ("text.mp4", "VID-003"),
        ("truncated.mp4", "VID-004"),
        ("audio.mp4", "VID-005"),
    ],
)
def test_bad_videos(poselens, drawn, tmp_path, name, code):
    bad, bundle = drawn.bad(name), drawn.bundle
    exit_code, clips = predicted(poselens, tmp_path, bundle, bad)
    assert exit_code == 3
    assert [(clip["status"], clip["error"]["code"]) for clip in clips] == [("error", code)]
    exit_code, clips = predicted(poselens, tmp_path, bundle, bad, drawn.video, "--no-video")
    assert exit_code == 1
    assert [clip["status"] for clip in clips] == ["error", "ok"]
    told = poselens("predict", bundle, bad, "--out", tmp_path / "told")
    assert f"error[{code}]: {bad}" in told.err
    assert code in told.out


@pytest.mark.parametrize(
    ("name", "words", "code", "error"),
    [
        ("kinect.npy", [], 3, "SKEL-004"),
        ("kinect.npz", [], 3, "SKEL-012"),
        ("kinect.npy", ["--layout", "kinect-20"], 3, "SKEL-012"),
        ("kinect.npy", ["--layout", "kinect-21"], 2, "CFG-003"),
        ("flat.npz", [], 3, "SKEL-012"),
        ("missing.npz", [], 3, "SKEL-001"),
        ("text.mp4", [], 3, "SKEL-002"),
    ],
)
def test_bad_skeletons(poselens, drawn, tmp_path, name, words, code, error):
    found, clips = predicted(
        poselens, tmp_path, drawn.bundle, "--skeleton", drawn.bad(name), *words
    )
    assert (found, clips[0]["error"]["code"]) == (code, error)


def test_joints_of_nobody(poselens, drawn, tmp_path):
    nobody = ["--skeleton", drawn.bad("nobody.json")]
    code, (clip,) = predicted(poselens, tmp_path, drawn.joint, *nobody)
    assert (code, clip["status"], clip["label"], clip["scores"]) == (0, "no_person", None, {})
    code, (clip,) = predicted(poselens, tmp_path, drawn.bundle, drawn.video, *nobody)
    assert (code, clip["status"], clip["person_coverage"]) == (0, "no_person", 0.0)
    assert list(clip["streams"]) == ["rgb"]
    table = poselens("predict", drawn.joint, *nobody, "--out", tmp_path / "table")
    assert (table.code, "no_person" in table.out) == (0, True)


def test_one_modality_alone(poselens, drawn, tmp_path):
    code, (clip,) = predicted(poselens, tmp_path, drawn.bundle, "--skeleton", drawn.skeleton)
    assert (code, list(clip["streams"])) == (0, ["joint"])
    code, (clip,) = predicted(poselens, tmp_path, drawn.bundle, drawn.video)
    assert (code, list(clip["streams"])) == (0, ["rgb"])
    code, (clip,) = predicted(poselens, tmp_path, drawn.bundle, drawn.bad("one-frame.mp4"))
    assert (code, clip["frames"]) == (0, 1)
    code, (clip,) = predicted(poselens, tmp_path, drawn.joint, drawn.video)
    assert (code, clip["error"]["code"]) == (3, "SKEL-012")
    code, error = predicted(poselens, tmp_path, drawn.bundle)
    assert (code, error["code"]) == (2, "RUN-003")


def test_results_that_exist(poselens, drawn, tmp_path):
    words = ["predict", drawn.bundle, drawn.video, "--no-video", "--out", tmp_path, "--json"]
    assert poselens(*words).code == 0
    again = poselens(*words)
    assert (again.code, again.facts["error"]["code"]) == (2, "RUN-001")
    assert poselens(*words, "--overwrite").code == 0


def test_a_bundle_that_cannot_be_used(poselens, drawn, tmp_path):
    for place, code in ((tmp_path / "none", "CKPT-001"), (drawn.data, "CKPT-014")):
        exit_code, error = predicted(poselens, tmp_path, place, drawn.video)
        assert (exit_code, error["code"]) == (4, code)
    half = tmp_path / "half"
    half.mkdir()
    (half / "states").mkdir()
    exit_code, error = predicted(poselens, tmp_path, half, drawn.video)
    assert (exit_code, error["code"]) == (4, "CKPT-014")
    assert "--resume" in error["mend"]
    (half / "run.json").write_bytes((drawn.joint / "run.json").read_bytes())
    weights = (drawn.joint / "weights.safetensors").read_bytes()
    (half / "weights.safetensors").write_bytes(weights[:-100])
    exit_code, error = predicted(poselens, tmp_path, half, drawn.video)
    assert (exit_code, error["code"]) == (4, "CKPT-003")
    answer = poselens("evaluate", half, drawn.data, *PROTOCOL, "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (4, "CKPT-003")


def spoilt(drawn, tmp_path, change):
    """Return a data set whose table of clips was changed; it has no videos."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset.yaml").write_bytes((drawn.data / "dataset.yaml").read_bytes())
    (data / "skeletons").symlink_to(drawn.data / "skeletons")
    rows = list(csv.reader((drawn.data / "clips.csv").read_text().splitlines()))
    change(rows)
    with (data / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return data


def test_an_unknown_label_and_a_duplicate_id(poselens, drawn, tmp_path):
    def unknown(rows):
        rows[3][2] = "wave-fsat"

    def twice(rows):
        rows[3][0] = rows[1][0]

    for number, (change, code, text) in enumerate(
        (
            (unknown, "DATA-006", "did you mean 'wave-fast'"),
            (twice, "DATA-007", "'synth-000000'"),
        )
    ):
        (tmp_path / str(number)).mkdir()
        data = spoilt(drawn, tmp_path / str(number), change)
        for words in (
            ["evaluate", drawn.joint, data, *PROTOCOL],
            ["train", "skeleton", data, "--recipe", "tiny", *PROTOCOL, "--out", tmp_path / "out"],
        ):
            answer = poselens(*words, "--json")
            assert (answer.code, answer.facts["error"]["code"]) == (3, code)
            assert text in answer.err
            assert "line 4" in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "error", "text"),
    [
        (["--set", "training.epoch=3"], 2, "CFG-001", "did you mean 'epochs'"),
        (["--set", "training.epochs=many"], 2, "CFG-002", "found 'many'"),
        (["--set", "training.epochs"], 2, "CFG-006", "expects key=value"),
        (["--set", "training.epochs=[1"], 2, "CFG-006", "not valid YAML"),
        (["--set", "training.epochs=0"], 2, "CFG-002", "greater than or equal to 1"),
        (["--set", "input.stream=jiont"], 2, "CFG-021", "did you mean 'joint'"),
        (["--recipe", "tinny"], 2, "CFG-008", "did you mean 'tiny'"),
        (["--protocol", "cross-subjct"], 2, "CFG-004", "did you mean 'cross-subject'"),
        (["--device", "tpu"], 2, "CFG-007", "expected cpu, cuda or auto"),
    ],
)
def test_wrong_settings_leave_nothing_behind(poselens, drawn, tmp_path, words, code, error, text):
    out = tmp_path / "out"
    common = ["--recipe", "tiny", *PROTOCOL, "--out", out, *sets(*SMALL_SKELETON)]
    answer = poselens("train", "skeleton", drawn.data, *common, *words, "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (code, error)
    assert text in answer.err
    # nothing but perhaps its lock: the mended command works without --resume
    assert list(out.glob("[!.]*")) == []


def test_outputs_that_cannot_be_written(poselens, drawn, tmp_path):
    (tmp_path / "file").touch()
    out = ["--out", tmp_path / "file" / "out", "--json"]
    split = ["--data", drawn.data, *PROTOCOL]
    recipe = ["--recipe", "tiny", *PROTOCOL]
    for words, code, error in (
        (["predict", drawn.bundle, drawn.video], 5, "ENV-003"),
        (["fuse", drawn.joint, *split], 5, "ENV-003"),
        (["train", "skeleton", drawn.data, *recipe], 2, "RUN-002"),
        (["data", "synth", "--clips", 16], 5, "ENV-003"),
    ):
        answer = poselens(*words, *out)
        assert (answer.code, answer.facts["error"]["code"]) == (code, error)
    scores = ["--scores", tmp_path / "file" / "scores.npz", "--json"]
    answer = poselens("evaluate", drawn.joint, drawn.data, *PROTOCOL, *scores)
    assert (answer.code, answer.facts["error"]["code"]) == (5, "ENV-003")


def test_a_run_that_exists(poselens, drawn):
    words = ["train", "skeleton", drawn.data, "--recipe", "tiny", *PROTOCOL, "--out", drawn.joint]
    answer = poselens(*words, *sets(*SMALL_SKELETON), "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "RUN-001")
    finished = poselens(*words, *sets(*SMALL_SKELETON), "--resume", "--json")
    assert (finished.code, finished.facts["complete"]) == (0, True)
    other = poselens(*words, *sets(*SMALL_SKELETON, "training.lr=0.5"), "--resume", "--json")
    assert (other.code, other.facts["error"]["code"]) == (4, "CKPT-011")


# --- signals --------------------------------------------------------------------------------------


def test_ctrl_c_in_training_and_resume(poselens, drawn, tmp_path):
    settings = sets(*SMALL_SKELETON[1:], "training.epochs=12")
    words = ["train", "skeleton", drawn.data, "--recipe", "tiny", *PROTOCOL, *settings]
    process = subprocess.Popen(
        [sys.executable, "-m", "poselens", *map(str, words), "--out", tmp_path / "run", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"},
    )
    log = tmp_path / "run" / "log.csv"
    while not (log.exists() and len(log.read_text().splitlines()) > 1):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out) == {"run": str(tmp_path / "run"), "complete": False}
    assert "go on with --resume" in err
    assert "Traceback" not in err
    done = len((tmp_path / "run" / "log.csv").read_text().splitlines())
    assert 1 < done < 24
    evaluated = poselens("evaluate", tmp_path / "run", drawn.data, *PROTOCOL, "--json")
    assert (evaluated.code, evaluated.facts["error"]["code"]) == (4, "CKPT-014")
    wrong = poselens(*words, "--out", tmp_path / "run", "--resume", "--set", "training.lr=0.5")
    assert (wrong.code, "CKPT-011" in wrong.err) == (4, True)
    words = [*words, "--out", tmp_path / "run", "--resume", "--json"]
    assert poselens(*words).facts["epochs"] == 12


def test_predict_into_head(drawn, tmp_path):
    words = ["predict", drawn.bundle, drawn.video, "--no-video", "--out", tmp_path / "out"]
    command = " ".join([sys.executable, "-m", "poselens", *map(str, words)])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -c 1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "predictions.json").is_file()


# --- recorded data --------------------------------------------------------------------------------


@pytest.mark.shared
def test_nw_ucla(poselens, shared, tmp_path):
    source = shared / "data" / "nw_ucla" / "all_sqe"
    answer = poselens("data", "import", "nw-ucla", source, "--out", tmp_path / "data", "--json")
    assert (answer.code, answer.facts["imported"]) == (0, 1484)
    learning = ("training.repeats=2", "training.warmup_epochs=0")
    small = sets(*SMALL_SKELETON, *learning)
    run = ["train", "skeleton", tmp_path / "data", "--recipe", "nw-ucla", "--protocol", "nw-ucla"]
    assert poselens(*run, "--out", tmp_path / "run", *small).code == 0
    split = ["--protocol", "nw-ucla", "--json"]
    facts = poselens("evaluate", tmp_path / "run", tmp_path / "data", *split).facts
    assert facts["n"] > 400
    # ten classes; one epoch of a tenth of the network is better than chance
    assert facts["top1"] > 0.2


@pytest.mark.shared
def test_utd_mhad(poselens, shared, tmp_path):
    source, wanted = shared / "data" / "utd_mhad", ("a1_s", "a2_s", "a27_s")
    part = tmp_path / "part"
    (part / "depth_mp4").mkdir(parents=True)
    with np.load(source / "skeleton.npz") as stored:
        names, lengths, joints = (stored[name] for name in ("names", "lengths", "xyz"))
    kept = [str(name).startswith(wanted) for name in names]
    rows = np.repeat(kept, lengths)
    np.savez(part / "skeleton.npz", names=names[kept], lengths=lengths[kept], xyz=joints[rows])
    for name in names[kept]:
        (part / "depth_mp4" / f"{name}.mp4").symlink_to(source / "depth_mp4" / f"{name}.mp4")
    answer = poselens("data", "import", "utd-mhad", part, "--out", tmp_path / "data", "--json")
    assert answer.code == 0
    assert answer.facts["imported"] == sum(kept)
    common = ["--recipe", "utd-mhad", "--protocol", "utd-mhad", "--device", "cpu"]
    quick = ("training.epochs=1", "training.workers=0", "training.repeats=1")
    small = sets(*quick, "network.width=8", "network.blocks=[1, 1]", "input.window=16")
    run = ["train", "skeleton", tmp_path / "data", *common, "--out", tmp_path / "joint"]
    assert poselens(*run, *small).code == 0
    small = sets(*quick, "training.cache=none", "network.width=0.25", "input.scale=36",
                 "input.size=32", "weights=null")  # fmt: skip
    run = ["train", "rgb", tmp_path / "data", *common, "--out", tmp_path / "rgb"]
    assert poselens(*run, *small).code == 0
    fuse = ["fuse", tmp_path / "rgb", tmp_path / "joint", "--data", tmp_path / "data"]
    assert poselens(*fuse, "--protocol", "utd-mhad", "--out", tmp_path / "bundle").code == 0
    split = ["--protocol", "utd-mhad", "--json"]
    facts = poselens("evaluate", tmp_path / "bundle", tmp_path / "data", *split).facts
    assert facts["n"] == sum(str(name)[-4] in "2468" for name in names[kept])
    assert facts["streams"].keys() == {"rgb", "joint"}


@pytest.mark.shared
def test_a_filmed_clip_with_estimated_pose(poselens, drawn, shared, tmp_path):
    pytest.importorskip("ai_edge_litert")
    weights = shared / "weights" / "movenet_single_pose_lightning_ptq.tflite"
    video = shared / "data" / "asl_clips" / "book.mkv"
    words = [drawn.posed, video, "--pose-weights", weights, "--out", tmp_path, "--json"]
    answer = poselens("predict", *words)
    (clip,) = answer.facts["clips"]
    assert (answer.code, clip["pose"], clip["status"]) == (0, "estimated", "ok")
    assert clip["person_coverage"] > 0.9
    assert list(clip["streams"]) == ["rgb", "joint"]
    assert probe(clip["labelled_video"]).frames == 109
