import json
import shutil

import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import CheckpointError, UsageError
from poselens.recipes.fusing import fuse_runs
from poselens.recognition.bundle import load_bundle

CPU = torch.device("cpu")


@pytest.fixture
def fuse(drawn, tmp_path):
    folder = open_folder(drawn.data)

    def call(runs, weights="paper", protocol="cross-subject", out="out"):
        return fuse_runs(runs, folder, protocol, tmp_path / out, weights=weights, device=CPU)

    return call


@pytest.mark.parametrize(
    ("weights", "method", "share"),
    [
        ("paper", "paper", 0.5),
        ("equal", "equal", 0.5),
        ("rgb=3, joint=1", "given", 0.75),
        ({"joint": 1, "rgb": 4}, "given", 0.8),
    ],
)
def test_fixed_weights(drawn, fuse, tmp_path, weights, method, share):
    facts = fuse([drawn.rgb, drawn.joint], weights)
    assert facts["fusion"]["method"] == method
    assert facts["fusion"]["weights"]["rgb"] == pytest.approx(share)
    assert load_bundle(tmp_path / "out", device=CPU).fusion.weights["rgb"] == pytest.approx(share)


def test_fitted_weights_see_validation_clips_only(drawn, fuse, monkeypatch):
    seen = []
    from poselens.recipes import fusing

    score = fusing.score_folder

    def noted(trained, folder, clips):
        seen.append(set(clips.tolist()))
        return score(trained, folder, clips)

    monkeypatch.setattr(fusing, "score_folder", noted)
    fusion = fuse([drawn.rgb, drawn.joint], "fitted")["fusion"]
    validation = set(open_folder(drawn.data).indices("cross-subject", "val").tolist())
    assert seen == [validation, validation]
    assert (fusion["method"], fusion["n"]) == ("fitted", 16)
    assert sum(fusion["weights"].values()) == pytest.approx(1)


def changed(run, tmp_path, **data):
    copy = shutil.copytree(run, tmp_path / "changed")
    facts = json.loads((copy / "run.json").read_text())
    facts["data"] |= data
    (copy / "run.json").write_text(json.dumps(facts))
    return copy


def test_weights_are_not_fitted_on_clips_that_were_trained_on(drawn, fuse, tmp_path):
    seen = changed(drawn.joint, tmp_path, val=0)
    with pytest.raises(UsageError, match="joint was trained on the validation slice too") as fault:
        fuse([drawn.rgb, seen], "fitted")
    assert fault.value.code == "FUS-010"
    fuse([drawn.rgb, seen], "paper")


def test_nor_under_another_protocol(drawn, fuse, tmp_path):
    other = changed(drawn.joint, tmp_path, protocol="random")
    with pytest.raises(UsageError, match="joint was trained under the protocol 'random'"):
        fuse([drawn.rgb, other], "fitted")


@pytest.mark.parametrize(
    ("weights", "code", "text"),
    [
        ("papr", "FUS-005", "unknown fusion weights 'papr'"),
        ("rgb=1,joint=x", "FUS-011", "found weight 'joint=x', expected stream=number"),
        ("rgb=1,joint", "FUS-011", "found weight 'joint', expected stream=number"),
        ("rgb=1,jiont=2", "FUS-011", "found a weight for 'jiont'; did you mean 'joint'"),
        ("rgb=1", "FUS-005", "no weight for stream 'joint'"),
        ("rgb=0,joint=0", "FUS-005", "not all 0"),
        ("rgb=nan,joint=1", "FUS-005", "expected numbers from 0 up"),
        ("rgb=-1,joint=2", "FUS-005", "expected numbers from 0 up"),
    ],
)
def test_weights_that_make_no_sense(drawn, fuse, tmp_path, weights, code, text):
    with pytest.raises(UsageError, match=text) as caught:
        fuse([drawn.rgb, drawn.joint], weights)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_fused_leaves_nothing_behind(drawn, fuse, tmp_path):
    with pytest.raises(UsageError, match="no stream to fuse") as caught:
        fuse([])
    assert caught.value.code == "FUS-001"
    with pytest.raises(UsageError, match="stream 'rgb' is given 2 times") as caught:
        fuse([drawn.rgb, drawn.rgb])
    assert caught.value.code == "FUS-001"
    with pytest.raises(UsageError, match="unknown protocol 'cross-subjct'; did you mean") as caught:
        fuse([drawn.rgb], protocol="cross-subjct")
    assert caught.value.code == "CFG-004"
    with pytest.raises(CheckpointError, match="not a run or bundle"):
        fuse([drawn.rgb, drawn.data])
    assert not (tmp_path / "out").exists()


def test_streams_of_other_classes(drawn, fuse, tmp_path):
    copy = shutil.copytree(drawn.joint, tmp_path / "copy")
    facts = json.loads((copy / "run.json").read_text())
    classes = facts["stream"]["classes"]
    facts["stream"]["classes"] = [*classes[1:], classes[0]]
    (copy / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="'rgb' and 'joint' differ in their classes") as caught:
        fuse([drawn.rgb, copy])
    assert caught.value.code == "FUS-002"


def test_a_used_output_is_refused_before_any_work(drawn, fuse, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").touch()
    with pytest.raises(UsageError, match="exists already") as caught:
        fuse([tmp_path / "nowhere"], out="used")
    assert caught.value.code == "RUN-001"


def test_fixed_weights_of_runs_without_validation_are_not_judged(drawn, tmp_path):
    folder = open_folder(drawn.data)
    seen = changed(drawn.joint, tmp_path, val=0)

    def fused(out, **options):
        return fuse_runs(
            [drawn.rgb, seen], folder, "cross-subject", tmp_path / out, weights="paper",
            device=CPU, judge=True, **options,
        )["fusion"]  # fmt: skip

    facts = fused("plain")
    assert facts["gain"] is None
    assert "joint was trained on the validation slice too" in facts["not_judged"]
    with pytest.raises(UsageError, match="or leave --landscape out") as caught:
        fused("drawn", landscape=tmp_path / "l.svg")
    assert caught.value.code == "FUS-010"
    assert not (tmp_path / "drawn").exists()


def test_a_bundle_counts_as_its_streams_and_gives_its_weights_on(drawn, tmp_path):
    folder = open_folder(drawn.data)

    def fused(runs, out, weights):
        return fuse_runs(
            runs, folder, "cross-subject", tmp_path / out, weights=weights, device=CPU,
            objective="accuracy" if weights == "fitted" else "likelihood",
            per_class=weights == "fitted",
        )["fusion"]  # fmt: skip

    first = fused([drawn.bundle], "first", "fitted")
    assert set(first["weights"]) == {"rgb", "joint"}
    assert first["gain"]["clips"] == "validation, weights fitted out of fold"
    second = fused([tmp_path / "first"], "second", str(tmp_path / "first" / "bundle.json"))
    for key in ("weights", "temperatures", "per_class", "objective", "n"):
        assert json.loads(json.dumps(second[key])) == json.loads(json.dumps(first[key]))


def test_weights_per_class_for_other_classes_are_refused(drawn, fuse, tmp_path):
    fuse([drawn.rgb, drawn.joint], "fitted")
    file = tmp_path / "out" / "bundle.json"
    facts = json.loads(file.read_text())
    facts["fusion"]["per_class"] = {"rgb": [0.5, 0.5], "joint": [0.5, 0.5]}
    file.write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="rgb has weights for 2 classes") as caught:
        load_bundle(tmp_path / "out", device=CPU)
    assert caught.value.code == "CKPT-015"
