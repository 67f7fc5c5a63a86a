import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from ctr_gcn_file import published_checkpoint
from rgb_files import mmaction_file, mmaction_tensors, tsm_file, tsm_tensors

from poselens.checkpoint import write_tensors
from poselens.errors import CheckpointError
from poselens.pose.layouts import get_layout
from poselens.rgb.build import build_rgb_network
from poselens.skeleton.build import build_skeleton_network
from poselens.training import initial
from poselens.training.initial import (
    load_initial_skeleton_weights,
    load_initial_weights,
    read_state,
    read_stored,
)

# torch wonders about foreign pickles before it refuses them
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


def network(classes=3):
    return build_rgb_network(backbone="resnet18", num_classes=classes, width=0.125)


def published(classes=3):
    """The backbone's weights under torchvision's names."""
    torch.manual_seed(5)
    return {
        name.removeprefix("backbone."): torch.rand_like(value, dtype=torch.float32)
        for name, value in network(classes).state_dict().items()
        if ".staa." not in name
    }


def save(path, tensors):
    if path.suffix == ".safetensors":
        write_tensors(path, tensors)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_weights_from_a_file(tmp_path, name):
    tensors = published()
    path = save(tmp_path / name, tensors)
    model = network()
    report = load_initial_weights(model, str(path))
    assert report == {
        "source": str(path),
        "kind": "torchvision",
        "taken": len(tensors),
        "left_out": {},
        "kept": [f"backbone.layer{stage}.1.staa.*" for stage in (1, 2, 3, 4)],
        "shift_blocks": None,
        "notes": [],
    }
    assert torch.equal(model.state_dict()["backbone.conv1.weight"], tensors["conv1.weight"])
    assert torch.equal(model.state_dict()["fc.bias"], tensors["fc.bias"])


def test_a_classifier_of_other_classes_is_left_out(tmp_path):
    path = save(tmp_path / "w.pth", {"state_dict": published(7), "epoch": 3})
    report = load_initial_weights(network(3), str(path))
    assert sorted(report["left_out"]) == ["epoch", "fc.bias", "fc.weight"]
    assert report["left_out"]["epoch"] == "not among the weights"
    assert report["left_out"]["fc.bias"] == "a classifier of other size: (7,), not (3,)"
    assert report["kept"][-2:] == ["fc.bias", "fc.weight"]


