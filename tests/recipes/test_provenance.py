import json
from dataclasses import replace

import pytest
import torch

from poselens.data.folder import open_folder
from poselens.recipes.costing import hardware_name
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.provenance import provenance
from poselens.recognition.bundle import load_bundle


@pytest.fixture(scope="module")
def judged(drawn):
    bundle = load_bundle(drawn.bundle, device=torch.device("cpu"))
    folder = open_folder(drawn.data)
    return bundle, folder, evaluate_bundle(bundle, folder, "cross-subject", "test")


def by_name(section):
    return {row[0]: row[1:] for row in section.table.rows}


def test_data_networks_and_machines_are_named(judged, drawn):
    bundle, folder, result = judged
    runs = [drawn.rgb, drawn.joint]
    data, networks, machines = provenance(bundle, folder, result, runs=runs, commit="c" * 40)
    assert by_name(data)["Fingerprint"] == [folder.fingerprint()]
    assert by_name(data)["Clips of test"][0].startswith("16 by ")
    assert by_name(data)["Clips evaluated"] == ["16 of test, 0 skipped"]
    assert data.notes == ["test shares nothing that is known with the parts trained or chosen on."]
    assert by_name(networks)["Seed"] == ["0", "0"]
    assert by_name(networks)["Weights chosen by"] == ["last of 1 epochs, trained on train"] * 2
    made = json.loads((drawn.rgb / "run.json").read_text(encoding="utf-8"))["environment"]
    assert by_name(machines)["Started"][0] == made["started"]
    assert by_name(machines)["Commit"][-1] == "c" * 12
    assert by_name(machines)["torch"] == [str(torch.__version__)] * 3
    assert by_name(machines)["Hardware"][-1] == hardware_name(torch.device("cpu"))
    assert list(machines.table.columns) == ["", "rgb", "joint", "this report"]


def test_what_is_not_known_is_left_open(judged, tmp_path):
    bundle, folder, result = judged
    streams = [replace(each, facts={"stream": {}, "data": "old"}) for each in bundle.streams]
    old = replace(bundle, streams=streams)
    for runs in ([], [tmp_path, tmp_path]):
        _, networks, machines = provenance(old, folder, result, runs=runs, commit=None)
        assert by_name(networks)["Clips of train"] == ["–", "–"]
        assert by_name(machines)["Started"] == ["–", "–", "–"]
        assert by_name(machines)["Commit"] == ["–", "–", "–"]
