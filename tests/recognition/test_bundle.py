import json
import shutil

import pytest
import torch

from poselens.checkpoint import read_tensors, write_tensors
from poselens.errors import CheckpointError, EnvironmentFault, UsageError
from poselens.fusion.weights import fixed_weights
from poselens.recognition.bundle import fusion_of, load_bundle, write_bundle
from poselens.recognition.streams import load_run

CPU = torch.device("cpu")


@pytest.fixture
def bundle(drawn, tmp_path):
    return shutil.copytree(drawn.bundle, tmp_path / "bundle")


def change(bundle, **facts):
    file = bundle / "bundle.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def refused(folder, code, text):
    with pytest.raises(CheckpointError, match=text) as caught:
        load_bundle(folder, device=CPU)
    assert caught.value.code == code
    return caught.value


def test_a_bundle_leaves_out_where_its_runs_were_made(drawn):
    run = json.loads((drawn.rgb / "run.json").read_text())
    text = (drawn.bundle / "bundle.json").read_text()
    assert not any("environment" in stream for stream in json.loads(text)["streams"])
    assert run["environment"]["started"] not in text


def test_a_bundle_holds_everything_its_runs_did(drawn):
    bundle = load_bundle(drawn.bundle, device=CPU)
    for trained, run in zip(bundle.streams, (drawn.rgb, drawn.joint), strict=True):
        alone = load_run(run, device=CPU)
        assert trained.stream == alone.stream
        for name, tensor in alone.network.state_dict().items():
            assert torch.equal(tensor, trained.network.state_dict()[name])
    assert bundle.classes == tuple(
        json.loads((drawn.rgb / "run.json").read_text())["stream"]["classes"]
    )
    assert bundle.fusion.weights == {"rgb": 0.5, "joint": 0.5}
    assert bundle.selection == (
        "rgb: last of 1 epochs, trained on train; joint: last of 1 epochs, trained on train; "
        "fusion: paper weights"
    )


def test_a_bundle_needs_none_of_its_runs(bundle, tmp_path):
    moved = tmp_path / "elsewhere"
    bundle.rename(moved)
    assert len(load_bundle(moved, device=CPU).streams) == 2
    assert sorted(path.name for path in moved.iterdir()) == [
        "bundle.json",
        "joint.safetensors",
        "rgb.safetensors",
    ]


def test_a_run_is_a_bundle_of_one(drawn):
    bundle = load_bundle(drawn.joint, device=CPU)
    assert [trained.stream.name for trained in bundle.streams] == ["joint"]
    assert bundle.fusion.weights == {"joint": 1.0}
    assert bundle.selection == "joint: last of 1 epochs, trained on train"


def test_nothing_there(tmp_path):
    assert refused(tmp_path / "nowhere", "CKPT-001", "no such folder").mend
    refused(tmp_path, "CKPT-014", "not a run or bundle")


def test_damaged_weights_are_named(bundle):
    weights = bundle / "joint.safetensors"
    whole = bytearray(weights.read_bytes())
    whole[-1] ^= 1
    weights.write_bytes(whole)
    assert refused(bundle, "CKPT-003", "the checksum differs").file == str(weights)
    weights.write_bytes(whole[:-5])
    refused(bundle, "CKPT-003", "damaged, cut short")
    weights.unlink()
    refused(bundle, "CKPT-001", "file is missing")


def test_sound_weights_of_another_bundle_are_not_taken(bundle):
    weights = bundle / "joint.safetensors"
    tensors = {name: tensor + 1 for name, tensor in read_tensors(weights).items()}
    write_tensors(weights, tensors)
    fault = refused(bundle, "CKPT-003", r"checksum is not the one in bundle.json")
    assert fault.file == str(weights)


@pytest.mark.parametrize(
    ("facts", "code", "text"),
    [
        ({"format": 2}, "CKPT-010", "bundle format 2, this is 1"),
        ({"streams": []}, "CKPT-015", "no stream to fuse"),
        ({"streams": "rgb"}, "CKPT-015", "expected a list of streams"),
        ({"streams": [1]}, "CKPT-015", "expected a list of streams"),
        ({"fusion": {}}, "CKPT-005", "fusion weights cannot be read"),
        ({"fusion": None}, "CKPT-005", "fusion weights cannot be read"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(bundle, facts, code, text):
    change(bundle, **facts)
    refused(bundle, code, text)


def test_streams_and_weights_must_be_the_same(bundle):
    change(bundle, fusion=fixed_weights(["rgb", "bone"], "equal").as_dict())
    refused(bundle, "CKPT-015", "the streams are joint, rgb, the fusion's are bone, rgb")
    streams = json.loads((bundle / "bundle.json").read_text())["streams"]
    change(bundle, streams=[streams[0], streams[0]])
    refused(bundle, "CKPT-015", "stream 'rgb' is given 2 times")


def test_an_output_that_is_used_is_left_alone(drawn, bundle):
    before = (bundle / "bundle.json").read_bytes()
    streams = [load_run(drawn.joint, device=CPU)]
    with pytest.raises(UsageError, match="exists already") as caught:
        write_bundle(bundle, streams, fixed_weights(["joint"], "equal"))
    assert caught.value.code == "RUN-001"
    assert (bundle / "bundle.json").read_bytes() == before


def test_an_output_under_a_file_is_refused(drawn, tmp_path):
    (tmp_path / "file").touch()
    streams = [load_run(drawn.joint, device=CPU)]
    with pytest.raises(EnvironmentFault, match="cannot write") as caught:
        write_bundle(tmp_path / "file" / "out", streams, fixed_weights(["joint"], "equal"))
    assert caught.value.code == "ENV-003"


def test_weights_of_zero_count_alike_where_nothing_else_speaks(drawn):
    bundle = load_bundle(drawn.bundle, device=CPU)
    bundle = type(bundle)(
        bundle.streams, fixed_weights(["rgb", "joint"], {"rgb": 1, "joint": 0}), bundle.facts
    )
    assert fusion_of(bundle, ["rgb", "joint"])[0] == {"rgb": 1.0, "joint": 0.0}
    assert fusion_of(bundle, ["joint"])[0] == {"joint": 1.0}
