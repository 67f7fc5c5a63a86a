import json
import shutil

import numpy as np
import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import EnvironmentFault, UsageError
from poselens.fusion.scores import fuse, read_scores
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recognition.bundle import load_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def bundle(drawn):
    return load_bundle(drawn.bundle, device=CPU)


@pytest.fixture(scope="module")
def result(bundle, folder):
    return evaluate_bundle(bundle, folder, "cross-subject", "test")


def test_every_stream_and_the_fusion_are_judged_on_the_same_clips(result, folder, bundle):
    test = [str(folder.ids[clip]) for clip in folder.indices("cross-subject", "test")]
    assert [list(scores.ids) for scores in result.scores] == [test] * 3
    assert [entry.stream for entry in result.streams] == ["rgb", "joint"]
    assert result.fused.stream == "fused"
    expected = fuse(result.scores[:2], bundle.fusion.weights).logits
    np.testing.assert_allclose(result.scores[2].logits, expected)
    right = (expected.argmax(1) == folder.labels[folder.indices("cross-subject", "test")]).mean()
    assert result.fused.top1 == pytest.approx(right)


def test_a_number_comes_with_all_it_depends_on(result, folder):
    facts = result.as_dict()
    assert (facts["n"], facts["protocol"], facts["part"], facts["views"]) == (
        16,
        "cross-subject",
        "test",
        1,
    )
    assert facts["data_fingerprint"] == folder.fingerprint()
    assert facts["interval"][0] <= facts["top1"] <= facts["interval"][1]
    assert facts["selection"].endswith("fusion: paper weights")
    assert facts["streams"].keys() == {"rgb", "joint"}
    assert facts["skipped"] == {}
    assert facts["notes"] == []
    json.dumps(facts)


def test_a_single_stream_is_its_own_fusion(drawn, folder):
    run = load_bundle(drawn.joint, device=CPU)
    result = evaluate_bundle(run, folder, "cross-subject", "val")
    assert result.fused.stream == "joint"
    assert len(result.scores) == 1
    assert result.fused.top1 == result.streams[0].top1


def test_scores_are_kept_where_asked(bundle, folder, result, tmp_path):
    out = tmp_path / "new" / "scores.npz"
    evaluate_bundle(bundle, folder, "cross-subject", "test", scores_out=out)
    np.testing.assert_allclose(read_scores(out).logits, result.scores[-1].logits)
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write"):
        evaluate_bundle(
            bundle, folder, "cross-subject", "test", scores_out=tmp_path / "file" / "scores.npz"
        )


def test_unknown_parts_and_protocols(bundle, folder):
    with pytest.raises(UsageError, match="found part 'tset', expected train, val, test") as caught:
        evaluate_bundle(bundle, folder, "cross-subject", "tset")
    assert caught.value.code == "CFG-009"
    with pytest.raises(UsageError, match="unknown protocol 'xsub'") as caught:
        evaluate_bundle(bundle, folder, "xsub", "test")
    assert caught.value.code == "CFG-004"


