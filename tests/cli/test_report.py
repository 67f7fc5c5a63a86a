import csv
import shlex

import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.fusion.scores import write_scores
from poselens.recipes import evaluating, reporting
from poselens.types import Scores


@pytest.fixture
def asked(monkeypatch):
    seen = []
    monkeypatch.setattr(reporting, "write_report", lambda _, data: seen.append(data))
    return seen


def test_curves_come_in_the_order_of_the_bundle(poselens, drawn, asked, tmp_path):
    words = ["report", drawn.bundle, drawn.data, "--protocol", "cross-subject"]
    answer = poselens(
        *words, "--out", tmp_path / "r.html", "--run", drawn.joint, "--run", drawn.rgb
    )
    assert answer.code == 0
    (data,) = asked
    parameters = {entry.evaluation.stream: entry.history[0]["loss"] for entry in data.streams}
    first = (drawn.rgb / "log.jsonl").read_text().splitlines()[0]
    assert f'"loss": {parameters["rgb"]}' in first
    (command,) = data.commands
    assert shlex.split(command)[:3] == ["poselens", "report", str(drawn.bundle)]


def test_runs_of_another_bundle_are_left_out_and_said(poselens, drawn, asked, tmp_path):
    words = ["report", drawn.bundle, drawn.data, "--protocol", "cross-subject"]
    answer = poselens(*words, "--out", tmp_path / "r.html", "--run", drawn.rgb)
    assert "the curves are left out" in answer.err
    assert all(entry.history == [] for entry in asked[0].streams)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(poselens, drawn, tmp_path):
    (tmp_path / "file").touch()
    words = ["report", tmp_path / "nowhere", drawn.data, "--protocol", "cross-subject"]
    answer = poselens(*words, "--out", tmp_path / "file" / "r.html", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (5, "ENV-003")


def held_out(drawn, path, stream, wrong):
    """Scores that are sure of the label, but for one clip that is sure of another class."""
    folder = open_folder(drawn.data)
    seen = np.array(folder.labels)
    seen[wrong] = (seen[wrong] + 1) % len(folder.info.classes)
    logits = 5 * np.eye(len(folder.info.classes), dtype=np.float32)[seen]
    ids, classes = folder.ids.tolist(), list(folder.info.classes)
    write_scores(path, Scores(logits, ids, np.array(folder.labels), classes, stream))
    return ids[wrong], classes[folder.labels[wrong]], classes[seen[wrong]]


def test_label_errors_are_searched_in_the_scores_of_held_out_folds(poselens, drawn, tmp_path):
    files = [tmp_path / f"oof_{name}.npz" for name in ("rgb", "joint")]
    for file in files:
        expected = held_out(drawn, file, file.stem, 5)
    words = ["report", drawn.bundle, drawn.data, "--protocol", "cross-subject"]
    words += [word for file in files for word in ("--scores", file)]
    assert poselens(*words, "--out", tmp_path / "r.html").code == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "oof_rgb.npz and oof_joint.npz, as given" in page
    assert f"labelled {expected[1]}, perhaps {expected[2]}" in page
    assert f"--scores={files[0]}" in page
    table = (tmp_path / "label_suspects.csv").read_text(encoding="utf-8").splitlines()
    (row,) = csv.DictReader(table)
    assert (row["clip"], row["label"], row["suggested"]) == expected


def test_scores_that_do_not_do_are_refused_before_the_clips_are_scored(
    poselens, drawn, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluating, "score_folder", lambda *_, **__: pytest.fail("was scored"))
    held_out(drawn, tmp_path / "one.npz", "rgb", 0)
    words = ["report", drawn.bundle, drawn.data, "--protocol", "cross-subject", "--json"]
    words += ["--out", tmp_path / "r.html", "--scores", tmp_path / "one.npz"]
    answer = poselens(*words)
    assert (answer.code, answer.facts["error"]["code"]) == (2, "EVAL-081")
    (tmp_path / "two.npz").write_bytes(b"not a zip")
    answer = poselens(*words, "--scores", tmp_path / "two.npz")
    assert (answer.code, answer.facts["error"]["code"]) == (3, "FUS-006")
    assert not (tmp_path / "r.html").exists()
