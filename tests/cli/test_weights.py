import hashlib

import pytest
import torch
from ctr_gcn_file import published_checkpoint

from poselens.checkpoint import read_tensors_and_facts
from poselens.pose.layouts import get_layout
from poselens.pose.weights import WEIGHTS
from poselens.skeleton.build import build_skeleton_network
from poselens.training.initial import load_initial_skeleton_weights


def test_every_name_is_listed(poselens):
    listed = poselens("weights", "list", "--json").facts["weights"]
    assert [row["name"] for row in listed] == list(WEIGHTS)
    for row in listed:
        assert {"file", "sha256", "licence", "sources", "cached"} <= row.keys()
        assert row["cached"] is None
    table = poselens("weights", "list")
    assert table.code == 0
    assert all(name.split("-")[0] in table.out for name in WEIGHTS)


def test_a_file_given_comes_into_the_cache(poselens, tmp_path, monkeypatch, empty_cache):
    file = tmp_path / "mine.tflite"
    file.write_bytes(b"weights")
    known = WEIGHTS["movenet-lightning"]
    digest = hashlib.sha256(b"weights").hexdigest()
    fake = type(known)(known.name, known.file, digest, known.sources, known.licence)
    monkeypatch.setitem(WEIGHTS, "movenet-lightning", fake)
    facts = poselens("weights", "fetch", "movenet-lightning", "--file", file, "--json").facts
    assert facts["path"] == str(empty_cache / known.file)
    assert facts["sha256"] == digest
    (listed, *_) = poselens("weights", "list", "--json").facts["weights"]
    assert listed["cached"] == facts["path"]


def test_what_cannot_be_fetched(poselens, tmp_path):
    answer = poselens("weights", "fetch", "movenet-lightening", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "WGT-001")
    assert "did you mean 'movenet-lightning'" in answer.err
    (tmp_path / "page.tflite").write_text("<html>404</html>")
    answer = poselens("weights", "fetch", "movenet-lightning", "--file", tmp_path / "page.tflite")
    assert answer.code == 4
    assert "looks like HTML" in answer.err


# --- import ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("published") / "ntu.pt"
    tensors = published_checkpoint(joints=25, people=2, classes=60)
    torch.save({f"module.{name}": values for name, values in tensors.items()}, file)
    return file


def words(file, out, *more):
    named = ["--as", "ctr-gcn", "--layout", "ntu-25", "--people", 2]
    return ["weights", "import", file, *named, "--out", out, *more]


def test_a_published_checkpoint_becomes_weights_that_a_network_starts_from(
    poselens, tmp_path, published_file
):
    out = tmp_path / "ours.safetensors"
    facts = poselens(*words(published_file, out, "--classes", 60, "--json")).facts
    given = torch.load(published_file, weights_only=True)
    assert facts == {
        "network": "ctr-gcn",
        "layout": "ntu-25",
        "people": 2,
        "classes": 60,
        "source": "ntu.pt",
        "source_sha256": hashlib.sha256(published_file.read_bytes()).hexdigest(),
        "taken": len(given),
        "left_out": [],
        "out": str(out),
    }
    _, written = read_tensors_and_facts(out)
    assert written == {name: value for name, value in facts.items() if name != "out"}
    layout = get_layout("ntu-25")
    imported, direct = (
        build_skeleton_network(layout=layout, people=2, num_classes=60).eval() for _ in range(2)
    )
    assert load_initial_skeleton_weights(imported, str(out))["left_out"] == []
    load_initial_skeleton_weights(direct, str(published_file))
    joints = torch.randn(1, 3, 8, 25, 2)
    with torch.no_grad():
        assert torch.equal(imported(joints), direct(joints))


def test_a_classifier_of_other_classes_is_not_written(poselens, tmp_path, published_file):
    files = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for file in files:
        answer = poselens(*words(published_file, file, "--classes", 27))
        assert answer.code == 0
        assert "tensors taken, left out: fc.weight, fc.bias" in answer.out
    first, second = (file.read_bytes() for file in files)
    assert first == second
    tensors, facts = read_tensors_and_facts(files[0])
    assert facts["left_out"] == ["fc.weight", "fc.bias"]
    assert not any(name.startswith("classify") for name in tensors)


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (["--layout", "ucla-20"], (4, "CKPT-016"), "found 25 joints, people: 2"),
        (["--people", 1], (4, "CKPT-016"), "expected 25 joints, people: 1"),
        (["--layout", "ntu25"], (2, "CFG-003"), "did you mean 'ntu-25'"),
        (["--as", "st-gcn"], (2, "CFG-011"), "ctr-gcn"),
        (["--out", "ours.pt"], (2, "CFG-011"), "found 'ours.pt', expected a name that ends in"),
        (["--classes", 0], (2, "CFG-011"), "--classes"),
    ],
)
def test_what_cannot_be_imported(
    poselens, tmp_path, monkeypatch, published_file, change, code, told
):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "ours.safetensors"
    answer = poselens(*words(published_file, out, "--classes", 60, "--json", *change))
    assert (answer.code, answer.facts["error"]["code"]) == code
    assert told in answer.err
    assert list(tmp_path.glob("ours*")) == []


def test_a_checkpoint_of_something_else_is_refused(poselens, tmp_path):
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "resnet.pt")
    out = tmp_path / "ours.safetensors"
    answer = poselens(*words(tmp_path / "resnet.pt", out, "--classes", 60))
    assert answer.code == 4
    assert "1 unexpected: conv1.weight" in answer.err
    answer = poselens(*words(tmp_path / "none.pt", out, "--classes", 60))
    assert answer.code == 4
    assert "none.pt: file is missing" in answer.err
