import json
import shutil
from pathlib import Path

import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import UsageError
from poselens.fusion.scores import write_scores
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.pairing import compare_two, require_two
from poselens.recipes.scoring import score_run
from poselens.recognition.bundle import load_bundle

CPU = torch.device("cpu")
XSUB = "cross-subject"


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


def test_runs_bundles_and_files_are_all_the_same(drawn, folder, tmp_path):
    run = shutil.copytree(drawn.joint, tmp_path / "joint")
    score_run(run, folder, XSUB, "test", device="cpu", workers=0)
    result = evaluate_bundle(load_bundle(drawn.bundle, device=CPU), folder, XSUB, "test")
    file = tmp_path / "fused.npz"
    write_scores(file, result.scores[-1])
    told = {"folder": folder, "protocol": XSUB, "device": CPU}
    found = [
        compare_two(run, file, device=CPU),
        compare_two(drawn.joint, drawn.bundle, **told),
        compare_two(run, drawn.bundle, **told),
    ]
    (alone,) = [entry for entry in result.streams if entry.stream == "joint"]
    for facts in found:
        assert facts["n"] == 16
        assert facts["figures"]["top1"]["first"] == pytest.approx(alone.top1)
        assert facts["figures"]["top1"]["second"] == pytest.approx(result.fused.top1)
        assert facts["figures"]["nll"]["difference"] == pytest.approx(
            alone.nll - result.fused.nll, abs=1e-5
        )
        json.dumps(facts, allow_nan=False)
    assert "without --data nobody knows who acts" in found[0]["interval_notes"][0]
    assert "1 subject is too few" in found[1]["interval_notes"][0]
    assert [facts["notes"] for facts in found] == [[]] * 3


def test_scores_of_another_data_set_or_split_are_said(drawn, folder, tmp_path):
    run = shutil.copytree(drawn.joint, tmp_path / "joint")
    score_run(run, folder, XSUB, "test", device="cpu", workers=0)
    facts = json.loads((run / "run.json").read_text())
    leak = {"kind": "subject", "parts": ["train", "test"], "severe": True, "told": "a and b"}
    leaks = [leak, {**leak, "severe": False, "told": "c"}, {**leak, "parts": ["val"], "told": "d"}]
    facts["data"] |= {"fingerprint": "x", "protocol": "other", "leakage": leaks}
    (run / "run.json").write_text(json.dumps(facts))
    notes = compare_two(run, run, folder=folder, protocol=XSUB, device=CPU)["notes"]
    assert f"{run} was trained on another data set, or another version of this one" in notes
    assert f"{run} was trained and scored under the protocol 'other'" in notes
    assert notes[2:] == ["a and b", "c"]


def test_clips_that_could_not_be_read_and_other_views_are_counted(drawn, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    folder = open_folder(data)
    clip = str(folder.ids[folder.indices(XSUB, "test")[0]])
    (data / "videos" / f"{clip}.mp4").write_text("404")
    file = tmp_path / "crops.npz"
    result = evaluate_bundle(
        load_bundle(drawn.rgb, device=CPU), folder, XSUB, "test", views="3-crops", scores_out=file
    )
    assert len(result.skipped) == 1
    facts = compare_two(drawn.joint, file, folder=folder, protocol=XSUB, device=CPU)
    assert facts["n"] == 15
    assert "the two saw other views: 3-crops, centre" in facts["notes"]
    assert "1 labelled clips are left out: one of the two has no scores" in facts["notes"]
    facts = compare_two(drawn.bundle, drawn.joint, folder=folder, protocol=XSUB, device=CPU)
    assert facts["n"] == 16
    assert f"{drawn.bundle}: 1 clips could not be read by every stream" in facts["notes"]


def test_what_cannot_be_compared(drawn, folder, tmp_path):
    with pytest.raises(UsageError, match="it holds no scores of test") as caught:
        compare_two(drawn.bundle, drawn.joint, device=CPU)
    assert caught.value.code == "EVAL-029"
    file = tmp_path / "a.npz"
    result = evaluate_bundle(load_bundle(drawn.joint, device=CPU), folder, XSUB, "test")
    write_scores(file, result.scores[0])
    with pytest.raises(UsageError, match="groups by subject are asked for, but no data") as caught:
        compare_two(file, file, cluster="subject", device=CPU)
    assert caught.value.code == "CMP-005"
    with pytest.raises(UsageError, match="found part 'tset'"):
        compare_two(file, file, part="tset", device=CPU)


@pytest.mark.parametrize(
    ("count", "options", "text"),
    [
        (3, [], "found 3 things to compare, expected a sweep or two runs"),
        (2, ["--rows", "--out"], "--rows, --out belongs to a sweep"),
    ],
)
def test_two_are_compared_without_options_of_sweeps(count, options, text):
    with pytest.raises(UsageError, match=text) as caught:
        require_two([Path("a")] * count, options)
    assert caught.value.code == "EVAL-030"
    require_two([Path("a")] * 2, [])
