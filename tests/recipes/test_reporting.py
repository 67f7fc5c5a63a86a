from dataclasses import replace

import numpy as np
import pytest
import torch

from poselens.contrast.record import write_contrasted
from poselens.contrast.tally import Contrasted
from poselens.data.folder import open_folder
from poselens.evaluation.explorer import AttributionStrip
from poselens.evaluation.sections import Section, SectionTable
from poselens.fusion.scores import fuse
from poselens.recipes import reporting
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.reporting import make_report
from poselens.recognition.bundle import load_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def judged(drawn):
    bundle, folder = load_bundle(drawn.bundle, device=CPU), open_folder(drawn.data)
    return bundle, folder, evaluate_bundle(bundle, folder, "cross-subject", "test")


@pytest.fixture
def asked(monkeypatch):
    """The data that is asked to be written as a page."""
    seen = []
    monkeypatch.setattr(reporting, "write_report", lambda _, data: seen.append(data))
    return seen


def test_one_page_that_fetches_nothing(judged, drawn, tmp_path):
    page = tmp_path / "report.html"
    make_report(page, *judged, runs=[drawn.rgb, drawn.joint], commands=["poselens fuse a b"])
    text = page.read_text()
    assert "poselens fuse a b" in text
    assert "data:image/" in text
    assert 'src="http' not in text
    assert "<link" not in text


def test_a_report_holds_every_stream_its_curves_and_costs(judged, drawn, asked, tmp_path):
    bundle, folder, result = judged
    make_report(
        tmp_path / "page", *judged, runs=[drawn.rgb, drawn.joint], commands=[], notes=["mine"]
    )
    (data,) = asked
    assert [entry.evaluation.stream for entry in data.streams] == ["rgb", "joint"]
    assert [[row["split"] for row in entry.history] for entry in data.streams] == [
        ["train", "val"]
    ] * 2
    assert data.fused.evaluation is result.fused
    assert data.gain.n == 16
    assert [entry.stream for entry in data.costs] == ["rgb", "joint"]
    assert all(entry.gmacs > 0 and entry.milliseconds > 0 for entry in data.costs)
    assert data.costs[0].params == bundle.streams[0].facts["params"]
    assert (data.fingerprint, data.split) == (folder.fingerprint(), "test")
    assert list(data.notes) == ["mine", *result.units.told]
    assert "1 subject is too few to draw" in result.units.told[0]
    assert data.facts == {"Seeds": "0, 0"}
    assert data.hardware.endswith("threads")


def test_what_was_contrasted_comes_from_the_runs(judged, drawn, asked, tmp_path):
    joint = tmp_path / "joint"
    joint.mkdir()
    table = np.arange(16 * 16).reshape(16, 16)
    write_contrasted(joint, 3, Contrasted({"class-aware": table}, table / 256, table))
    for runs in ([drawn.rgb, joint], [drawn.rgb, drawn.joint], []):
        make_report(tmp_path / "page", *judged, runs=runs, commands=[])
    with_contrast, without, gone = asked
    (history,) = with_contrast.contrasted
    assert (history.stream, list(history.epochs)) == ("joint", [3])
    np.testing.assert_array_equal(history.taken["class-aware"][0], table)
    assert (without.contrasted, gone.contrasted) == ([], [])


def test_confusions_are_shown_in_frames_with_opinions(judged, asked, tmp_path):
    make_report(tmp_path / "page", *judged, runs=[], commands=[])
    (data,) = asked
    assert data.pairs
    for pair in data.pairs:
        first = pair.cards[0]
        assert first.told == f"{pair.label}, taken for {pair.predicted}"
        assert first.strip.pixels.shape == (120, 6 * 120, 3)
        assert [belief.stream for belief in first.beliefs] == ["rgb", "joint", "fused"]
        assert first.beliefs[-1].says == pair.predicted
        fused = pair.fixes[-1]
        assert (fused.stream, fused.right, fused.same) == ("fused", 0, pair.count)
    assert all(entry.history == [] for entry in data.streams)


