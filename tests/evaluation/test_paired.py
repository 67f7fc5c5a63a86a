import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_scores import made_up, people, scores_of
from scipy.stats import binom, binomtest

from poselens.errors import UsageError
from poselens.evaluation.gain import mcnemar
from poselens.evaluation.intervals import paired_difference
from poselens.evaluation.metrics import evaluate
from poselens.evaluation.paired import compare_pair, holm


def told(predicted, labels, classes=3):
    return scores_of(np.eye(classes)[predicted], labels)


def test_counts_and_clips_by_hand():
    labels = [0, 0, 0, 1, 1, 2]
    found = compare_pair(
        told([0, 0, 1, 1, 0, 0], labels), told([1, 0, 1, 0, 1, 0], labels), resamples=50
    )
    assert (found.n, found.both, found.neither, found.left_out) == (6, 1, 2, 0)
    assert (found.only_first, found.only_second) == (["c0", "c3"], ["c4"])
    assert found.differences["top1"].value == pytest.approx(3 / 6 - 2 / 6)
    moves = {each.name: each for each in found.classes}
    assert (moves["k0"].first, moves["k0"].second) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (moves["k1"].only_first, moves["k1"].only_second) == (1, 1)
    assert [each.name for each in found.classes] == ["k0", "k1", "k2"]
    json.dumps(found.as_dict(), allow_nan=False)


def test_figures_are_those_of_each_by_itself_and_differences_agree():
    draw = np.random.default_rng(0)
    first = made_up(draw, 300, 8)
    second = replace(first, logits=first.logits + draw.normal(0, 1, (300, 8)).astype(np.float32))
    found = compare_pair(first, second)
    for scores, side in ((first, "first"), (second, "second")):
        alone = evaluate(scores, resamples=2)
        for name, each in found.differences.items():
            assert getattr(each, side) == pytest.approx(getattr(alone, name), abs=1e-9)
    for metric in ("top1", "mean_class"):
        other = paired_difference(first, second, metric)
        ours = found.differences[metric]
        assert ours.value == pytest.approx(other.value)
        assert (ours.interval.low, ours.interval.high) == pytest.approx(
            (other.interval.low, other.interval.high), abs=0.012
        )


def twins(draw, subjects, clips, gap):
    """Two streams that fail on the same people; the second is worse by ``gap``."""
    first, groups = people(draw, subjects, clips)
    logits = first.logits + draw.normal(0, 0.5, first.logits.shape)
    logits[np.arange(len(logits)), first.labels] -= gap
    return first, scores_of(logits, first.labels), dict(zip(first.ids, groups, strict=True))


def test_paired_intervals_over_people_cover():
    first, second, _ = twins(np.random.default_rng(99), 5000, 20, 0.4)
    names = ("top1", "mean_class", "nll", "brier")
    whole = compare_pair(first, second, resamples=1)
    truth = {name: whole.differences[name].value for name in names}
    covered = dict.fromkeys(names, 0)
    for trial in range(200):
        first, second, groups = twins(np.random.default_rng(trial), 15, 20, 0.4)
        found = compare_pair(first, second, groups=groups, unit="subject", resamples=300)
        for name in names:
            interval = found.differences[name].interval
            covered[name] += interval.low <= truth[name] <= interval.high
    assert (interval.unit, interval.units) == ("subject", 15)
    for name in names:
        assert binom.ppf(0.0015, 200, 0.93) <= covered[name] <= 199, (name, covered[name])


def test_the_same_scores_differ_in_nothing_as_far_as_is_known():
    scores = made_up(np.random.default_rng(1), 50, 8)
    found = compare_pair(scores, scores, resamples=50)
    top1 = found.differences["top1"]
    assert (top1.value, found.p) == (0.0, 1.0)
    exact = binomtest(0, 50).proportion_ci(0.95, method="exact").high
    assert (top1.interval.low, top1.interval.high) == pytest.approx((-exact, exact))
    assert top1.within_noise
    nll = found.differences["nll"].interval
    assert (nll.low, nll.high) == (0.0, 0.0)


def test_clips_are_matched_by_id_and_those_of_one_side_are_counted():
    draw = np.random.default_rng(2)
    first = made_up(draw, 30, 4)
    order = draw.permutation(30)[:20]
    second = scores_of(
        first.logits[order], first.labels[order], ids=[first.ids[row] for row in order]
    )
    found = compare_pair(first, second, resamples=20)
    assert (found.n, found.left_out) == (20, 10)
    assert found.differences["nll"].value == pytest.approx(0)
    other = scores_of(first.logits, first.labels, ids=[f"x{row}" for row in range(30)])
    with pytest.raises(UsageError, match="no labelled clip is common to both") as caught:
        compare_pair(first, other)
    assert caught.value.code == "EVAL-001"


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test(ours, theirs):
    n, low = ours + theirs, min(ours, theirs)
    expected = min(1.0, 2 * binom.cdf(low, n, 0.5)) if n else 1.0
    assert mcnemar(ours, theirs).p == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_steps_down(chances):
    found = holm(chances)
    order = np.argsort(chances, kind="stable")
    worst = 0.0
    for step, place in enumerate(order):
        worst = max(worst, min(1.0, (len(chances) - step) * chances[place]))
        assert found[place] == pytest.approx(worst)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
