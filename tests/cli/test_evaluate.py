import json

import numpy as np
import pytest

from poselens.fusion.scores import read_scores, write_scores
from poselens.types import Scores

XSUB = ["--protocol", "cross-subject"]
FIGURES = {"top1", "top5", "mean_class", "macro_f1", "nll", "brier", "ece"}


@pytest.fixture(scope="module")
def outside(drawn, tmp_path_factory):
    """Scores of clips that the model could not know."""
    path = tmp_path_factory.mktemp("outside") / "other.npz"
    draw = np.random.default_rng(0)
    classes = json.loads((drawn.bundle / "bundle.json").read_text())["streams"][0]["stream"][
        "classes"
    ]
    logits = draw.normal(0, 0.1, (12, 16)).astype(np.float32)
    write_scores(path, Scores(logits, [f"x{n}" for n in range(12)], np.full(12, -1), classes, "f"))
    return path


def test_every_figure_comes_with_its_interval(poselens, drawn):
    facts = poselens("evaluate", drawn.bundle, drawn.data, *XSUB, "--json").facts
    assert facts["intervals"].keys() == FIGURES
    for each in (facts, *facts["streams"].values()):
        for name, (low, high) in each["intervals"].items():
            assert low <= each[name] <= high, name
    assert (facts["interval_unit"], facts["interval_units"]) == ("clip", 16)
    assert "1 subject is too few to draw" in facts["interval_notes"][0]
    assert facts["unknown"] is facts["conformal"] is None
    assert facts["selective"]["curve"][-1]["accuracy"] == pytest.approx(facts["top1"])
    # the drawn actions come in pairs
    levels = facts["hierarchy"]["levels"]
    assert [(level["level"], level["nodes"]) for level in levels] == [("action", 8), ("class", 16)]
    assert levels[0]["top1"] >= levels[1]["top1"] == facts["top1"]


def test_a_person_reads_the_same(poselens, drawn, outside):
    words = ["--unknown", "0.25", "--conformal", "0.2", "--sets", "aps", "--outside", outside]
    answer = poselens("evaluate", drawn.bundle, drawn.data, *XSUB, *words)
    assert answer.code == 0
    out, err = (" ".join(text.split()) for text in (answer.out, answer.err))
    assert "more figures, 95 % intervals over 16 clips" in out
    assert "by level of the classes" in out
    for text in (
        "note: the intervals are over clips: 1 subject is too few to draw",
        "nearest level that a mistake shares with the truth: action",
        "of the surest 50%",
        "chosen on 16 validation clips for 25.0 %",
        "12 clips of other classes: called unknown",
        "label sets (aps, over all clips), promised 80.0 % on 16 validation clips",
    ):
        assert text in err, text


def test_thresholds_sets_and_groups_for_machines(poselens, drawn, outside):
    words = ["--unknown", "0.25", "--conformal", "0.2", "--per-class", "--outside", outside]
    facts = poselens(
        "evaluate", drawn.bundle, drawn.data, *XSUB, *words, "--cluster", "clip", "--json"
    ).facts
    assert (facts["unknown"]["rate"], facts["unknown"]["outside"]["n"]) == (0.25, 12)
    assert facts["conformal"]["per_class"]
    assert len(facts["conformal"]["open_classes"]) == 16
    assert "16 of 16 classes have fewer than the 4 clips that promise 0.8" in facts["notes"][-1]
    assert facts["interval_notes"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--unknown", "0.001"], "EVAL-022"),
        (["--unknown", "2"], "EVAL-023"),
        (["--conformal", "0.1", "--sets", "raps"], "EVAL-024"),
        (["--conformal", "0.1", "--part", "val"], "EVAL-026"),
        (["--outside", "{outside}"], "EVAL-027"),
        (["--cluster", "person"], "CMP-005"),
        (["--cluster", "subject"], "CMP-005"),
    ],
)
def test_what_cannot_be_asked(poselens, drawn, outside, words, code):
    words = [word.format(outside=outside) for word in words]
    answer = poselens("evaluate", drawn.joint, drawn.data, *XSUB, *words, "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, code)


def test_a_bundle_that_says_unknown(poselens, drawn, tmp_path):
    answer = poselens("fuse", drawn.rgb, drawn.joint, "--data", drawn.data, *XSUB,
                      "--out", tmp_path / "b", "--unknown", "0.5")  # fmt: skip
    assert answer.code == 0
    assert "on 16 validation clips" in answer.err
    kept = json.loads((tmp_path / "b" / "bundle.json").read_text())["unknown"]
    judged = poselens("evaluate", tmp_path / "b", drawn.data, *XSUB, "--json").facts["unknown"]
    assert {name: judged[name] for name in kept} == kept
    words = ["--skeleton", drawn.data, "--out", tmp_path / "p", "--no-video", "--json"]
    videos = sorted((drawn.data / "videos").glob("*.mp4"))
    clips = poselens("predict", tmp_path / "b", *videos, *words).facts["clips"]
    for clip in clips:
        named = clip["best"] if clip["score"] >= kept["threshold"] else "unknown"
        assert clip["label"] == named
    assert {clip["label"] == "unknown" for clip in clips} == {True, False}
    assert "unknown" in (tmp_path / "p" / "predictions.csv").read_text()


def test_a_note_is_said_once(poselens, drawn, tmp_path):
    fitted = tmp_path / "fitted"
    poselens("fuse", drawn.bundle, "--data", drawn.data, *XSUB, "--weights", "fitted",
             "--out", fitted)  # fmt: skip
    answer = poselens("evaluate", fitted, drawn.data, *XSUB, "--conformal", "0.2", "--no-cost")
    assert answer.code == 0
    notes = [line for line in answer.err.splitlines() if line.startswith("note: ")]
    assert any("the fusion was fitted on the clips" in note for note in notes)
    assert len(notes) == len(set(notes))


def test_two_runs_side_by_side(poselens, drawn, tmp_path):
    for run in ("rgb", "joint"):
        poselens("evaluate", getattr(drawn, run), drawn.data, *XSUB, "--scores",
                 tmp_path / f"{run}.npz")  # fmt: skip
    files = [tmp_path / "rgb.npz", tmp_path / "joint.npz"]
    facts = poselens("compare", *files, "--json").facts
    assert facts["figures"].keys() == FIGURES
    assert facts["streams"] == ["rgb", "joint"]
    ours, theirs = (
        scores.logits.argmax(axis=1) == scores.labels for scores in map(read_scores, files)
    )
    assert len(facts["only_first"]) == (ours & ~theirs).sum()
    answer = poselens("compare", drawn.rgb, drawn.joint, "--data", drawn.data, *XSUB)
    assert answer.code == 0
    assert "16 clips, intervals over 16 clips" in " ".join(answer.out.split())
    assert "McNemar's exact p of Top-1" in answer.err
    assert "1 subject is too few to draw" in answer.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["a", "b"], "EVAL-029"),
        (["a", "b", "c"], "EVAL-030"),
        (["a", "b", "--rows", "x"], "EVAL-030"),
    ],
)
def test_what_cannot_be_compared(poselens, tmp_path, words, code):
    (tmp_path / "a").mkdir()
    words = [tmp_path / word if len(word) == 1 and word != "x" else word for word in words]
    answer = poselens("compare", *words, "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, code)
