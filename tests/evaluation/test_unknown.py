import json
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_scores import made_up, people, scores_of
from scipy.special import softmax
from sklearn.metrics import roc_auc_score, roc_curve

from poselens.errors import UsageError
from poselens.evaluation.unknown import (
    Threshold,
    choose_threshold,
    evaluate_unknown,
    needed,
    risk_coverage,
)


def sure(confidences, right):
    """Two classes: clips of class 0 with these highest probabilities, right or wrong."""
    confidences = np.asarray(confidences)
    shares = np.stack([confidences, 1 - confidences], axis=1)
    labels = np.where(np.asarray(right), 0, 1)
    return scores_of(np.log(shares), labels)


def test_the_threshold_is_one_of_the_confidences():
    # a tenth of 19 and one more is 2
    scores = sure(np.linspace(0.55, 0.95, 19), [True] * 19)
    threshold = choose_threshold(scores, 0.1)
    assert threshold.value == pytest.approx(np.linspace(0.55, 0.95, 19)[1])
    assert (threshold.rate, threshold.n) == (0.1, 19)
    assert evaluate_unknown(scores, threshold, resamples=20).false_alarms == pytest.approx(1 / 19)


@pytest.mark.parametrize("rate", [0.05, 0.2])
@pytest.mark.parametrize("n", [19, 50, 160])
def test_false_alarms_stay_below_the_rate_on_average(rate, n):
    draw = np.random.default_rng(n)
    rates = []
    for _ in range(400):
        threshold = choose_threshold(made_up(draw, n, 5), rate)
        rates.append(np.mean(_confidence(made_up(draw, 200, 5)) < threshold.value))
    error = np.std(rates) / 20
    assert np.mean(rates) <= rate + 3 * error
    # and not by more than one clip's worth
    assert np.mean(rates) >= rate - 1 / (n + 1) - 3 * error


def _confidence(scores):
    return softmax(scores.logits.astype(float), axis=1).max(axis=1)


@pytest.mark.parametrize(("rate", "least"), [(0.05, 19), (0.1, 9), (0.01, 99), (0.3, 3)])
def test_too_few_clips_are_refused(rate, least):
    assert needed(rate) == least
    choose_threshold(sure([0.9] * least, [True] * least), rate)
    with pytest.raises(UsageError, match=f"expected {least} or more") as caught:
        choose_threshold(sure([0.9] * (least - 1), [True] * (least - 1)), rate)
    assert caught.value.code == "EVAL-022"


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_is_none(rate):
    with pytest.raises(UsageError, match="expected a number between 0 and 1") as caught:
        choose_threshold(sure([0.9], [True]), rate)
    assert caught.value.code == "EVAL-023"


def test_what_a_threshold_does_by_hand():
    scores = sure([0.9, 0.8, 0.7, 0.6, 0.55], [True, True, False, True, False])
    found = evaluate_unknown(scores, Threshold(0.65, 0.2, 9), resamples=50)
    assert found.false_alarms == 0.4
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.without == 0.6
    assert found.caught == 0.5
    assert found.accuracy_interval.low <= 2 / 3 <= found.accuracy_interval.high
    facts = found.as_dict()
    assert (facts["coverage"], facts["outside"]) == (0.6, None)
    json.dumps(facts, allow_nan=False)


def test_nothing_answered_and_nothing_wrong():
    scores = sure([0.9, 0.8], [True, True])
    found = evaluate_unknown(scores, Threshold(0.95, 0.2, 9), resamples=20)
    assert (found.false_alarms, found.accuracy, found.accuracy_interval) == (1.0, None, None)
    assert (found.caught, found.caught_interval) == (None, None)
    json.dumps(found.as_dict(), allow_nan=False)


def test_clips_of_other_classes_as_scikit_learn_counts_them():
    draw = np.random.default_rng(0)
    known, outside = made_up(draw, 400, 6, 3.0), made_up(draw, 150, 6, 0.0)
    outside = scores_of(outside.logits, np.full(150, -1))
    threshold = choose_threshold(made_up(draw, 400, 6, 3.0), 0.1)
    found = evaluate_unknown(known, threshold, outside=outside, resamples=50).outside
    sides = np.concatenate([np.ones(400), np.zeros(150)])
    confidence = np.concatenate([_confidence(known), _confidence(outside)])
    assert found.n == 150
    assert found.auroc == pytest.approx(roc_auc_score(sides, confidence), abs=1e-9)
    false, true, _ = roc_curve(sides, confidence, drop_intermediate=False)
    assert found.fpr95 == pytest.approx(false[np.argmax(true >= 0.95)], abs=1e-9)
    assert found.detected == pytest.approx((_confidence(outside) < threshold.value).mean())
    assert found.detected_interval.low < found.detected < found.detected_interval.high
    assert found.detected > 0.3


def test_other_classes_without_scores():
    nothing = scores_of(np.full((2, 2), np.nan), [-1, -1])
    with pytest.raises(UsageError, match="no clip of another class has scores") as caught:
        evaluate_unknown(sure([0.9], [True]), Threshold(0.5, 0.5, 1), outside=nothing)
    assert caught.value.code == "EVAL-004"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.6, 0.7, 0.8, 0.9]), st.booleans()), min_size=1, max_size=5
    )
)
def test_the_curve_is_the_mean_over_the_orders_of_ties(clips):
    scores = sure([c for c, _ in clips], [right for _, right in clips])
    found = risk_coverage(scores, resamples=5)
    confidence = _confidence(scores)
    curves = []
    for order in permutations(range(len(clips))):
        if all(confidence[a] >= confidence[b] for a, b in pairwise(order)):
            wrong = np.array([not clips[row][1] for row in order])
            curves.append(wrong.cumsum() / np.arange(1, len(wrong) + 1))
    np.testing.assert_allclose(found.risk, np.mean(curves, axis=0), atol=1e-9)
    assert found.aurc == pytest.approx(np.mean(curves), abs=1e-9)
    assert found.aurc_best <= found.aurc + 1e-9
    assert found.risk[-1] == pytest.approx(np.mean([not right for _, right in clips]))


def test_accuracy_at_a_coverage():
    scores = sure([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    found = risk_coverage(scores, resamples=50)
    assert [found.accuracy_at(share) for share in (0.25, 0.5, 0.6, 0.75, 1.0)] == pytest.approx(
        [1, 1, 2 / 3, 2 / 3, 3 / 4]
    )
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_interval_of_the_area_covers():
    truth = risk_coverage(made_up(np.random.default_rng(99), 100_000, 6), resamples=1).aurc
    covered = 0
    for trial in range(150):
        scores = made_up(np.random.default_rng(trial), 200, 6)
        interval = risk_coverage(scores, resamples=200, seed=trial).aurc_interval
        covered += interval.low <= truth <= interval.high
    assert 0.88 * 150 <= covered < 150
    scores, groups = people(np.random.default_rng(0), 12, 30)
    alone = risk_coverage(scores, resamples=200).aurc_interval
    whole = risk_coverage(scores, groups=groups, unit="subject", resamples=200).aurc_interval
    assert (whole.unit, whole.units) == ("subject", 12)
    assert whole.high - whole.low > 1.3 * (alone.high - alone.low)


def test_blocks_of_many_clips_give_the_interval_of_each_by_itself(monkeypatch):
    scores = made_up(np.random.default_rng(5), 1500, 6)
    whole = risk_coverage(scores, resamples=100).aurc_interval
    monkeypatch.setattr("poselens.evaluation.unknown.BLOCKS", 300)
    parts = risk_coverage(scores, resamples=100).aurc_interval
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=2e-3)
    assert parts != whole
