"""What the commands say of a data set whose test part shares people with train."""

import shutil

import pytest

from poselens.data.folder import open_folder

QUICK = [
    word
    for setting in (
        "training.epochs=1", "training.workers=0", "network.width=8", "network.blocks=[1, 1]",
        "input.window=16",
    )
    for word in ("--set", setting)
]  # fmt: skip


@pytest.fixture
def leaky(drawn, tmp_path):
    """A copy of the drawn data set with another protocol by clip."""
    root = tmp_path / "leaky"
    shutil.copytree(drawn.data, root, ignore=shutil.ignore_patterns(".cache"))
    return root


def test_a_leak_is_refused_allowed_and_told(poselens, leaky, tmp_path):
    assert poselens("data", "split", leaky, "--name", "clips", "--by", "id").code == 0
    run = tmp_path / "run"
    words = ("--recipe", "tiny", "--protocol", "clips", *QUICK)
    refused = poselens("train", "skeleton", leaky, *words, "--out", run, "--json")
    assert refused.code == 3
    assert refused.facts["error"]["code"] == "DATA-060"
    message = refused.facts["error"]["message"]
    assert message.startswith("3 subjects (s1, s6, s7) are in both train and test; 3 subjects")
    sweep = ("--sweep", "training.seed=0,1", "--out", tmp_path / "sweep")
    assert poselens("train", "skeleton", leaky, *words, *sweep).code == 3
    assert not (tmp_path / "sweep").exists()
    allowed = poselens(
        "train", "skeleton", leaky, *words, "--out", run, "--allow-leakage", "--json"
    )
    assert allowed.code == 0
    assert [leak["kind"] for leak in allowed.facts["data"]["leakage"]] == ["subject"] * 3
    judged = poselens("evaluate", run, leaky, "--protocol", "clips", "--json")
    assert len(judged.facts["leakage"]) == 2
    told = judged.facts["leakage"][0]["told"]
    assert told in judged.facts["notes"]
    shown = poselens("evaluate", run, leaky, "--protocol", "clips")
    assert "train and test share" in shown.out
    # the table says it already
    assert told not in shown.err
    page = tmp_path / "page.html"
    assert poselens("report", run, leaky, "--protocol", "clips", "--out", page).code == 0
    assert told in page.read_text()


def test_run_takes_the_flag(poselens, leaky, tmp_path):
    poselens("data", "split", leaky, "--name", "clips", "--by", "id")
    words = ("--protocol", "clips", "--streams", "joint", *QUICK, "--out", tmp_path / "all")
    assert poselens("run", leaky, *words).code == 3
    answer = poselens("run", leaky, *words, "--allow-leakage", "--json")
    assert answer.code == 0
    assert answer.facts["leakage"][0]["severe"] is True
    assert "--allow-leakage" in (tmp_path / "all" / "report.html").read_text()


def test_the_drawn_data_set_leaks_nothing(drawn):
    from poselens.data.audit import audit

    folder = open_folder(drawn.data)
    assert [audit(folder, name).leaks for name in folder.info.protocols] == [[]]
