import hashlib

import pytest
import torch
from ctr_gcn_file import published_checkpoint
from rgb_files import (
    filled,
    mmaction_file,
    mmaction_tensors,
    resnet_shapes,
    tsm_file,
    tsm_tensors,
)

from poselens.checkpoint import read_tensors_and_facts, write_tensors
from poselens.pose.layouts import get_layout
from poselens.pose.weights import WEIGHTS
from poselens.rgb.build import build_rgb_network
from poselens.skeleton.build import build_skeleton_network
from poselens.training.initial import load_initial_skeleton_weights, load_initial_weights


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
        (["--backbone", "resnet50"], (2, "CFG-011"), "--as ctr-gcn has no use for --backbone"),
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


# --- import of the RGB branch ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def tsm_mobile(tmp_path_factory):
    file = tmp_path_factory.mktemp("tsm") / "TSM_kinetics_RGB_mobilenetv2_shift8.pth"
    torch.save(tsm_file(tsm_tensors("mobilenetv2", classes=20), "mobilenetv2"), file)
    return file


def rgb_words(file, out, classes, *more, backbone="mobilenetv2"):
    named = ["--backbone", backbone, "--classes", classes]
    return ["weights", "import", file, *named, "--out", out, *more]


@torch.no_grad()
@pytest.mark.parametrize("named", [["--as", "tsm"], []])
def test_tsms_file_becomes_weights_that_a_network_starts_from(
    poselens, tmp_path, tsm_mobile, named
):
    out = tmp_path / "ours.safetensors"
    facts = poselens(*rgb_words(tsm_mobile, out, 20, *named, "--json")).facts
    beside = "not among the weights"
    assert facts == {
        "network": "tsm",
        "backbone": "mobilenetv2",
        "classes": 20,
        "source": tsm_mobile.name,
        "source_sha256": hashlib.sha256(tsm_mobile.read_bytes()).hexdigest(),
        "taken": 314,
        "left_out": {
            "epoch": beside,
            "arch": beside,
            "optimizer": "state of an optimiser",
            "best_prec1": beside,
        },
        "kept": [],
        "shift_blocks": 10,
        "notes": [],
        "out": str(out),
    }
    tensors, written = read_tensors_and_facts(out)
    assert written == {name: value for name, value in facts.items() if name != "out"}
    imported, direct = (
        build_rgb_network(backbone="mobilenetv2", num_classes=20, aggregate=False).eval()
        for _ in range(2)
    )
    report = load_initial_weights(imported, str(out))
    assert (report["kind"], report["taken"], report["shift_blocks"]) == ("ours", 314, 10)
    load_initial_weights(direct, str(tsm_mobile))
    clip = torch.randn(1, 4, 3, 32, 32)
    assert torch.equal(imported(clip), direct(clip))
    assert len(tensors) == 314


def test_a_classifier_of_other_classes_is_told_and_not_written(poselens, tmp_path, tsm_mobile):
    out = tmp_path / "ours.safetensors"
    answer = poselens(*rgb_words(tsm_mobile, out, 7))
    assert answer.code == 0
    told = " ".join(answer.out.split())
    assert "312 tensors taken under the names of tsm, for mobilenetv2 and 7 classes" in told
    for word in ("module.new_fc.bias", "classifier", "best_prec1", "optimiser", "not in the file"):
        assert word in answer.out
    tensors, facts = read_tensors_and_facts(out)
    assert facts["kept"] == ["fc.bias", "fc.weight"]
    assert len(tensors) == 312
    assert all(name.startswith("backbone.features.") for name in tensors)


@pytest.mark.parametrize("named", [["--as", "mmaction"], ["--as", "auto"]])
def test_mmaction2s_file_without_a_shift_says_so(poselens, tmp_path, named):
    file, out = tmp_path / "tsn.pth", tmp_path / "ours.safetensors"
    torch.save(mmaction_file(mmaction_tensors("mobilenetv2", classes=7, shift=False)), file)
    answer = poselens(*rgb_words(file, out, 7, *named))
    assert answer.code == 0
    assert "trained without a temporal shift; this network shifts in 10 blocks" in answer.out
    assert read_tensors_and_facts(out)[1]["network"] == "mmaction"


