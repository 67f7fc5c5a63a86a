import numpy as np
import pytest
from scipy.stats import binomtest

from poselens.errors import UsageError
from poselens.evaluation.intervals import bootstrap_interval, paired_difference
from poselens.types import Scores


def judged(labels, right, classes=4, stream="rgb"):
    """Scores that are right exactly where told."""
    labels = np.asarray(labels)
    predicted = np.where(right, labels, (labels + 1) % classes)
    return Scores(
        np.eye(classes, dtype=np.float32)[predicted],
        [f"c{row}" for row in range(len(labels))],
        labels,
        [f"k{column}" for column in range(classes)],
        stream,
    )


def test_top1_interval_covers_the_truth_about_95_times_in_100():
    draw = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        scores = judged(draw.integers(0, 4, 200), draw.random(200) < 0.8)
        interval = bootstrap_interval(scores, seed=trial)
        covered += interval.low <= 0.8 <= interval.high
    assert 0.92 <= covered / 400 <= 0.98


def test_mean_class_interval_covers_the_truth_about_95_times_in_100():
    draw = np.random.default_rng(1)
    recalls = np.array([0.9, 0.8, 0.7, 0.5])
    covered = 0
    for trial in range(300):
        labels = draw.choice(4, 240, p=[0.4, 0.3, 0.2, 0.1])
        scores = judged(labels, draw.random(240) < recalls[labels])
        interval = bootstrap_interval(scores, "mean_class", seed=trial)
        covered += interval.low <= recalls.mean() <= interval.high
    assert 0.91 <= covered / 300 <= 0.98


def test_cells_give_the_interval_that_resampled_clips_give():
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 4, 150)
    right = draw.random(150) < 0.5 + labels / 10
    values = []
    for _ in range(4000):
        rows = draw.integers(0, 150, 150)
        values.append(np.mean([right[rows][labels[rows] == k].mean() for k in range(4)]))
    interval = bootstrap_interval(judged(labels, right), "mean_class", resamples=4000)
    assert [interval.low, interval.high] == pytest.approx(
        np.quantile(values, [0.025, 0.975]), abs=0.01
    )


def test_groups_that_rise_and_fall_together_widen_the_interval():
    draw = np.random.default_rng(3)
    subjects = np.repeat(np.arange(10), 30)
    right = draw.random(300) < draw.uniform(0.4, 1, 10)[subjects]
    scores = judged(draw.integers(0, 4, 300), right)
    alone = bootstrap_interval(scores)
    grouped = bootstrap_interval(scores, groups=[f"s{subject}" for subject in subjects])
    assert grouped.unit == "group"
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_groups_of_one_clip_change_nothing_but_the_draw():
    draw = np.random.default_rng(4)
    scores = judged(draw.integers(0, 4, 200), draw.random(200) < 0.7)
    alone = bootstrap_interval(scores, resamples=8000)
    grouped = bootstrap_interval(scores, groups=scores.ids, resamples=8000)
    assert [grouped.low, grouped.high] == pytest.approx([alone.low, alone.high], abs=0.011)


@pytest.mark.parametrize("right", [True, False])
def test_an_interval_of_certainty_is_not_a_point(right):
    interval = bootstrap_interval(judged(np.arange(40) % 4, np.full(40, right)))
    exact = binomtest(40 if right else 0, 40).proportion_ci(0.95, method="exact")
    assert [interval.low, interval.high] == pytest.approx([exact.low, exact.high])


def test_seeds_decide_the_interval():
    draw = np.random.default_rng(5)
    scores = judged(draw.integers(0, 4, 99), draw.random(99) < 0.7)
    assert bootstrap_interval(scores, seed=1) == bootstrap_interval(scores, seed=1)


def test_paired_difference_covers_the_truth_and_is_narrower_than_two_intervals():
    draw = np.random.default_rng(6)
    covered = 0
    for trial in range(300):
        labels = draw.integers(0, 4, 200)
        chance = draw.random(200)
        # both fail on the same hard clips, so the difference is known better than either
        ours = paired_difference(
            judged(labels, chance < 0.8), judged(labels, chance < 0.75), seed=trial
        )
        covered += ours.interval.low <= 0.05 <= ours.interval.high
    assert 0.90 <= covered / 300 <= 0.98
    alone = bootstrap_interval(judged(labels, chance < 0.8))
    assert ours.interval.high - ours.interval.low < alone.high - alone.low
    assert ours.only_second == 0
    assert ours.value == pytest.approx(ours.only_first / 200)


def test_paired_difference_matches_clips_by_id_and_groups_with_them():
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 4, 60)
    first = judged(labels, draw.random(60) < 0.9)
    second = judged(labels, draw.random(60) < 0.5)
    order = draw.permutation(60)[:50]
    shuffled = Scores(
        second.logits[order], [second.ids[row] for row in order], labels[order], first.classes, "x"
    )
    groups = [f"s{row % 7}" for row in range(60)]
    found = paired_difference(first, shuffled, groups=groups)
    kept = np.sort(order)
    expected = (first.logits[kept].argmax(1) == labels[kept]).mean() - (
        second.logits[kept].argmax(1) == labels[kept]
    ).mean()
    assert found.n == 50
    assert found.value == pytest.approx(expected)
    assert found.interval.low < found.value < found.interval.high
    assert found.interval.unit == "group"
    by_class = paired_difference(first, shuffled, "mean_class")
    recalls = [
        [(stream.logits[row].argmax() == k) for row in kept if labels[row] == k]
        for stream in (first, second)
        for k in range(4)
    ]
    means = [np.mean(part) for part in recalls]
    assert by_class.value == pytest.approx(np.mean(means[:4]) - np.mean(means[4:]))


def test_refusals():
    scores = judged([0, 1], [True, False])
    with pytest.raises(UsageError, match="found 1 groups for 2 clips"):
        bootstrap_interval(scores, groups=["a"])
    with pytest.raises(UsageError, match="found 1 groups for 2 clips"):
        paired_difference(scores, scores, groups=["a"])
    other = Scores(scores.logits, ["p", "q"], scores.labels, scores.classes, "bone")
    with pytest.raises(UsageError, match="no labelled clip is common"):
        paired_difference(scores, other)
