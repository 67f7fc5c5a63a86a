"""``poselens pose`` from the command line, with an estimator of a few lines and a real one."""

import csv
from dataclasses import dataclass

import numpy as np
import pytest
from fake_pose import Fake, grey_videos, here
from PIL import Image

from poselens.data.skeleton_file import read_skeleton
from poselens.data.video import count_frames


@dataclass(frozen=True)
class Chosen(Fake):
    """Takes whatever the options say."""

    detector_kind: object = None
    several: bool = False
    min_score: float = 0.3
    require_gpu: bool = False


@pytest.fixture
def faked(monkeypatch):
    """No network, no children."""
    monkeypatch.setattr("poselens.recognition.pose.choose", lambda *_, **__: (Chosen(), None))
    monkeypatch.setattr("poselens.data.children.in_children", here)


@pytest.fixture
def videos(tmp_path):
    return grey_videos(tmp_path / "videos", 4)


def test_videos_become_skeletons_with_a_preview(poselens, faked, videos, tmp_path):
    out, seen = tmp_path / "out", tmp_path / "preview"
    answer = poselens(
        "pose", videos, "--out", out, "--preview", seen, "--preview-clips", 3, "--json"
    )
    facts = answer.facts
    assert (answer.code, facts["complete"], facts["posed"], facts["failed"]) == (0, True, 4, 0)
    assert facts["provider"] == "nothing at all"
    assert "joints by nothing at all" in answer.err
    assert facts["preview"] == {"sheet": str(seen / "sheet.png"), "clips": 3}
    assert len(list(seen.glob("*.mp4"))) == 3
    with Image.open(seen / "sheet.png") as sheet:
        assert sheet.width > 320
        assert sheet.height > 3 * 180
        assert len(sheet.convert("RGB").getcolors(1 << 20)) > 20
    again = poselens("pose", videos, "--out", out)
    assert (again.code, again.out) == (0, "")
    assert "4 of 4 clips have joints; quality 0.80 (median)" in again.err


def test_a_data_set_gets_joints(poselens, faked, tiny_folder, tmp_path):
    out = tmp_path / "posed"
    answer = poselens("pose", tiny_folder, "--out", out, "--preview", tmp_path / "look", "--json")
    assert (answer.code, answer.facts["posed"]) == (0, 14)
    rows = list(csv.DictReader((out / "quality.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [f"c{clip:02d}" for clip in range(14)]


def test_shards_and_their_merge(poselens, faked, videos, tmp_path):
    out = tmp_path / "out"
    first = poselens("pose", videos, "--out", out, "--shard", "1/2", "--json")
    assert first.facts == {"out": str(out), "shard": "1/2", "complete": False}
    early = poselens("pose", videos, "--out", out, "--merge", "--json")
    assert (early.code, early.facts["error"]["code"]) == (3, "POSE-015")
    assert "of the shards 2/2" in early.facts["error"]["message"]
    second = poselens("pose", videos, "--out", out, "--shard", "2/2")
    assert "shard 2/2 is done" in second.err
    merged = poselens("pose", videos, "--out", out, "--merge", "--json")
    assert (merged.code, merged.facts["posed"]) == (0, 4)


def test_clips_without_joints_are_named_and_the_exit_code_says_so(
    poselens, faked, videos, tmp_path
):
    (videos / "v001.mp4").write_bytes(b"")
    answer = poselens("pose", videos, "--out", tmp_path / "out")
    assert answer.code == 1
    assert "v001: VID-002" in answer.err


def test_what_cannot_be_asked_for(poselens, faked, videos, tmp_path):
    out = tmp_path / "out"
    for words, code, error in (
        (["--subject", "biggest"], 2, "POSE-004"),
        (["--people", "0"], 2, "POSE-004"),
        (["--shard", "3/2"], 2, "POSE-010"),
        (["--shard", "1/2", "--merge"], 2, "POSE-010"),
        (["--min-score", "7"], 2, "CFG-011"),
        (["--estimator", "openpose"], 2, "CFG-011"),
    ):
        answer = poselens("pose", videos, "--out", out, *words, "--json")
        assert (answer.code, answer.facts["error"]["code"]) == (code, error)
    assert not out.exists()


def test_rtmpose_needs_its_files_and_movenet_no_gpu(poselens, videos, tmp_path):
    out = tmp_path / "out"
    answer = poselens("pose", videos, "--out", out, "--estimator", "rtmpose", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "POSE-009")
    weights = tmp_path / "movenet.tflite"
    weights.write_bytes(b"x")
    words = ["--weights", weights, "--require-gpu", "--json"]
    answer = poselens("pose", videos, "--out", out, *words)
    assert (answer.code, answer.facts["error"]["code"]) == (5, "POSE-006")


@pytest.mark.shared
def test_signers_by_movenet(poselens, shared, tmp_path):
    pytest.importorskip("ai_edge_litert")
    weights = shared / "weights" / "movenet_single_pose_lightning_ptq.tflite"
    clips = [shared / "data" / "asl_clips" / f"{name}.mkv" for name in ("eat", "milk")]
    words = ["--out", tmp_path / "out", "--weights", weights, "--workers", 1, "--json"]
    answer = poselens("pose", *clips, *words)
    assert (answer.code, answer.facts["posed"], answer.facts["provider"]) == (0, 2, "LiteRT, CPU")
    for clip in clips:
        skeleton = read_skeleton(tmp_path / "out" / f"{clip.stem}.npz")["pixels"]
        assert skeleton.frames == count_frames(clip)
        assert skeleton.coverage > 0.95
        nose, hips = skeleton.positions[0, :, 0], skeleton.positions[0, :, 11:13].mean(axis=1)
        # seen in the pictures: the signer stands in the middle and faces the camera
        assert 250 < np.nanmedian(nose[:, 0]) < 390
        assert 80 < np.nanmedian(nose[:, 1]) < 180
        assert np.nanmedian(hips[:, 1]) > np.nanmedian(nose[:, 1]) + 200
