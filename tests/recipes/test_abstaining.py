import json
import shutil

import numpy as np
import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import CheckpointError, InputError, UsageError
from poselens.evaluation.unknown import UNKNOWN, choose_threshold
from poselens.fusion.scores import fuse, write_scores
from poselens.fusion.weights import fixed_weights
from poselens.recipes.abstaining import (
    Asked,
    abstain,
    answers,
    held_out_scores,
    require_possible,
    unknown_threshold,
)
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.fusing import fuse_runs
from poselens.recognition.bundle import load_bundle
from poselens.recognition.recognizer import Recognizer
from poselens.types import Scores

CPU = torch.device("cpu")
XSUB = "cross-subject"


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def bundle(drawn):
    return load_bundle(drawn.bundle, device=CPU)


@pytest.fixture(scope="module")
def result(bundle, folder):
    return evaluate_bundle(bundle, folder, XSUB, "test")


@pytest.fixture(scope="module")
def wary(drawn, folder, tmp_path_factory):
    """A bundle that keeps a threshold."""
    out = tmp_path_factory.mktemp("wary") / "bundle"
    fuse_runs(
        [drawn.rgb, drawn.joint], folder, XSUB, out, weights="paper", device=CPU, unknown=0.25
    )
    return out


def test_thresholds_see_validation_and_are_judged_on_test(bundle, folder, result):
    asked = Asked(unknown=0.25, conformal=0.2)
    found = abstain(bundle, folder, XSUB, result, asked)
    held_out = held_out_scores(bundle.streams, folder, XSUB)
    validation = folder.ids[folder.indices(XSUB, "val")].tolist()
    assert [list(scores.ids) for scores in held_out] == [validation] * 2
    expected = choose_threshold(fuse(held_out, bundle.fusion.weights), 0.25)
    assert found.unknown.threshold.value == pytest.approx(expected.value)
    assert (found.unknown.n, found.unknown.threshold.n) == (16, 16)
    assert (found.conformal.n, found.conformal.n_calibration) == (16, 16)
    assert found.unknown.without == pytest.approx(result.fused.top1)
    json.dumps(found.as_dict(), allow_nan=False)


def test_what_was_not_asked_is_not_scored(bundle, folder, result, monkeypatch):
    monkeypatch.setattr("poselens.recipes.abstaining.score_folder", None)
    found = abstain(bundle, folder, XSUB, result, Asked())
    assert found.unknown is found.conformal is None
    assert found.selective.risk[-1] == pytest.approx(1 - result.fused.top1)


def test_a_fusion_fitted_on_the_same_clips_is_said(bundle, folder, result):
    fitted = type(bundle)(
        bundle.streams,
        type(bundle.fusion)(bundle.fusion.weights, bundle.fusion.temperatures, "fitted", 16),
        bundle.facts,
    )
    notes = abstain(fitted, folder, XSUB, result, Asked(unknown=0.25)).notes
    assert notes == ["the fusion was fitted on the clips that the thresholds were chosen on"]


def test_answers_have_the_temperature_of_prediction(drawn, folder):
    run = load_bundle(drawn.joint, device=CPU)
    scores = evaluate_bundle(run, folder, XSUB, "val").scores
    fusion = fixed_weights(["joint"], "equal")
    cool = type(fusion)(fusion.weights, {"joint": 0.5}, "given")
    shares = [np.exp(answers(scores, each).logits) for each in (fusion, cool)]
    assert (shares[1].max(axis=1) > shares[0].max(axis=1)).all()


def changed(bundle, **data):
    first = bundle.streams[0]
    facts = {**first.facts, "data": {**first.facts["data"], **data}}
    other = type(first)(first.stream, first.network, first.device, facts, first.weights)
    return type(bundle)([other, bundle.streams[1]], bundle.fusion, bundle.facts)


