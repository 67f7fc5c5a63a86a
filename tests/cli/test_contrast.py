import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from poselens.contrast.record import write_contrasted
from poselens.contrast.tally import Contrasted


@pytest.fixture
def contrasted(drawn, tmp_path):
    """A finished run with a record of contrast: class 0 and class 1 look alike."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_bytes((drawn.joint / "run.json").read_bytes())
    size = len(json.loads((run / "run.json").read_text())["stream"]["classes"])
    similarity, taken = np.full((size, size), 0.1), np.full((size, size), 5)
    similarity[0, 1] = similarity[1, 0] = 0.8
    taken[0, 1] = taken[1, 0] = 70
    np.fill_diagonal(taken, 0)
    similarity[2, :] = np.nan
    taken[2, :] = 0
    for epoch in (1, 2):
        entry = Contrasted({"class-aware": taken}, similarity, taken)
        write_contrasted(run, epoch, entry)
    return run


def test_a_picture_and_a_table(poselens, contrasted, tmp_path):
    out = tmp_path / "new" / "picture.svg"
    answer = poselens("contrast", contrasted, "--out", out)
    assert answer.code == 0
    assert "class-aware negatives in epoch 2" in " ".join(answer.out.split())
    assert "50.0 (0.80)" in answer.out
    assert str(out) in answer.err
    root = ElementTree.parse(out).getroot()
    assert root.tag.endswith("svg")
    assert "var(" not in out.read_text()


def test_the_same_for_programs(poselens, contrasted, tmp_path):
    out = tmp_path / "picture.svg"
    facts = poselens("contrast", contrasted, "--out", out, "--json").facts
    assert (facts["figure"], facts["stream"]) == (str(out), "joint")
    assert (facts["epoch"], facts["sampler"]) == (2, "class-aware")
    names = list(facts["rivals"])
    first = facts["rivals"][names[0]][0]
    assert first["name"] == names[1]
    assert first["share"] == pytest.approx(70 / (70 + 5 * (len(names) - 2)))
    assert first["similarity"] == pytest.approx(0.8)
    assert facts["rivals"][names[2]] == []


def test_runs_that_have_no_contrast(poselens, drawn, tmp_path):
    out = ["--out", tmp_path / "picture.svg", "--json"]
    for place, code, error in (
        (drawn.joint, 2, "RUN-010"),
        (drawn.bundle, 2, "RUN-010"),
        (drawn.data, 4, "CKPT-014"),
    ):
        answer = poselens("contrast", place, *out)
        assert (answer.code, answer.facts["error"]["code"]) == (code, error)
    assert "train a skeleton stream with --set 'contrast={}'" in poselens(
        "contrast", drawn.joint, *out
    ).err  # fmt: skip
    assert not (tmp_path / "picture.svg").exists()


def test_another_kind_of_picture_is_refused(poselens, contrasted, tmp_path):
    answer = poselens("contrast", contrasted, "--out", tmp_path / "picture.png", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "CFG-011")
    assert "ending in .svg, found 'picture.png'" in answer.err


def test_an_output_that_cannot_be_written(poselens, contrasted, tmp_path):
    (tmp_path / "file").touch()
    answer = poselens("contrast", contrasted, "--out", tmp_path / "file" / "p.svg", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (5, "ENV-003")


def test_a_report_of_a_run_shows_its_contrast_and_its_curves(poselens, drawn, tmp_path):
    run = tmp_path / "joint"
    run.mkdir()
    for name in ("run.json", "weights.safetensors", "log.jsonl"):
        (run / name).write_bytes((drawn.joint / name).read_bytes())
    words = [drawn.data, "--protocol", "cross-subject", "--out", tmp_path / "report.html"]
    assert poselens("report", run, *words).code == 0
    page = (tmp_path / "report.html").read_text()
    assert "Training</h2>" in page
    assert "What each class was contrasted with" not in page
    size = len(json.loads((run / "run.json").read_text())["stream"]["classes"])
    table = np.full((size, size), 3)
    write_contrasted(run, 1, Contrasted({"random": table}, table / 4, table))
    assert poselens("report", run, *words).code == 0
    assert "What each class was contrasted with" in (tmp_path / "report.html").read_text()
    (run / "contrast" / "0001.npz").write_bytes(b"")
    answer = poselens("report", run, *words, "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (4, "CKPT-017")
