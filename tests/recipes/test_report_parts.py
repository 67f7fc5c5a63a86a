from dataclasses import replace

import numpy as np
import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import InputError
from poselens.evaluation.gain import paired_gain
from poselens.evaluation.report import CostRow
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.report_parts import report_parts
from poselens.recognition.bundle import load_bundle

COSTS = [CostRow("rgb", 1.5, 2_000_000, 12.0), CostRow("joint", 0.25, 100_000, 3.0)]


@pytest.fixture(scope="module")
def judged(drawn):
    bundle = load_bundle(drawn.bundle, device=torch.device("cpu"))
    folder = open_folder(drawn.data)
    return bundle, evaluate_bundle(bundle, folder, "cross-subject", "test")


def test_the_parts_of_two_streams_and_of_one(judged):
    bundle, result = judged
    titles = [part.title for part in report_parts(bundle, result, COSTS)]
    assert titles == [
        "What each stream is worth",
        "By level of the classes",
        "Answering only when sure",
    ]
    alone = replace(bundle, streams=bundle.streams[:1])
    single = replace(result, streams=result.streams[:1], scores=result.scores[:1], hierarchy=None)
    assert [part.title for part in report_parts(alone, single, COSTS)] == titles[2:]


def test_what_a_stream_adds_is_the_fusion_against_the_other(judged):
    bundle, result = judged
    worth = report_parts(bundle, result, COSTS)[0]
    joint = {entry.stream: entry for entry in result.scores}
    gain = paired_gain(joint["fused"], joint["joint"])
    first = worth.table.rows[0]
    assert first[0] == "rgb"
    assert first[4].startswith(f"{100 * gain.difference.value:+.1f} [".replace("-", "−"))
    assert first[5] == gain.verdict
    assert "1.50 GMACs, 2.00 M parameters, 12.0 ms" in worth.notes[0]
    assert worth.figure_svg.startswith("<svg")
    assert "test clips" in worth.intro


def test_answers_of_the_surest_are_counted_as_one_would(judged):
    bundle, result = judged
    rows = dict(report_parts(bundle, result, COSTS)[-1].table.rows)
    fused = result.scores[-1]
    shares = np.exp(fused.logits - np.logaddexp.reduce(fused.logits, axis=1)[:, None])
    order = np.argsort(-shares.max(axis=1), kind="stable")
    right = shares.argmax(axis=1)[order] == np.asarray(fused.labels)[order]
    assert rows["100 %"] == f"{100 * right.mean():.1f}"
    assert rows["50 %"] == f"{100 * right[: len(right) // 2].mean():.1f}"


def test_a_card_that_cannot_be_read(judged, tmp_path):
    (tmp_path / "card.json").write_text("[]")
    with pytest.raises(InputError) as caught:
        report_parts(*judged, COSTS, tmp_path / "card.json")
    assert caught.value.code == "EVAL-065"
