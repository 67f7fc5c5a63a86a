import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_scores import made_up, scores_of
from scipy.special import softmax

from poselens.errors import UsageError
from poselens.evaluation.conformal import evaluate_conformal, fit_conformal, label_sets
from poselens.types import Scores


def test_both_kinds_of_sets_by_hand():
    shares = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.1, 0.7], [0.4, 0.35, 0.25]])
    scores = scores_of(np.log(shares), [0, 1, 2, 0])
    # nonconformity 0.4, 0.6, 0.3, 0.6; of 5 fifths the third is the third smallest
    rule = fit_conformal(scores, 0.4)
    assert rule.thresholds == pytest.approx([0.6] * 3, abs=1e-6)
    # probabilities down to the label: 0.6, 0.9, 0.7, 0.4
    rule = fit_conformal(scores, 0.4, "aps")
    assert rule.thresholds == pytest.approx([0.7] * 3, abs=1e-6)
    sets = label_sets(scores, rule)
    # 0.5 + 0.4 and 0.4 + 0.35 are too much, 0.6 + 0.3 as well
    np.testing.assert_array_equal(sets, [[1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]])


def loop_sets(shares, rule):
    """The definition, a clip and a label at a time."""
    sets = np.zeros(shares.shape, bool)
    for clip, share in enumerate(shares):
        for label in range(len(share)):
            strange = 1 - share[label]
            if rule.method == "aps":
                order = np.argsort(-share, kind="stable")
                place = order.tolist().index(label)
                strange = share[order[: place + 1]].cumsum()[-1]
            sets[clip, label] = strange <= rule.thresholds[label]
    return sets


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["lac", "aps"]), st.booleans())
def test_sets_are_those_of_the_definition(seed, method, per_class):
    draw = np.random.default_rng(seed)
    rule = fit_conformal(made_up(draw, 60, 4), 0.2, method, per_class=per_class)
    scores = made_up(draw, 15, 4)
    shares = softmax(scores.logits.astype(np.float64), axis=1)
    np.testing.assert_array_equal(label_sets(scores, rule), loop_sets(shares, rule))


@pytest.mark.parametrize("randomised", [False, True])
@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_promise_is_kept(method, alpha, randomised):
    draw = np.random.default_rng(0)
    covered = []
    for trial in range(300):
        rule = fit_conformal(
            made_up(draw, 60, 5), alpha, method, randomised=randomised, seed=2 * trial
        )
        scores = made_up(draw, 100, 5)
        held = label_sets(scores, rule)[np.arange(100), scores.labels]
        covered.append(held.mean())
    error = np.std(covered) / 300**0.5
    assert np.mean(covered) >= 1 - alpha - 3 * error
    if method == "lac" or randomised:
        # not by more than the clip that is one more
        assert np.mean(covered) <= 1 - alpha + 1 / 61 + 3 * error


def uneven(draw, clips):
    """Class 0 is recognised, class 1 hardly."""
    labels = draw.integers(0, 2, clips)
    logits = draw.normal(0, 1, (clips, 3))
    logits[np.arange(clips), labels] += np.where(labels == 0, 4.0, 0.2)
    return scores_of(logits, labels)


def test_a_promise_for_every_class():
    draw = np.random.default_rng(0)
    by_class = {False: [], True: []}
    for _ in range(200):
        calibration, scores = uneven(draw, 150), uneven(draw, 200)
        for per_class, found in by_class.items():
            rule = fit_conformal(calibration, 0.1, per_class=per_class)
            found.append(evaluate_conformal(scores, rule, resamples=2).by_class[:2])
    assert np.mean(by_class[False], axis=0)[1] < 0.85
    means = np.mean(by_class[True], axis=0)
    errors = np.std(by_class[True], axis=0) / 200**0.5
    assert (means >= 0.9 - 3 * errors).all()
    assert (means <= 0.9 + 1 / 60 + 3 * errors).all()


def test_too_few_clips_promise_everything_and_say_so():
    draw = np.random.default_rng(0)
    rule = fit_conformal(made_up(draw, 18, 4), 0.05)
    assert rule.needed == 19
    assert len(rule.open_classes) == 4
    found = evaluate_conformal(made_up(draw, 50, 4), rule, resamples=20)
    assert (found.coverage, found.size, found.expected) == (1.0, 4.0, None)
    assert found.told == [
        "18 clips are too few to promise 0.95, 19 would do: every set holds every class"
    ]
    json.dumps(found.as_dict(), allow_nan=False)
    assert not len(fit_conformal(made_up(draw, 19, 4), 0.05).open_classes)


def test_classes_with_too_few_clips_are_named():
    draw = np.random.default_rng(1)
    scores = made_up(draw, 200, 4)
    rows = np.flatnonzero((scores.labels != 2) | (np.arange(200) < 20))
    few = Scores(
        scores.logits[rows], [scores.ids[row] for row in rows], scores.labels[rows],
        scores.classes, "rgb",
    )  # fmt: skip
    found = evaluate_conformal(scores, fit_conformal(few, 0.1, per_class=True), resamples=20)
    assert found.open_classes == ["k2"]
    assert found.by_class[2] == 1.0
    assert "1 of 4 classes have fewer than the 9 clips that promise 0.9" in found.told[0]
    assert found.as_dict()["threshold"][2] is None


def test_coverage_size_and_what_was_to_be_expected():
    draw = np.random.default_rng(2)
    rule = fit_conformal(made_up(draw, 500, 6), 0.1)
    scores = made_up(draw, 300, 6)
    labels = scores.labels.copy()
    labels[:20] = -1
    found = evaluate_conformal(scores_of(scores.logits, labels), rule, resamples=200)
    sets = label_sets(scores, rule)[20:]
    assert found.n == 280
    assert found.coverage == pytest.approx(sets[np.arange(280), labels[20:]].mean())
    assert found.size == pytest.approx(sets.sum(axis=1).mean())
    assert found.size_interval.low < found.size < found.size_interval.high
    assert found.coverage_interval.low < found.coverage < found.coverage_interval.high
    assert sum(found.sizes) == 280
    low, high = found.expected
    assert low < 0.9 < high
    assert high - low == pytest.approx(2 * 1.96 * (0.09 / 500) ** 0.5, rel=0.05)


def test_the_range_to_expect_holds_the_coverage():
    draw = np.random.default_rng(3)
    world, inside = made_up(draw, 20_000, 5), 0
    for _ in range(200):
        rule = fit_conformal(made_up(draw, 80, 5), 0.1)
        low, high = evaluate_conformal(made_up(draw, 2, 5), rule, resamples=1).expected
        held = label_sets(world, rule)[np.arange(20_000), world.labels].mean()
        inside += low <= held <= high
    assert 0.9 * 200 <= inside < 200


def test_what_cannot_be_promised():
    scores = made_up(np.random.default_rng(0), 20, 3)
    with pytest.raises(UsageError, match="found rate 1, expected a number between") as caught:
        fit_conformal(scores, 1.0)
    assert caught.value.code == "EVAL-023"
    with pytest.raises(UsageError, match="found 'raps', expected lac or aps") as caught:
        fit_conformal(scores, 0.1, "raps")
    assert caught.value.code == "EVAL-024"