def test_a_clip_one_stream_cannot_read_is_judged_by_the_other(drawn, bundle, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    clip = str(open_folder(data).ids[open_folder(data).indices("cross-subject", "test")[0]])
    (data / "videos" / f"{clip}.mp4").write_text("404")
    result = evaluate_bundle(bundle, open_folder(data), "cross-subject", "test")
    assert result.skipped.keys() == {f"{clip} (rgb)"}
    assert [entry.n for entry in result.streams] == [15, 16]
    assert result.fused.n == 16


def noted(drawn, tmp_path, part="test", **data):
    copy = shutil.copytree(drawn.joint, tmp_path / "copy")
    facts = json.loads((copy / "run.json").read_text())
    facts["data"] |= data
    (copy / "run.json").write_text(json.dumps(facts))
    bundle = load_bundle(copy, device=CPU)
    return evaluate_bundle(bundle, open_folder(drawn.data), "cross-subject", part).notes


@pytest.mark.parametrize(
    ("part", "data", "note"),
    [
        ("test", {"fingerprint": "other"}, "joint was trained on another data set, or another"),
        ("test", {"protocol": "random"}, "joint was trained under the protocol 'random'"),
        ("train", {}, "joint was trained on these clips"),
        ("val", {"val": 0}, "its validation slice was not kept apart"),
    ],
)
def test_clips_that_may_have_been_seen_before_are_said(drawn, tmp_path, part, data, note):
    (found,) = noted(drawn, tmp_path, part, **data)
    assert note in found


def test_a_fusion_judged_where_it_was_fitted_is_said(drawn, folder, bundle):
    from poselens.fusion.weights import FusionWeights

    fitted = FusionWeights({"rgb": 0.5, "joint": 0.5}, {"rgb": 1.0, "joint": 1.0}, "fitted", 16)
    bundle = type(bundle)(bundle.streams, fitted, bundle.facts)
    notes = evaluate_bundle(bundle, folder, "cross-subject", "val").notes
    assert notes == ["the fusion was fitted on these clips"]
    assert bundle.selection.endswith("fusion: fitted weights, on 16 validation clips")


def test_views_are_never_hidden(bundle, folder, tmp_path, result):
    out = tmp_path / "scores.npz"
    seen = evaluate_bundle(bundle, folder, "cross-subject", "test", views="3-crops", scores_out=out)
    facts = seen.as_dict()
    assert (facts["views"], facts["views_name"]) == (3, "3-crops")
    assert [entry["views"] for entry in facts["streams"].values()] == [3, 1]
    assert "rgb saw 3 views of each clip (3-crops), which cost 3 times one" in facts["notes"]
    assert read_scores(out).views == "3-crops"
    assert result.as_dict()["views_name"] == "centre"
    np.testing.assert_array_equal(seen.scores[1].logits, result.scores[1].logits)
    assert abs(seen.scores[0].logits - result.scores[0].logits).max() > 1e-6


def test_a_fusion_that_was_fitted_on_one_view_is_said(folder, bundle):
    from poselens.fusion.weights import FusionWeights

    fitted = FusionWeights({"rgb": 0.5, "joint": 0.5}, {"rgb": 1.0, "joint": 1.0}, "fitted", 16)
    bundle = type(bundle)(bundle.streams, fitted, bundle.facts)
    notes = evaluate_bundle(bundle, folder, "cross-subject", "test", views="3-crops").notes
    assert "the fusion was fitted on one view of each clip" in notes


def test_views_without_pictures_are_refused(drawn, folder):
    run = load_bundle(drawn.joint, device=CPU)
    with pytest.raises(UsageError, match="found views '3-crops', but no stream sees") as caught:
        evaluate_bundle(run, folder, "cross-subject", "test", views="3-crops")
    assert caught.value.code == "CFG-038"


def test_what_the_parts_share_is_told_whatever_the_run_says(bundle, folder):
    about = folder.info.protocols["cross-subject"]
    entries = folder.parts("cross-subject")
    # one training clip of everybody who tests moves to the other side
    first = int(folder.indices("cross-subject", "test")[0])
    parts = [str(part) for part in entries]
    parts[first] = "train"
    leaky = folder.with_split("leaky", about, parts)
    result = evaluate_bundle(bundle, leaky, "leaky", "test")
    (leak,) = [leak for leak in result.leakage if leak.kind == "subject"]
    assert leak.parts == ("train", "test")
    assert leak.severe
    assert leak.sentence() in result.notes
    assert [entry["kind"] for entry in result.as_dict()["leakage"]] == ["subject"]
    json.dumps(result.as_dict())


def test_what_was_shared_in_training_and_is_declared_since_is_told(drawn, folder, tmp_path):
    run = tmp_path / "joint"
    shutil.copytree(drawn.joint, run)
    facts = json.loads((run / "run.json").read_text())
    leak = {"kind": "subject", "parts": ["train", "test"], "severe": True, "told": "a and b"}
    facts["data"]["leakage"] = [leak, {**leak, "severe": False}, {**leak, "parts": ["train", "x"]}]
    (run / "run.json").write_text(json.dumps(facts))
    result = evaluate_bundle(load_bundle(run, device=CPU), folder, "cross-subject", "test")
    assert result.notes == ["when joint was trained: a and b"]
    assert result.leakage == []


def test_some_clips_of_a_part_are_judged_alone(bundle, folder, result):
    test = folder.indices("cross-subject", "test")
    some = evaluate_bundle(bundle, folder, "cross-subject", "test", clips=test[::2])
    assert [list(scores.ids) for scores in some.scores] == [folder.ids[test[::2]].tolist()] * 3
    np.testing.assert_allclose(some.scores[2].logits, result.scores[2].logits[::2], atol=1e-5)
