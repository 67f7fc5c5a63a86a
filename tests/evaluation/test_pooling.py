import numpy as np
import pytest
from table_run import some_scores

from poselens.errors import UsageError
from poselens.evaluation.pooling import judge_pooled, pool
from poselens.types import Scores


def fold(number, clips=30, accuracy=0.7, stream="joint", classes=("a", "b", "c")):
    scores = some_scores(stream, accuracy, number, clips, classes)
    ids = [f"f{number}c{row:03d}" for row in range(clips)]
    return Scores(scores.logits, ids, scores.labels, scores.classes, stream)


def right(scores):
    return scores.logits.argmax(axis=1) == np.asarray(scores.labels)


FOLDS = {
    f"fold-{number}": fold(number, 20 + 10 * number, 0.5 + 0.1 * number) for number in range(4)
}


def test_pooled_accuracy_is_that_of_all_clips_and_folds_are_told_apart():
    judged = judge_pooled(FOLDS)
    each = [right(scores) for scores in FOLDS.values()]
    assert judged.evaluation.n == sum(map(len, each))
    assert judged.evaluation.top1 == pytest.approx(np.concatenate(each).mean())
    assert [entry.top1 for entry in judged.folds] == pytest.approx([r.mean() for r in each])
    mean, deviation = judged.spread("top1")
    assert mean == pytest.approx(np.mean([r.mean() for r in each]))
    assert deviation == pytest.approx(np.std([r.mean() for r in each], ddof=1))
    assert (judged.groups, judged.evaluation.top1_interval.unit) == (None, "clip")
    facts = judged.as_dict()
    assert [entry["fold"] for entry in facts["folds"]] == list(FOLDS)
    assert facts["over_folds"]["top1"] == {"mean": mean, "deviation": deviation}


def test_pooled_scores_are_the_folds_one_after_another():
    pooled = pool(FOLDS)
    np.testing.assert_array_equal(
        pooled.logits, np.concatenate([scores.logits for scores in FOLDS.values()])
    )
    assert list(pooled.ids) == [clip for scores in FOLDS.values() for clip in scores.ids]
    assert (pooled.stream, pooled.views) == ("joint", "centre")


def test_the_interval_draws_whole_groups():
    """A plain loop over resamples of groups, with other draws: the ends agree but for that."""
    scores = pool(FOLDS)
    draw = np.random.default_rng(3)
    groups = {clip: f"g{row // 5:02d}" for row, clip in enumerate(scores.ids)}
    judged = judge_pooled(FOLDS, groups=groups)
    correct = dict(zip(scores.ids, right(scores).tolist(), strict=True))
    members = {}
    for clip, name in groups.items():
        members.setdefault(name, []).append(correct[clip])
    names = list(members)
    values = []
    for _ in range(3000):
        drawn = [each for name in draw.choice(names, len(names)) for each in members[name]]
        values.append(np.mean(drawn))
    interval = judged.evaluation.top1_interval
    assert (interval.low, interval.high) == pytest.approx(
        np.quantile(values, [0.025, 0.975]), abs=0.015
    )
    assert (interval.unit, judged.groups) == ("group", len(names))
    # clips of a group that are right or wrong together make it wider than clips alone
    alike = {clip: ("r" if correct[clip] else "w") + str(row % 9)
             for row, clip in enumerate(scores.ids)}  # fmt: skip
    wide = judge_pooled(FOLDS, groups=alike).evaluation.top1_interval
    narrow = judge_pooled(FOLDS).evaluation.top1_interval
    assert wide.high - wide.low > narrow.high - narrow.low


def test_pooled_intervals_cover():
    """Groups differ in how hard they are; the true mean lies in about 95 % of intervals."""
    draw = np.random.default_rng(0)
    held, trials, truth = 0, 120, 0.7
    for _ in range(trials):
        hard = draw.beta(7, 3, 30)
        marks = [draw.random(12) < p for p in hard]
        logits = np.zeros((360, 2), np.float32)
        logits[np.arange(360), (~np.concatenate(marks)).astype(int)] = 1
        ids = [f"c{row}" for row in range(360)]
        halves = {}
        for name, rows in (("fold-1", slice(0, 180)), ("fold-2", slice(180, 360))):
            halves[name] = Scores(logits[rows], ids[rows], np.zeros(180, int), ["a", "b"], "joint")
        groups = {clip: str(row // 12) for row, clip in enumerate(ids)}
        found = judge_pooled(halves, groups=groups).evaluation.top1_interval
        held += found.low <= truth <= found.high
    assert held / trials > 0.88


@pytest.mark.parametrize(
    ("folds", "code", "message"),
    [
        ({}, "EVAL-045", "there are no scores to pool"),
        ({"a": fold(1), "b": fold(1)}, "EVAL-045", "clip 'f1c000' is in a and in b"),
        (
            {"a": fold(1), "b": fold(2, stream="bone")},
            "EVAL-045",
            "a holds the stream 'joint', b 'bone'",
        ),
        ({"a": fold(1), "b": fold(2, classes=("a", "b", "d"))}, "FUS-002", "a and b differ"),
    ],
)
def test_what_cannot_be_pooled(folds, code, message):
    with pytest.raises(UsageError, match=message) as caught:
        pool(folds)
    assert caught.value.code == code


def test_every_clip_needs_a_group():
    groups = dict.fromkeys(pool(FOLDS).ids, "g") | {"f0c000": ""}
    with pytest.raises(UsageError, match="1 of 140 clips have no group, the first 'f0c000'"):
        judge_pooled(FOLDS, groups=groups)
