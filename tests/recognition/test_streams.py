import json
import shutil

import pytest
import torch

from poselens.errors import CheckpointError
from poselens.recognition.streams import RUN_FORMAT, load_run
from poselens.training import result as training

CPU = torch.device("cpu")


def test_the_format_read_is_the_one_that_training_writes():
    assert training.RUN_FORMAT == RUN_FORMAT


def test_a_run_comes_back_ready_to_score(drawn):
    trained = load_run(drawn.rgb, device=CPU)
    assert trained.stream.name == "rgb"
    assert not any(module.training for module in trained.network.modules())
    assert trained.facts["data"]["train"] == 16
    assert load_run(drawn.joint, device=CPU).stream.name == "joint"


@pytest.fixture
def run(drawn, tmp_path):
    return shutil.copytree(drawn.joint, tmp_path / "run")


def refused(folder, code, text):
    with pytest.raises(CheckpointError, match=text) as caught:
        load_run(folder, device=CPU)
    assert caught.value.code == code
    assert str(folder) in caught.value.file
    return caught.value


def test_a_missing_folder_is_told_from_one_that_is_no_run(tmp_path):
    refused(tmp_path / "nowhere", "CKPT-001", "no such folder")
    assert "train or fuse" in refused(tmp_path, "CKPT-014", "run.json is missing").mend


def test_half_a_run_is_to_be_finished(run):
    (run / "run.json").unlink()
    assert "--resume" in refused(run, "CKPT-014", "the run is not finished").mend


def test_weights_may_be_missing_cut_short_or_of_another_network(run, drawn):
    weights = run / "weights.safetensors"
    whole = weights.read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:length])
        refused(run, "CKPT-003", "damaged, cut short or not a safetensors file")
    shutil.copy(drawn.rgb / "weights.safetensors", weights)
    refused(run, "CKPT-004", "weights do not fit the network")
    weights.unlink()
    refused(run, "CKPT-001", "file is missing")


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"format": 99}, "CKPT-010", "run format 99, this is 1"),
        ({"stream": {}}, "CKPT-012", "description is not valid"),
        ({"stream": 3}, "CKPT-012", "description is not valid"),
    ],
)
def test_a_description_of_another_version_is_refused(run, change, code, text):
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, **change}))
    refused(run, code, text)


def test_a_description_that_is_no_json_is_refused(run):
    (run / "run.json").write_text('{"stream": ')
    refused(run, "CKPT-002", "not valid JSON")


def test_a_stream_cannot_be_named_after_another_file(run):
    facts = json.loads((run / "run.json").read_text())
    facts["stream"]["input"]["stream"] = "../../etc/passwd"
    (run / "run.json").write_text(json.dumps(facts))
    refused(run, "CKPT-012", "description is not valid")
