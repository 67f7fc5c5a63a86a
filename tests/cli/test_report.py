import shlex

import pytest

from poselens.recipes import reporting


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
