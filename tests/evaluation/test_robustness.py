import json

import pytest
from disturbed_scores import drawn_card, drawn_curve, scores_right

from poselens.evaluation.intervals import paired_difference
from poselens.evaluation.metrics import evaluate
from poselens.evaluation.robustness import (
    area,
    half_level,
    judge,
    level_text,
    sentences,
    verdict,
    with_unit,
)


def test_a_point_is_the_evaluation_and_the_paired_difference():
    whole, worse = scores_right("joint", 0.9), scores_right("joint", 0.7)
    point = judge(worse, level=0.2, skipped=3, undisturbed=whole)
    found = evaluate(worse)
    assert (point.level, point.skipped, point.n) == (0.2, 3, 400)
    assert (point.top1, point.interval) == (found.top1, found.top1_interval)
    assert (point.mean_class, point.mean_class_interval) == (
        found.mean_class,
        found.mean_class_interval,
    )
    assert point.change == paired_difference(worse, whole)
    assert point.mean_class_change == paired_difference(worse, whole, "mean_class")
    assert point.change.value == pytest.approx(-0.2)
    assert judge(whole, level=0.0, skipped=0, undisturbed=None).change is None


def test_five_points_are_lost_on_the_line_between_two_severities():
    curve = drawn_curve("joint", {0: 0.9, 0.1: 0.88, 0.2: 0.8, 0.4: 0.3})
    # 2 points at 0.1 and 10 at 0.2: three eighths of the way
    assert half_level(curve) == 0.14
    assert half_level(curve, loss=0.6) == 0.4
    assert half_level(curve, loss=0.7) is None
    assert half_level(drawn_curve("joint", {1: 0.9, 2: 0.8})) == pytest.approx(1.5)


def test_a_loss_that_comes_back_counts_where_it_was_first():
    curve = drawn_curve("joint", {0: 0.9, 0.1: 0.8, 0.2: 0.9})
    assert half_level(curve) == pytest.approx(0.05)


def test_the_area_is_a_mean_over_the_severities():
    assert area(drawn_curve("joint", {0: 0.8, 0.2: 0.8, 0.4: 0.8})) == pytest.approx(0.8)
    assert area(drawn_curve("joint", {0: 0.8, 0.1: 0.4, 0.4: 0.4})) == pytest.approx(0.45)
    assert area(drawn_curve("joint", {0: 0.8})) is None


@pytest.mark.parametrize(
    ("shares", "clips", "word", "sure"),
    [
        ({0: 0.9, 0.1: 0.9, 0.2: 0.89}, 400, "steady", True),
        ({0: 0.9, 0.1: 0.9, 0.2: 0.86}, 400, "steady", False),
        ({0: 0.9, 0.1: 0.89, 0.2: 0.6}, 400, "sensitive", True),
        ({0: 0.9, 0.1: 0.8, 0.2: 0.6}, 400, "fragile", True),
        ({0: 0.9, 0.1: 0.85}, 20, "fragile", False),
        ({0: 0.12, 0.1: 0.12}, 400, "chance", True),
    ],
)
def test_the_word_for_a_curve(shares, clips, word, sure):
    found = verdict(drawn_curve("joint", shares, clips), chance=0.1)
    assert (found.word, found.sure) == (word, sure)
    assert (found.half_level is None) == (word in ("steady", "chance"))


def test_the_worst_point_is_named():
    found = verdict(drawn_curve("joint", {0: 0.9, 0.1: 0.6, 0.2: 0.7}), chance=0.1)
    assert found.worst.level == 0.1
    assert verdict(drawn_curve("joint", {0: 0.8, 0.1: 0.9}), chance=0.1).worst.level == 0


def test_severities_are_written_as_people_say_them():
    share, times, _ = drawn_card().trials
    assert level_text(share, 0.2) == with_unit(share, 0.2) == "20 %"
    assert level_text(share, 0.025) == "2.5 %"
    assert level_text(share, 1.0) == "100 %"
    assert with_unit(times, 3.0) == "3 times fewer"
    assert with_unit(times, 40.0) == "40 times fewer"


def test_the_outcome_in_sentences():
    first, breaks, holds, *without = sentences(drawn_card())
    assert first.startswith("Undisturbed, fused is right in 96.0 % of 400 clips (93.")
    assert first.endswith("guessing is right in 10.0 %.")
    assert breaks == (
        "It loses 5 points when 28 % of the joints are missing; "
        "when the frame rate is 2.3 times lower."
    )
    assert holds == ("It does not lose 5 points by: something stands in front (tried up to 40 %).")
    assert without[0].startswith("Without rgb it is right in 90.0 %: −6.0 (−")


def test_a_model_that_guesses_has_nothing_to_lose():
    from dataclasses import replace

    guess = judge(scores_right("joint", 0.1), level=0.0, skipped=0, undisturbed=None)
    card = replace(drawn_card(), undisturbed=[("joint", guess)], without=[])
    assert sentences(card)[1:] == ["It may be guessing, so it has nothing to lose."]


def test_the_facts_are_plain_json():
    facts = json.loads(json.dumps(drawn_card().as_dict(), allow_nan=False))
    assert (facts["clips"], facts["of"], facts["subset"]) == (400, 1000, True)
    curve = facts["kinds"]["joint-dropout"]["streams"]["joint"]
    assert curve["word"] == "sensitive"
    assert [point["level"] for point in curve["points"]] == [0, 0.1, 0.2, 0.4, 0.6]
    assert curve["points"][0]["change"] is None
    assert curve["points"][4]["change"]["interval"]["high"] < -0.5
    assert facts["without"]["rgb"]["change"]["value"] == pytest.approx(-0.06)
