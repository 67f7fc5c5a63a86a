import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_scores import made_up, people, scores_of

from poselens.errors import UsageError
from poselens.evaluation.hierarchy import evaluate_hierarchy
from poselens.evaluation.metrics import evaluate

GYM = {
    "event": ["beam", "beam", "beam", "bars", "bars", "bars"],
    "set": ["leap", "leap", "dismount", "dismount", "swing", "swing"],
}


def told(labels, predicted, classes=6):
    return scores_of(np.eye(classes)[predicted], labels)


def test_accuracies_and_distances_by_hand():
    # right, wrong within the set, within the event, between events under one name, far off
    found = evaluate_hierarchy(told([0, 0, 1, 2, 5], [0, 1, 2, 3, 0]), GYM, resamples=50)
    assert [(each.level, each.nodes, each.top1) for each in found.levels] == [
        ("event", 2, 0.6),
        ("set", 4, 0.4),
        ("class", 6, 0.2),
    ]
    # beam: 3 of 4 clips; bars: none of 1
    assert found.levels[0].mean_class == pytest.approx((3 / 4 + 0) / 2)
    # leap on beam: 2 of 3; dismount on beam, swing: none
    assert found.levels[1].mean_class == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert found.mistakes == 4
    assert found.within_parent == 0.25
    assert found.distance == pytest.approx((1 + 2 + 3 + 3) / 4)
    assert found.by_ancestor == {"set": 1, "event": 1, "nothing": 2}
    # siblings of the labels of the mistakes: 1, 1, 0, 1 of the 5 other classes
    assert found.within_parent_by_guess == pytest.approx(3 / 4 / 5)
    json.dumps(found.as_dict(), allow_nan=False)


def test_without_a_mistake_there_is_no_distance():
    found = evaluate_hierarchy(told([0, 3], [0, 3]), GYM, resamples=20)
    assert (found.mistakes, found.within_parent, found.distance) == (0, None, None)
    assert found.within_parent_interval is found.distance_interval is None
    assert found.within_parent_by_guess is None
    json.dumps(found.as_dict(), allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_levels_are_ever_easier_upwards_and_agree_with_the_metrics(seed, depth):
    draw = np.random.default_rng(seed)
    levels = {f"level{n}": [f"n{x}" for x in draw.integers(0, 3, 7)] for n in range(depth)}
    scores = made_up(draw, 40, 7, 0.5)
    found = evaluate_hierarchy(scores, levels, resamples=20)
    shares = [each.top1 for each in found.levels]
    assert shares == sorted(shares, reverse=True)
    plain = evaluate(scores, resamples=20)
    assert shares[-1] == plain.top1
    assert found.levels[-1].mean_class == pytest.approx(plain.mean_class)
    assert sum(found.by_ancestor.values()) == found.mistakes == round((1 - plain.top1) * 40)
    # the mistakes whose nearest shared level is this one or a finer one are right on it
    up = list(found.by_ancestor.values())
    for place in range(depth):
        assert shares[depth - 1 - place] == pytest.approx(plain.top1 + sum(up[: place + 1]) / 40)
    for each in found.levels:
        assert each.top1_interval.low <= each.top1 <= each.top1_interval.high


def test_whole_people_are_drawn():
    scores, groups = people(np.random.default_rng(0), 12, 30)
    levels = {"half": ["x", "x", "y", "y"]}
    alone = evaluate_hierarchy(scores, levels)
    found = evaluate_hierarchy(scores, levels, groups=groups, unit="subject")
    assert found.levels[0].top1_interval.unit == found.distance_interval.unit == "subject"
    ours, theirs = found.levels[-1].top1_interval, alone.levels[-1].top1_interval
    assert ours.high - ours.low > 1.5 * (theirs.high - theirs.low)


@pytest.mark.parametrize(
    ("levels", "text"),
    [({}, "the hierarchy has no level"), ({"event": ["beam"]}, "'event' has 1 names for 6")],
)
def test_a_hierarchy_that_does_not_fit(levels, text):
    with pytest.raises(UsageError, match=text) as caught:
        evaluate_hierarchy(told([0], [0]), levels)
    assert caught.value.code == "EVAL-021"