@pytest.mark.parametrize("named", [["--as", "torchvision"], []])
def test_torchvisions_file_is_imported(poselens, tmp_path, named):
    file, out = tmp_path / "resnet18-f37072fd.pth", tmp_path / "ours.safetensors"
    torch.save(filled(resnet_shapes("resnet18", classes=1000)), file)
    facts = poselens(*rgb_words(file, out, 1000, *named, "--json", backbone="resnet18")).facts
    assert (facts["network"], facts["taken"], facts["kept"]) == ("torchvision", 122, [])
    assert facts["shift_blocks"] is None


def test_a_ctr_gcn_is_recognised_too(poselens, tmp_path, published_file):
    out = tmp_path / "ours.safetensors"
    named = ["--layout", "ntu-25", "--people", 2, "--classes", 60, "--out", out, "--json"]
    facts = poselens("weights", "import", published_file, *named).facts
    assert (facts["network"], facts["left_out"]) == ("ctr-gcn", [])


@pytest.mark.parametrize("named", [["--as", "tsm"], []])
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "--backbone is missing; --as tsm needs it"),
        (["--backbone", "resnet50", "--layout", "ntu-25"], "--as tsm has no use for --layout"),
        (["--backbone", "resnet50", "--people", 1], "--as tsm has no use for --people"),
        (["--backbone", "resnet101"], "resnet101"),
    ],
)
def test_options_are_asked_for_where_they_apply(poselens, tmp_path, tsm_mobile, named, more, told):
    out = tmp_path / "ours.safetensors"
    fixed = ["weights", "import", tsm_mobile, "--classes", 7, "--out", out, "--json"]
    answer = poselens(*fixed, *named, *more)
    assert (answer.code, answer.facts["error"]["code"]) == (2, "CFG-011")
    assert told in answer.err
    assert not out.exists()


def test_ctr_gcn_needs_a_layout(poselens, tmp_path, published_file):
    fixed = [
        "weights",
        "import",
        published_file,
        "--classes",
        60,
        "--out",
        tmp_path / "o.safetensors",
    ]
    for named in (["--as", "ctr-gcn"], []):
        answer = poselens(*fixed, *named)
        assert answer.code == 2
        assert "--layout is missing; --as ctr-gcn needs it" in answer.err


def test_weights_of_another_backbone_or_of_nothing_known_are_refused(
    poselens, tmp_path, tsm_mobile
):
    out = tmp_path / "ours.safetensors"
    answer = poselens(*rgb_words(tsm_mobile, out, 7, backbone="resnet18"))
    assert answer.code == 4
    assert "error[CKPT-004]" in answer.err
    assert "use them in a network with the backbone mobilenetv2" in answer.err
    torch.save({"encoder.weight": torch.ones(1)}, tmp_path / "other.pth")
    answer = poselens(*rgb_words(tmp_path / "other.pth", out, 7))
    assert answer.code == 4
    assert "the names are of no network known here: encoder.weight. Mend: give --as" in answer.err
    assert not out.exists()


def test_weights_of_ours_need_no_import(poselens, tmp_path):
    network = build_rgb_network(backbone="resnet18", num_classes=7, width=0.125)
    write_tensors(tmp_path / "weights.safetensors", network.state_dict())
    out = tmp_path / "ours.safetensors"
    answer = poselens(*rgb_words(tmp_path / "weights.safetensors", out, 7, "--json"))
    assert (answer.code, answer.facts["error"]["code"]) == (4, "CKPT-004")
    assert "which need no import: backbone." in answer.err
    assert "Mend: start from the file itself" in answer.err


class Hostile:
    def __reduce__(self):
        return (open, ("hostile-was-here", "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_published_file_is_not_run(poselens, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = tsm_file(tsm_tensors("resnet18", planes=8), "resnet18")
    torch.save({**content, "best_prec1": Hostile()}, tmp_path / "w.pth")
    answer = poselens(*rgb_words("w.pth", "ours.safetensors", 7, backbone="resnet18"))
    assert answer.code == 4
    assert "error[CKPT-013]: w.pth: not a torch file of plain tensors; it was not run" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pth"]