def resnet50(classes=3, **options):
    return build_rgb_network(
        backbone="resnet50", num_classes=classes, width=0.125, staa_blocks="once", **options
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_tsms_checkpoint_starts_a_run(tmp_path, monkeypatch, zipped):
    """As its main.py saves it, from a GPU, in the format of its day and in today's."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    tensors = tsm_tensors("resnet50", planes=8)
    path = tmp_path / "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth"
    torch.save(tsm_file(tensors, "resnet50"), path, _use_new_zipfile_serialization=zipped)
    monkeypatch.undo()
    model = resnet50()
    assert load_initial_weights(model, str(path)) == {
        "source": str(path),
        "kind": "tsm",
        "taken": 318,
        "left_out": {
            "module.new_fc.weight": "a classifier of other size: (400, 256), not (3, 256)",
            "module.new_fc.bias": "a classifier of other size: (400,), not (3,)",
            "epoch": "not among the weights",
            "arch": "not among the weights",
            "optimizer": "state of an optimiser",
            "best_prec1": "not among the weights",
        },
        "kept": ["backbone.layer3.5.staa.*", "fc.bias", "fc.weight"],
        "shift_blocks": 16,
        "notes": [],
    }
    stored = tensors["module.base_model.layer1.0.conv1.net.weight"]
    assert torch.equal(model.backbone.layer1[0].conv1.weight, stored)


def test_mmaction2s_checkpoint_starts_a_run(tmp_path):
    path = tmp_path / "tsm_r50.pth"
    torch.save(mmaction_file(mmaction_tensors("resnet50", planes=8, shift=False)), path)
    report = load_initial_weights(resnet50(), str(path))
    assert (report["kind"], report["taken"], report["shift_blocks"]) == ("mmaction", 318, 0)
    assert list(report["left_out"]) == ["cls_head.fc_cls.weight", "cls_head.fc_cls.bias", "meta"]
    assert report["notes"] == ["trained without a temporal shift; this network shifts in 16 blocks"]


@pytest.mark.parametrize("name", ["weights.safetensors", "w.pth"])
@pytest.mark.parametrize("classes", [3, 7])
def test_a_run_starts_another_with_its_staa(tmp_path, name, classes):
    torch.manual_seed(1)
    trained = resnet50(classes)
    trained.backbone.layer3[5].staa.aggregation.scale.data.uniform_()
    path = save(tmp_path / name, trained.state_dict())
    model = resnet50()
    report = load_initial_weights(model, str(path))
    last = [] if classes == 3 else ["fc.bias", "fc.weight"]
    assert (report["kind"], sorted(report["left_out"])) == ("ours", last)
    assert report["taken"] == len(trained.state_dict()) - len(last)
    for key, values in trained.state_dict().items():
        if key not in last:
            assert torch.equal(model.state_dict()[key], values), key


def test_an_imported_file_still_says_that_it_was_trained_without_a_shift(tmp_path):
    plain = resnet50(attend=False, aggregate=False)
    path = tmp_path / "imported.safetensors"
    write_tensors(path, plain.state_dict(), facts={"shift_blocks": 0})
    (note,) = load_initial_weights(resnet50(), str(path))["notes"]
    assert note == "trained without a temporal shift; this network shifts in 16 blocks"
    write_tensors(path, plain.state_dict(), facts={"shift_blocks": "many"})
    assert load_initial_weights(resnet50(), str(path))["notes"] == []


def test_what_is_no_tensor_is_left_out_and_named(tmp_path):
    odd = {"step": 3, "sparse": torch.eye(2).to_sparse(), "meta": torch.empty(2, device="meta")}
    path = save(tmp_path / "w.pth", {**published(), **odd})
    report = load_initial_weights(network(), str(path))
    assert report["left_out"] == dict.fromkeys(odd, "not a tensor of numbers in memory")


def test_names_are_looked_up(tmp_path, monkeypatch):
    path = save(tmp_path / "w.pth", published())
    monkeypatch.setattr(initial, "locate", lambda name: {"resnet18-imagenet": path}[name])
    assert load_initial_weights(network(), "resnet18-imagenet")["source"] == "resnet18-imagenet"


def test_weights_of_another_network_are_refused_with_their_file(tmp_path):
    tensors = published()
    tensors["conv9.weight"] = torch.ones(1)
    path = save(tmp_path / "w.pth", tensors)
    with pytest.raises(CheckpointError, match=r"w.pth: .*unexpected conv9.weight") as caught:
        load_initial_weights(network(), str(path))
    assert caught.value.code == "CKPT-004"


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors"])
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match=f"{name}: file is missing") as caught:
        read_state(tmp_path / name)
    assert caught.value.code == "CKPT-001"


class Hostile:
    def __reduce__(self):
        return (open, ("hostile-was-here", "w"))


def refused(path, told="not a torch file of plain tensors; it was not run"):
    with pytest.raises(CheckpointError, match=told) as caught:
        read_state(path)
    assert caught.value.code == "CKPT-013"


@pytest.mark.parametrize("place", ["optimizer", "best_prec1", "arch"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_beside_the_weights_of_a_published_file_is_not_run(
    tmp_path, monkeypatch, zipped, place
):
    monkeypatch.chdir(tmp_path)
    content = tsm_file(tsm_tensors("resnet18", planes=8), "resnet18")
    torch.save({**content, place: Hostile()}, "w.pth", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "w.pth")
    assert not (tmp_path / "hostile-was-here").exists()


@pytest.mark.parametrize("number", [np.float64(71.16), np.float32(71.16), np.int64(71)])
def test_numbers_of_numpy_beside_the_weights_are_fine(tmp_path, number):
    tensors = {"w": torch.ones(1)}
    torch.save({"state_dict": tensors, "best_prec1": number}, tmp_path / "w.pth")
    stored = read_stored(tmp_path / "w.pth")
    assert stored.beside == {"best_prec1": "not among the weights"}
    # numpy 1 wrote the same number under an older name of the function that makes it
    core, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    torch.save(
        {"state_dict": tensors, "best_prec1": number},
        tmp_path / "new.pth",
        _use_new_zipfile_serialization=False,
    )
    content = (tmp_path / "new.pth").read_bytes()
    assert core in content or old in content
    (tmp_path / "old.pth").write_bytes(content.replace(core, old))
    assert read_stored(tmp_path / "old.pth").beside == stored.beside


def test_other_things_of_numpy_are_refused(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(1)}, "x": np.ones(3)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch, name):
    path = save(tmp_path / name, {"w": torch.ones(1000)})
    monkeypatch.setattr(initial, "LARGEST", 4000)
    refused(path, "bytes, expected at most 4,000; it was not read. Mend: save the tensors")


def test_nor_one_that_unpacks_to_much(tmp_path, monkeypatch):
    whole = save(tmp_path / "whole.pth", {"w": torch.zeros(100_000)})
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in source.namelist():
            out.writestr(entry, source.read(entry))
    monkeypatch.setattr(initial, "LARGEST", 100_000)
    assert path.stat().st_size < initial.LARGEST
    refused(path, r"4\d\d,\d\d\d bytes, expected at most 100,000")


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(1), "x": Hostile()}, "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Hostile()))
    for name in ("w.pth", "plain.pth"):
        refused(tmp_path / name)
    assert not (tmp_path / "hostile-was-here").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html>", b"\x80\x02}", b"\x80\x05K", b"PK\x03\x04" + b"0" * 64],
)
def test_what_is_no_torch_file_is_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_anywhere_is_refused_or_harmless(tmp_path, zipped):
    whole = tmp_path / "whole.pth"
    torch.save({"w": torch.ones(4)}, whole, _use_new_zipfile_serialization=zipped)
    content = whole.read_bytes()
    draw = random.Random(0)
    path = tmp_path / "w.pth"
    for _ in range(150):
        spoiled = bytearray(content)
        if draw.random() < 0.5:
            del spoiled[draw.randrange(len(spoiled)) :]
        else:
            for _ in range(draw.randrange(1, 6)):
                spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
        path.write_bytes(spoiled)
        try:
            read = read_state(path)
        except CheckpointError:
            continue
        assert all(isinstance(value, torch.Tensor) for value in read.values())


@pytest.mark.parametrize(
    "content", [torch.ones(2), [torch.ones(2)], {"a": 3}, {3: torch.ones(1)}, {"state_dict": None}]
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "expected a table of tensors")


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "w.pth")


# --- skeleton -------------------------------------------------------------------------------------


def graph_network(classes=4, people=1, seed=0):
    torch.manual_seed(seed)
    return build_skeleton_network(
        layout=get_layout("ucla-20"), num_classes=classes, people=people, blocks=(1, 1)
    )


def published_graph(classes=4):
    return published_checkpoint(joints=20, people=1, classes=classes, channels=((3, 64), (64, 128)))


def test_a_skeleton_run_starts_another(tmp_path):
    trained, model = graph_network(seed=1), graph_network()
    path = save(tmp_path / "weights.safetensors", trained.state_dict())
    report = load_initial_skeleton_weights(model, str(path))
    assert report == {"source": str(path), "taken": len(trained.state_dict()), "left_out": []}
    for name, values in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], values), name


@pytest.mark.parametrize("classes", [7, None])
def test_a_skeleton_classifier_of_other_classes_or_none_is_left_out(tmp_path, classes):
    tensors = graph_network(classes or 7, seed=1).state_dict()
    if classes is None:
        del tensors["classify.weight"], tensors["classify.bias"]
    model = graph_network()
    own = model.classify.weight.clone()
    path = save(tmp_path / "weights.safetensors", tensors)
    report = load_initial_skeleton_weights(model, str(path))
    assert report["left_out"] == ["classify.weight", "classify.bias"]
    assert report["taken"] == len(model.state_dict()) - 2
    assert torch.equal(model.classify.weight, own)
    assert torch.equal(model.blocks[1].space.topology, tensors["blocks.1.space.topology"])


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("classes", [4, 9])
def test_a_published_checkpoint_starts_a_run(tmp_path, wrapped, classes):
    tensors = {f"module.{name}": values for name, values in published_graph(classes).items()}
    path = save(tmp_path / "runs-65.pt", {"state_dict": tensors} if wrapped else tensors)
    model = graph_network()
    report = load_initial_skeleton_weights(model, str(path))
    left_out = [] if classes == 4 else ["fc.weight", "fc.bias"]
    taken = len(tensors) - len(left_out)
    assert report == {"source": str(path), "taken": taken, "left_out": left_out}
    assert torch.equal(model.blocks[1].space.topology, tensors["module.l2.gcn1.PA"])


def test_weights_of_another_branch_or_body_are_refused(tmp_path):
    path = save(tmp_path / "w.pth", published())
    with pytest.raises(
        CheckpointError, match=r"w.pth: .*missing: blocks.0.*unexpected: bn1"
    ) as rgb:
        load_initial_skeleton_weights(graph_network(), str(path))
    assert rgb.value.code == "CKPT-004"
    path = save(tmp_path / "one.pt", published_graph())
    with pytest.raises(CheckpointError, match=r"one.pt: .*people: 1.* expected .*people: 2") as two:
        load_initial_skeleton_weights(graph_network(people=2), str(path))
    assert two.value.code == "CKPT-016"
