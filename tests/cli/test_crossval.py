import pytest
from drawn import SMALL_SKELETON

from poselens.fusion.scores import read_scores

SETS = [word for setting in SMALL_SKELETON for word in ("--set", setting)]


@pytest.fixture
def words(drawn, tmp_path):
    return [
        "crossval", drawn.data, "--recipe", "tiny", "--streams", "joint", "--leave-out", "subject",
        "--out", tmp_path / "cv", "--device", "cpu", *SETS,
    ]  # fmt: skip


def test_folds_are_trained_pooled_and_told(poselens, words, tmp_path, drawn):
    answer = poselens(*words, "--val", 0)
    assert answer.code == 0
    assert "2 folds, intervals over 2 groups (subject)" in " ".join(answer.out.split())
    assert "16 clips left alone: the test part of 'cross-subject'" in answer.err
    assert "fold 1 of 2, joint: without subject" in answer.err
    assert len(read_scores(tmp_path / "cv" / "oof_joint.npz").ids) == 32
    # it goes on where it was
    facts = poselens(*words, "--val", 0, "--json").facts
    assert (facts["complete"], facts["streams"]["joint"]["n"]) == (True, 32)
    files = [tmp_path / "cv" / f"fold-{n}" / "joint" / "scores_test.npz" for n in (1, 2)]
    pooled = poselens("pool", *files, "--data", drawn.data, "--cluster", "subject", "--json").facts
    assert pooled["streams"]["joint"]["interval"] == facts["streams"]["joint"]["interval"]
    shown = poselens("pool", *files, "--out", tmp_path / "p.npz")
    assert "intervals over clips" in " ".join(shown.out.split())
    assert (tmp_path / "p.npz").is_file()
    twice = poselens("pool", files[0], files[0], "--json")
    assert (twice.code, twice.facts["error"]["code"]) == (2, "EVAL-045")


def test_what_cannot_be_asked(poselens, words, drawn):
    for more, code in (
        (["--folds-of", "five"], "CFG-113"),
        (["--protocol", "nothing"], "CFG-004"),
        (["--folds", "9"], "DATA-014"),
    ):
        answer = poselens(*words, *more, "--json")
        assert (answer.code, answer.facts["error"]["code"]) == (2, code)