def test_a_report_knows_the_rest_of_the_issue(judged, drawn, asked, tmp_path):
    shown = [Section("Landscape", "words", None, SectionTable(["a", "b"], [["1", "2"]]))]
    make_report(
        tmp_path / "page", *judged, runs=[drawn.rgb, drawn.joint], commands=[], sections=shown
    )
    (data,) = asked
    assert list(data.sections[-1:]) == shown
    assert data.sections[0].title == "What each stream is worth"
    assert [curve.before.stream for curve in data.calibrations] == ["rgb", "joint", "fused"]
    assert data.worst
    assert [card.loss for card in data.worst] == sorted(
        (card.loss for card in data.worst), reverse=True
    )
    assert (data.review.file, data.review.found.n) == ("label_suspects.csv", 16)
    assert "the networks were not trained on" in data.review.source
    assert [section.title for section in data.provenance] == [
        "Data",
        "Networks",
        "Code and machine",
    ]
    head = (tmp_path / "label_suspects.csv").read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith("rank,clip,label,suggested,self_confidence,margin,rgb label")


def test_temperatures_are_shown_before_and_after(judged, asked, tmp_path):
    bundle, folder, result = judged
    fitted = replace(bundle.fusion, temperatures={"rgb": 2.0, "joint": 1.0})
    scores = [*result.scores[:2], fuse(result.scores[:2], fitted.weights, fitted.temperatures)]
    changed = replace(result, scores=scores)
    make_report(
        tmp_path / "page", replace(bundle, fusion=fitted), folder, changed, runs=[], commands=[]
    )
    rgb, joint, fused = asked[0].calibrations
    assert (rgb.before.temperature, rgb.after.temperature) == (1.0, 2.0)
    assert joint.after is None
    assert fused.before.bins[0].confidence != fused.after.bins[0].confidence


def test_attributions_are_asked_for_the_first_pairs(judged, asked, tmp_path):
    bundle, folder, _ = judged
    called = []

    def attribute(clip, wanted, against):
        called.append((clip, wanted, against))
        return [AttributionStrip("rgb, Grad-CAM", np.zeros((4, 8, 3), np.uint8))]

    make_report(tmp_path / "page", *judged, runs=[], commands=[], attribute=attribute)
    (data,) = asked
    explained = [pair for pair in data.pairs if pair.cards[0].strip.attributions]
    assert len(explained) == min(6, len(data.pairs))
    pair = explained[0]
    assert [each.name for each in pair.cards[0].strip.attributions] == [
        f"rgb, Grad-CAM, for {pair.predicted} rather than {pair.label}",
        f"rgb, Grad-CAM, for {pair.label} rather than {pair.predicted}",
    ]
    numbers = bundle.classes.index(pair.predicted), bundle.classes.index(pair.label)
    assert called[:2] == [
        (pair.cards[0].clip, *numbers),
        (pair.cards[0].clip, *reversed(numbers)),
    ]
    assert all(clip in folder.ids for clip, *_ in called)


def test_what_was_left_out_and_what_is_doubtful_is_said(judged, asked, tmp_path):
    bundle, folder, result = judged
    fields = {**vars(result), "skipped": {"synth-1 (rgb)": "VID-002 empty"}, "notes": ["doubt"]}
    make_report(tmp_path / "page", bundle, folder, type(result)(**fields), runs=[], commands=[])
    assert list(asked[0].notes) == [
        *result.units.told,
        "doubt",
        "skipped synth-1 (rgb): VID-002 empty",
    ]


def test_a_single_stream_has_no_fusion(drawn, asked, tmp_path):
    run, folder = load_bundle(drawn.joint, device=CPU), open_folder(drawn.data)
    result = evaluate_bundle(run, folder, "cross-subject", "test")
    make_report(tmp_path / "page", run, folder, result, runs=[drawn.joint], commands=[])
    (data,) = asked
    assert (data.fused, data.fusion, data.gain, data.review) == (None, None, None, None)
    assert [curve.before.stream for curve in data.calibrations] == ["joint"]
    assert not (tmp_path / "label_suspects.csv").exists()
