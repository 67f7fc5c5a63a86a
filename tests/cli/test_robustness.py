import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from poselens.data.folder import open_folder

WORDS = ("--protocol", "cross-subject", "--workers", "0", "--device", "cpu")
FEW = ("--kinds", "joint-dropout,frame-rate", "--levels", "joint-dropout=0.2,0.5")


def test_a_card_is_written_with_its_numbers_and_picture(poselens, drawn, tmp_path):
    out = tmp_path / "new" / "card.html"
    words = (drawn.joint, drawn.data, *WORDS, "--out", out, *FEW, "--levels", "frame-rate=4")
    done = poselens("robustness", *words)
    assert done.code == 0
    assert "synth-easy, cross-subject, test: 16 clips" in done.out
    assert "Undisturbed, joint is right in" in done.err
    assert "64 clips to score, 0 scored before" in done.err
    facts = json.loads(out.with_suffix(".json").read_text())
    assert list(facts["kinds"]) == ["joint-dropout", "frame-rate"]
    assert facts["facts"]["poselens"]
    assert shlex.split(facts["command"])[:3] == ["poselens", "robustness", str(drawn.joint)]
    assert "--levels frame-rate=4" in facts["command"]
    assert out.with_suffix(".svg").read_text().startswith("<svg")
    assert "<svg" in out.read_text()
    again = poselens("robustness", *words, "--json")
    assert "0 clips to score, 64 scored before" in again.err
    assert again.facts["kinds"] == facts["kinds"]
    assert again.facts["card"] == str(out)
    fresh = poselens("robustness", *words, "--fresh", "--json")
    assert "64 clips to score, 0 scored before" in fresh.err
    assert fresh.facts["kinds"] == facts["kinds"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--kinds", "fog"), 2, "error[EVAL-060]: unknown disturbance 'fog'"),
        (("--kinds", "frame-rate", "--levels", "1.5"), 2, "error[EVAL-061]"),
        (("--kinds", "darkness"), 2, "error[EVAL-062]"),
        (("--limit", "3"), 2, "error[EVAL-064]"),
        (("--part", "tset"), 2, "error[CFG-009]"),
        (("--seed", "-1"), 2, "error[CFG-011]"),
    ],
)
def test_what_cannot_be_done_is_said(poselens, drawn, tmp_path, words, code, text):
    out = tmp_path / "card.html"
    done = poselens("robustness", drawn.joint, drawn.data, *WORDS, "--out", out, *words)
    assert done.code == code
    assert text in done.err
    assert not out.exists()


def test_another_seed_needs_another_card(poselens, drawn, tmp_path):
    words = (drawn.joint, drawn.data, *WORDS, "--out", tmp_path / "card.html", *FEW)
    assert poselens("robustness", *words).code == 0
    done = poselens("robustness", *words, "--seed", "1")
    assert done.code == 2
    assert "error[EVAL-063]" in done.err
    assert "another seed: 0, now 1" in done.err


def test_a_clip_that_cannot_be_read_sets_the_exit_code(poselens, drawn, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    folder = open_folder(data)
    clip = folder.ids[folder.indices("cross-subject", "test")[3]]
    (data / "videos" / f"{clip}.mp4").write_bytes(b"")
    words = (drawn.bundle, data, *WORDS, "--out", tmp_path / "card.html")
    done = poselens("robustness", *words, "--kinds", "darkness", "--levels", "2")
    assert done.code == 1
    assert "even undisturbed" in done.err


def test_a_card_that_was_killed_goes_on(poselens, drawn, tmp_path):
    out = tmp_path / "card.html"
    words = [drawn.bundle, drawn.data, *WORDS, "--out", out, "--kinds", "picture-noise"]
    command = [sys.executable, "-m", "poselens", "robustness", *map(str, words)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ})
    cells = tmp_path / "card.cells"
    while len(list(cells.rglob("*.npz"))) < 3:
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not out.exists()
    done = poselens("robustness", *words, "--json")
    before = int(done.err.split(" scored before")[0].rsplit(" ", 1)[1])
    assert 48 <= before < 16 * (2 + 4)
    whole = tmp_path / "whole.html"
    expected = poselens("robustness", *words, "--out", whole, "--json")
    assert done.facts["kinds"] == expected.facts["kinds"]
