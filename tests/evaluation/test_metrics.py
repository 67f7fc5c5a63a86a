import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from poselens.errors import InputError, UsageError
from poselens.evaluation.metrics import calibration_error, evaluate, top_accuracy
from poselens.types import Scores


def simulated(seed=0, clips=400, classes=8, strength=1.5):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, clips)
    logits = draw.normal(0, 1, (clips, classes)) + strength * np.eye(classes)[labels]
    ids = [f"c{row}" for row in range(clips)]
    names = [f"k{column}" for column in range(classes)]
    return Scores(logits.astype(np.float32), ids, labels, names, "rgb")


def test_every_figure_agrees_with_scikit_learn():
    scores = simulated()
    found = evaluate(scores, resamples=50)
    labels, logits = scores.labels, scores.logits.astype(np.float64)
    predicted = logits.argmax(axis=1)
    powers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    close = {"abs": 1e-9, "rel": 0}
    assert found.top1 == pytest.approx(reference.accuracy_score(labels, predicted), **close)
    assert found.mean_class == pytest.approx(
        reference.balanced_accuracy_score(labels, predicted), **close
    )
    assert found.top5 == pytest.approx(reference.top_k_accuracy_score(labels, logits, k=5), **close)
    assert found.nll == pytest.approx(reference.log_loss(labels, powers), **close)
    np.testing.assert_array_equal(found.confusion, reference.confusion_matrix(labels, predicted))
    for column, ours in (
        (0, [entry.precision for entry in found.per_class]),
        (1, [entry.recall for entry in found.per_class]),
        (2, [entry.f1 for entry in found.per_class]),
        (3, [entry.support for entry in found.per_class]),
    ):
        theirs = reference.precision_recall_fscore_support(labels, predicted)[column]
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), clips=st.integers(1, 60), classes=st.integers(2, 7))
def test_calibration_error_is_the_sum_over_bins(seed, clips, classes):
    scores = simulated(seed, clips, classes)
    logits = scores.logits.astype(np.float64)
    powers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = 0.0
    for edge in range(15):
        inside = [row for row in range(clips) if edge / 15 < powers[row].max() <= (edge + 1) / 15]
        if inside:
            right = sum(powers[row].argmax() == scores.labels[row] for row in inside)
            total += abs(right - sum(powers[row].max() for row in inside)) / clips
    assert calibration_error(logits, scores.labels) == pytest.approx(total, abs=1e-9)


def test_clips_that_cannot_be_judged_are_counted_not_judged():
    scores = simulated(clips=100)
    labels = scores.labels.copy()
    logits = scores.logits.copy()
    labels[:10] = -1
    logits[50:55] = np.nan
    found = evaluate(Scores(logits, scores.ids, labels, scores.classes, "rgb"), resamples=50)
    assert (found.n, found.unlabelled, found.unscored) == (85, 10, 5)
    kept = [row for row in range(10, 100) if not 50 <= row < 55]
    assert found.top1 == pytest.approx((logits[kept].argmax(axis=1) == labels[kept]).mean())


def test_mean_class_leaves_out_classes_that_do_not_occur():
    logits = np.eye(3, dtype=np.float32)[[0, 0, 0, 2]]
    found = evaluate(
        Scores(logits, list("abcd"), np.array([0, 0, 0, 1]), ["x", "y", "z"], "rgb"), resamples=50
    )
    assert found.top1 == 0.75
    assert found.mean_class == 0.5


@pytest.mark.parametrize(("classes", "best", "expected"), [(2, 1, 0.5), (2, 5, 1.0), (5, 5, 1.0)])
def test_top_accuracy_with_few_classes(classes, best, expected):
    logits = np.zeros((2, classes))
    logits[:, 1] = 1
    assert top_accuracy(logits, np.array([0, 1]), best) == expected


def test_json_has_the_promised_keys():
    found = evaluate(
        simulated(), selection="last epoch", data_fingerprint="ab12", resamples=50
    ).as_dict()
    facts = json.loads(json.dumps(found))
    assert {"top1", "mean_class", "n", "interval", "selection", "data_fingerprint"} <= facts.keys()
    low, high = facts["interval"]
    assert low < facts["top1"] < high
    assert facts["selection"] == "last epoch"
    assert facts["data_fingerprint"] == "ab12"
    assert sum(map(sum, facts["confusion"])) == facts["n"]
    assert not any(isinstance(value, float) and math.isnan(value) for value in facts.values())


def test_evaluation_refuses_what_cannot_be_judged():
    scores = simulated(clips=3)
    nobody = Scores(scores.logits, scores.ids, np.full(3, -1), scores.classes, "rgb")
    with pytest.raises(UsageError, match="none of 3 clips has both a label and scores"):
        evaluate(nobody)
    wrong = Scores(scores.logits, scores.ids, np.full(3, 8), scores.classes, "rgb")
    with pytest.raises(UsageError, match="found label 8, expected -1 to 7"):
        evaluate(wrong)
    broken = Scores(scores.logits + np.float32(np.inf), scores.ids, scores.labels, ["k"] * 8, "rgb")
    with pytest.raises(InputError, match="not finite"):
        evaluate(broken)
