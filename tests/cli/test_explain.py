import json
import re

import pytest

from poselens.data.folder import open_folder
from poselens.data.video import probe

PROTOCOL = ("--protocol", "cross-subject")


def test_a_page_strips_videos_and_facts(poselens, drawn, tmp_path):
    out = tmp_path / "out"
    answer = poselens(
        "explain", drawn.bundle, drawn.data, *PROTOCOL, "--out", out, "--top", 1, "--pick",
        "wrong", "--class", "pair", "--layer", "layer3", "--video", "--json",
    )  # fmt: skip
    assert answer.code == 0
    (clip,) = answer.facts["clips"]
    assert clip["right"] is False
    assert (clip["explained"], clip["against"]) == (clip["label"], clip["predicted"])
    assert json.loads((out / "explanations.json").read_text())["clips"] == [clip]
    page = (out / "index.html").read_text()
    for file in (clip["strip"], clip["video"]):
        assert (out / file).stat().st_size > 1000
        assert file in page
    assert probe(out / clip["video"]).frames > 10
    assert "poselens explain" in page
    assert "--class=pair" in page
    # both branches on the same frames
    assert clip["streams"].keys() == {"rgb", "joint"}
    assert page.count("<svg") == 1
    again = poselens("explain", drawn.bundle, drawn.data, *PROTOCOL, "--out", out)
    assert (again.code, "error[RUN-001]" in again.err) == (2, True)


def test_named_clips_by_another_method_with_checks(poselens, drawn, tmp_path):
    folder = open_folder(drawn.data)
    names = [str(folder.ids[clip]) for clip in folder.indices("cross-subject", "test")[:2]]
    words = ["explain", drawn.rgb, drawn.data, *PROTOCOL, "--out", tmp_path / "o", "--sanity"]
    answer = poselens(*words, "--method", "input-x-gradient", *(f"--clip={n}" for n in names))
    assert answer.code == 0
    assert re.search(r"random weights: undecided, rank correlation .* 2 clips", answer.err)
    assert re.search(r"deletion: undecided, area", answer.err)
    facts = json.loads((tmp_path / "o" / "explanations.json").read_text())
    assert [clip["id"] for clip in facts["clips"]] == names
    assert facts["layers"] == {"rgb": None}
    assert "random weights: undecided" in (tmp_path / "o" / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (["--method", "eigencam"], "EXP-003", 2),
        (["--layer", "layer9", "--top", 1], "EXP-002", 2),
        (["--class", "waltz", "--top", 1], "EXP-010", 2),
        (["--pick", "best"], "EXP-008", 2),
        (["--joint-method", "lime", "--top", 1], "EXP-030", 2),
        (["--clip", "nobody"], "DATA-013", 2),
        (["--top", 0], "CFG-011", 2),
    ],
)
def test_what_cannot_be_asked(poselens, drawn, tmp_path, words, code, exit_code):
    answer = poselens(
        "explain", drawn.bundle, drawn.data, *PROTOCOL, "--out", tmp_path / "o", *words, "--json"
    )
    assert (answer.code, answer.facts["error"]["code"]) == (exit_code, code)


def test_a_model_of_joints_alone(poselens, drawn, tmp_path):
    out = tmp_path / "o"
    answer = poselens(
        "explain", drawn.joint, drawn.data, *PROTOCOL, "--out", out, "--clip", "synth-000016",
        "--joint-method", "gradient-input", "--video", "--json",
    )  # fmt: skip
    assert answer.code == 0
    (clip,) = answer.facts["clips"]
    assert "video" not in clip
    assert sum(clip["streams"]["joint"]["share_by_joint"].values()) == pytest.approx(1, abs=0.01)
    assert (answer.facts["layers"], answer.facts["joint_method"]) == ({}, "gradient-input")
    assert (out / "index.html").read_text().count("<svg") == 1


def test_figure_3_by_one_command(poselens, drawn, tmp_path):
    out = tmp_path / "figure3.png"
    answer = poselens(
        "explain", "figure3", "--runs", drawn.rgb, drawn.rgb, drawn.rgb, "--data", drawn.data,
        *PROTOCOL, "--out", out, "--clip", "synth-000003",
    )  # fmt: skip
    assert answer.code == 0
    assert "note: by their settings the runs are STAA, STAA, STAA" in answer.err
    assert out.read_bytes().startswith(b"\x89PNG")


def test_help_names_both_ways(poselens):
    answer = poselens("explain", "--help")
    assert answer.code == 0
    assert "figure3" in answer.out
    assert "--sanity" in poselens("explain", "clips", "--help").out
    assert poselens("explain").code == 2
