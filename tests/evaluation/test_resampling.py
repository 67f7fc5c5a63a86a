import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_scores import made_up, people, scores_of
from scipy.special import softmax
from scipy.stats import binom, binomtest
from sklearn import metrics as reference

from poselens.errors import UsageError
from poselens.evaluation.intervals import percentiles
from poselens.evaluation.metrics import evaluate
from poselens.evaluation.resampling import (
    FIGURES,
    draws,
    figures,
    group_units,
    intervals,
    judge,
    ratio_interval,
    resampled,
)

CLOSE = {"abs": 1e-9, "rel": 0}


def by_scikit_learn(logits, labels):
    """Every figure that scikit-learn has."""
    logits = np.asarray(logits, np.float64)
    classes = range(logits.shape[1])
    shares, predicted = softmax(logits, axis=1), logits.argmax(axis=1)
    with warnings.catch_warnings():
        # float32 scores sum to one only nearly
        warnings.simplefilter("ignore", UserWarning)
        five = 1.0
        if logits.shape[1] > 5:
            five = reference.top_k_accuracy_score(labels, logits, k=5, labels=classes)
        return {
            "top1": reference.accuracy_score(labels, predicted),
            "top5": five,
            "mean_class": reference.recall_score(
                labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
            ),
            "macro_f1": reference.f1_score(labels, predicted, average="macro", zero_division=0),
            "nll": reference.log_loss(labels, shares, labels=classes),
            "brier": reference.brier_score_loss(
                labels, shares, labels=classes, scale_by_half=False
            ),
        }


@st.composite
def any_scores(draw):
    """Scores with ties, classes that do not occur, and confidence from none to much."""
    clips, classes = draw(st.integers(1, 40)), draw(st.integers(2, 9))
    seed, scale = draw(st.integers(0, 2**31)), draw(st.sampled_from([0.0, 0.5, 3.0]))
    rng = np.random.default_rng(seed)
    logits = scale * rng.integers(-2, 3, (clips, classes)).astype(np.float32)
    return scores_of(logits, rng.integers(0, classes, clips))


@settings(max_examples=120, deadline=None)
@given(any_scores())
def test_every_figure_is_that_of_scikit_learn(scores):
    ours = figures(judge(scores))
    for name, value in by_scikit_learn(scores.logits, scores.labels).items():
        assert ours[name] == pytest.approx(value, **CLOSE), name


@settings(max_examples=40, deadline=None)
@given(any_scores())
def test_the_figures_of_each_class_are_those_of_scikit_learn(scores):
    found = evaluate(scores, resamples=2).per_class
    theirs = reference.precision_recall_fscore_support(
        scores.labels,
        scores.logits.argmax(axis=1),
        labels=range(len(scores.classes)),
        zero_division=0,
    )
    ours = [[e.precision, e.recall, e.f1, e.support] for e in found]
    np.testing.assert_allclose(ours, np.transpose(theirs), rtol=0, atol=1e-9)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_resample_has_the_figures_of_the_clips_it_repeats(grouped):
    rng = np.random.default_rng(0)
    scores = made_up(rng, clips=60, classes=7)
    units = np.arange(60) % 9 if grouped else np.arange(60)
    found = resampled(judge(scores), units if grouped else None, resamples=20, seed=3)
    counts = np.concatenate(list(draws(len(set(units.tolist())), 20, 3)), axis=1)
    for resample in range(20):
        rows = np.repeat(np.arange(60), counts[units, resample].astype(int))
        again = figures(judge(scores_of(scores.logits[rows], scores.labels[rows])))
        theirs = by_scikit_learn(scores.logits[rows], scores.labels[rows])
        for name in FIGURES:
            assert found[name][resample] == pytest.approx(again[name], **CLOSE)
            assert found[name][resample] == pytest.approx(theirs.get(name, again[name]), **CLOSE)


def test_draws_are_the_same_in_one_chunk_or_many(monkeypatch):
    whole = np.concatenate(list(draws(50, 30, 7)), axis=1)
    monkeypatch.setattr("poselens.evaluation.resampling.CHUNK_CELLS", 200)
    parts = list(draws(50, 30, 7))
    assert len(parts) == 8
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    assert (whole.sum(axis=0) == 50).all()


def within_binomial_error(covered, trials, nominal=0.95, least=0.0):
    """Whether a count is one that coverage between ``least`` below and all explains (3 in 1000)."""
    low = binom.ppf(0.0015, trials, nominal - least)
    return covered >= low


def coverage(make, truth, trials, names, *, resamples=400):
    """Count, by figure, how often the interval of made-up scores holds the truth."""
    covered = dict.fromkeys(names, 0)
    for trial in range(trials):
        scores, groups = make(np.random.default_rng(trial))
        judged = judge(scores)
        units = None if groups is None else group_units(judged, groups, scores)
        found = intervals(judged, units, resamples=resamples, seed=trial)
        for name in names:
            covered[name] += found[name].low <= truth[name] <= found[name].high
    return covered