@pytest.mark.parametrize(
    ("asked", "part", "data", "text", "code"),
    [
        (Asked(unknown=0.05), "test", {}, "16 clips cannot show a false-alarm rate", "EVAL-022"),
        (Asked(unknown=1.5), "test", {}, "found rate 1.5, expected a number", "EVAL-023"),
        (Asked(conformal=0.0), "test", {}, "found rate 0, expected a number", "EVAL-023"),
        (Asked(unknown=0.5), "test", {"val": 0}, "trained on the validation clips too", "EVAL-025"),
        (Asked(unknown=0.5), "test", {"protocol": "x"}, "under the protocol 'x'", "EVAL-025"),
        (Asked(conformal=0.5), "val", {}, "cannot be judged on it", "EVAL-026"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_scoring(
    bundle, folder, asked, part, data, text, code
):
    with pytest.raises(UsageError, match=text) as caught:
        require_possible(changed(bundle, **data), folder, XSUB, part, asked)
    assert caught.value.code == code


def test_clips_of_other_classes(bundle, folder, result, tmp_path):
    path = tmp_path / "other.npz"
    fused = result.scores[-1]
    write_scores(path, Scores(fused.logits, fused.ids, np.full(16, -1), fused.classes, "fused"))
    asked = Asked(unknown=0.25, outside=path)
    require_possible(bundle, folder, XSUB, "test", asked)
    outside = abstain(bundle, folder, XSUB, result, asked).unknown.outside
    assert (outside.n, outside.auroc) == (16, pytest.approx(0.5))
    with pytest.raises(UsageError, match="but no threshold to judge") as caught:
        require_possible(bundle, folder, XSUB, "test", Asked(outside=path))
    assert caught.value.code == "EVAL-027"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a score file"):
        require_possible(bundle, folder, XSUB, "test", asked)


def test_a_bundle_keeps_its_threshold_and_says_unknown(wary, drawn, folder, result):
    loaded = load_bundle(wary, device=CPU)
    assert (loaded.unknown.rate, loaded.unknown.n) == (0.25, 16)
    found = abstain(loaded, folder, XSUB, result, Asked())
    assert found.unknown.threshold == loaded.unknown
    called = {True: 0, False: 0}
    recognizer = Recognizer(loaded)
    for clip in folder.ids[folder.indices(XSUB, "test")].tolist():
        said = recognizer.recognize(drawn.data / "videos" / f"{clip}.mp4", skeleton=drawn.data)
        facts = said.as_dict()
        below = max(said.scores.values()) < loaded.unknown.value
        called[below] += 1
        assert facts["label"] == (UNKNOWN if below else facts["best"])
        assert facts["score"] == said.scores[said.best] == max(said.scores.values())
        assert UNKNOWN not in said.scores
        assert sum(said.scores.values()) == pytest.approx(1)
    assert called[True] == round(16 * found.unknown.false_alarms)
    assert set(json.loads((wary / "bundle.json").read_text())["unknown"]) == {
        "threshold", "rate", "n",
    }  # fmt: skip


def test_a_threshold_of_all_streams_is_used_for_some_and_it_is_said(wary, drawn):
    said = Recognizer.load(wary, device="cpu", pose=None).recognize(drawn.video)
    assert "the threshold of unknown was chosen with all streams of the bundle" in said.notes


def test_a_bundle_without_a_threshold_names_every_clip(drawn, bundle):
    said = Recognizer(bundle).recognize(drawn.video, skeleton=drawn.data)
    assert bundle.unknown is None
    assert said.label == said.best == max(said.scores, key=said.scores.get)


@pytest.mark.parametrize(
    "entry",
    ["0.5", [], {"threshold": 0.5, "rate": 0.1}, {"threshold": 2, "rate": 0.1, "n": 5},
     {"threshold": 0.5, "rate": 0, "n": 5}, {"threshold": 0.5, "rate": 0.1, "n": 0},
     {"threshold": True, "rate": 0.1, "n": 5}, {"threshold": 0.5, "rate": 0.1, "n": 1e999}],
)  # fmt: skip
def test_a_damaged_threshold(wary, tmp_path, entry):
    copy = shutil.copytree(wary, tmp_path / "copy")
    facts = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**facts, "unknown": entry}))
    with pytest.raises(CheckpointError, match="expected a threshold and a rate") as caught:
        load_bundle(copy, device=CPU)
    assert caught.value.code == "CKPT-015"


def test_a_class_of_that_name(result):
    fused = result.scores[-1]
    named = Scores(fused.logits, fused.ids, fused.labels, [UNKNOWN, *fused.classes[1:]], "rgb")
    with pytest.raises(UsageError, match="a class is called 'unknown' itself") as caught:
        unknown_threshold([named], fixed_weights(["rgb"], "equal"), 0.25)
    assert caught.value.code == "EVAL-028"


def test_no_bundle_is_written_where_no_threshold_can_be_chosen(drawn, folder, tmp_path):
    with pytest.raises(UsageError, match="16 clips cannot show"):
        fuse_runs(
            [drawn.joint], folder, XSUB, tmp_path / "out", weights="equal", device=CPU, unknown=0.01
        )
    assert not (tmp_path / "out").exists()
