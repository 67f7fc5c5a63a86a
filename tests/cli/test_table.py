import shutil

import pytest
from table_run import make_run


@pytest.mark.parametrize("number", [1, 2, 4, 5])
def test_tables_are_there_before_anything_is_run(poselens, number):
    answer = poselens("table", number)
    assert answer.code == 0
    assert answer.out.startswith(f"**Table {number} of MFCF, BMVC 2025")
    assert "nothing was measured" in answer.out
    facts = poselens("table", number, "--json").facts
    assert all(line["measured"] == [] for line in facts["rows"])


def test_runs_bundles_and_scores_fill_a_table(poselens, drawn, tmp_path):
    joint = tmp_path / "joint"
    shutil.copytree(drawn.joint, joint)
    rgb = tmp_path / "rgb"
    shutil.copytree(drawn.rgb, rgb)
    words = ["table", 4, joint, "--runs", rgb, "--bundle", drawn.bundle, "--data", drawn.data]
    answer = poselens(*words, "--device", "cpu", "--cluster", "subject")
    assert answer.code == 0
    assert "| Baseline + Crop + STAA | R + S | 97.6 | 99.1 | Top-1 | resnet18 x 0.125" in answer.out
    assert "resamples of whole subjects" in answer.out
    facts = poselens(*words, "--device", "cpu", "--json").facts
    filled = {line["key"]: line["measured"] for line in facts["rows"] if line["measured"]}
    assert list(filled) == ["pose", "staa", "ours"]
    # fused from the runs, and the bundle
    assert len(filled["ours"]) == 2
    scores = joint / "scores_test.npz"
    again = poselens("table", 4, scores, "--scores", f"crop={rgb / 'scores_test.npz'}", "--json")
    assert [line["key"] for line in again.facts["rows"] if line["measured"]] == ["pose", "crop"]


@pytest.mark.parametrize(
    ("suffix", "begin"),
    [("md", "**Table 5"), ("html", "<!doctype html>"), ("tex", "\\begin{table")],
)
def test_a_table_is_written_as_asked(poselens, tmp_path, suffix, begin):
    run = make_run(tmp_path / "run", "skeleton", "contrast={samplers: [hard]}")
    out = tmp_path / "new" / f"t.{suffix}"
    answer = poselens("table", 5, run, "--out", out)
    assert (answer.code, answer.out, answer.err) == (0, "", f"{out}: 7 rows\n".replace("7", "6"))
    text = out.read_text()
    assert text.startswith(begin)
    assert "contrast hard" in text


def test_costs_are_a_table_too(poselens):
    answer = poselens("table", 3, "--recipe", "tiny")
    assert "| VPN | 107.9 |" in answer.out
    assert "poselens: recipe tiny" in answer.out


def test_what_cannot_be_written_or_is_no_table(poselens, tmp_path):
    wrong = poselens("table", 4, "--out", tmp_path / "t.docx", "--json")
    assert (wrong.code, wrong.facts["error"]["code"]) == (2, "CFG-112")
    assert poselens("table", 6).code == 2
    wrong = poselens("table", 4, tmp_path / "none", "--json")
    assert (wrong.code, wrong.facts["error"]["code"]) == (4, "CKPT-001")