SURE = ("top1", "mean_class", "macro_f1", "nll", "brier")


def test_intervals_over_clips_cover():
    truth = figures(judge(made_up(np.random.default_rng(99), 200_000, 8)))
    covered = coverage(
        lambda draw: (made_up(draw, 250, 8), None), truth, 300, (*SURE, "top5", "ece")
    )
    for name in (*SURE, "top5"):
        assert within_binomial_error(covered[name], 300), (name, covered[name])
        assert covered[name] < 300, name
    # a calibration error is biased: its interval is the one that may fall short, and it is said
    assert within_binomial_error(covered["ece"], 300, least=0.06), covered["ece"]


def test_intervals_over_people_cover_and_intervals_over_their_clips_do_not():
    truth = figures(judge(people(np.random.default_rng(99), 10_000, 20)[0]))

    def make(draw):
        return people(draw, 20, 20)

    covered = coverage(make, truth, 300, SURE)
    alone = coverage(lambda draw: (make(draw)[0], None), truth, 300, SURE)
    for name in SURE:
        # percentile intervals of 20 people fall short by a little
        assert within_binomial_error(covered[name], 300, least=0.02), (name, covered[name])
        assert alone[name] < 0.8 * 300, (name, alone[name])


def test_few_people_widen_the_percentiles():
    truth = figures(judge(people(np.random.default_rng(99), 10_000, 30)[0]))
    plain = widened = 0
    for trial in range(300):
        scores, groups = people(np.random.default_rng(trial), 5, 30)
        judged = judge(scores)
        drawn = resampled(judged, group_units(judged, groups, scores), resamples=400, seed=trial)
        low, high = np.quantile(drawn["top1"], [0.025, 0.975])
        plain += low <= truth["top1"] <= high
        low, high = percentiles(drawn["top1"], 0.95, 5)
        widened += low <= truth["top1"] <= high
    assert plain < 0.88 * 300 < widened


def test_the_interval_of_many_clips_is_that_of_plain_percentiles():
    values = np.random.default_rng(0).normal(size=20_000)
    expected = np.quantile(values, [0.025, 0.975])
    assert percentiles(values, 0.95, 10_000) == pytest.approx(expected, abs=0.01)


def test_what_is_certain_has_the_exact_bound_over_the_units():
    scores = scores_of(5 * np.eye(8)[np.arange(40) % 8], np.arange(40) % 8)
    exact = binomtest(40, 40).proportion_ci(0.95, method="exact").low
    found = intervals(judge(scores), resamples=10)
    for name in ("top1", "top5", "mean_class", "macro_f1"):
        assert (found[name].low, found[name].high) == (pytest.approx(exact), 1.0)
    judged = judge(scores)
    grouped = intervals(judged, np.arange(40) % 10, unit="subject", resamples=10)
    exact = binomtest(10, 10).proportion_ci(0.95, method="exact").low
    assert grouped["top1"].low == pytest.approx(exact)
    assert (grouped["top1"].unit, grouped["top1"].units) == ("subject", 10)
    wrong = scores_of(scores.logits, (np.arange(40) + 1) % 8)
    found = intervals(judge(wrong), resamples=10)
    assert found["top1"].low == 0 < found["top1"].high < 0.1


def test_clips_without_a_group_stand_alone():
    scores = scores_of(np.eye(4)[[0, 1, 2, 3, 0]], [0, 1, 2, 3, -1])
    judged = judge(scores)
    units = group_units(judged, ["a", "", "", "a", "b"], scores)
    assert len(set(units.tolist())) == 3
    assert units[0] == units[3]


def test_groups_that_cannot_be_drawn_are_refused():
    scores = made_up(np.random.default_rng(0), 6)
    with pytest.raises(UsageError, match="found 2 groups for 6 clips") as caught:
        evaluate(scores, groups=["a", "b"])
    assert caught.value.code == "EVAL-002"
    with pytest.raises(UsageError, match="all 6 clips are of one group") as caught:
        evaluate(scores, groups=["a"] * 6)
    assert caught.value.code == "EVAL-020"


def test_the_interval_of_a_ratio():
    draw = np.random.default_rng(0)
    part, whole = draw.random(500) < 0.3, draw.random(500) < 0.6
    part &= whole
    interval = ratio_interval(part, whole, resamples=4000)
    share = part.sum() / whole.sum()
    spread = np.sqrt(share * (1 - share) / whole.sum())
    assert interval.low == pytest.approx(share - 1.96 * spread, abs=0.01)
    assert interval.high == pytest.approx(share + 1.96 * spread, abs=0.01)
    assert ratio_interval(part, np.zeros(500)) is None
    # none of those that could: the bound over the units that could, which are fewer
    interval = ratio_interval(np.zeros(500), whole)
    exact = binomtest(0, int(whole.sum())).proportion_ci(0.95, method="exact")
    assert (interval.low, interval.high) == (0.0, pytest.approx(exact.high))
