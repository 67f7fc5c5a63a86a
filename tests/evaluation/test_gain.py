import json
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.errors import UsageError
from poselens.evaluation.gain import StreamCost, fusion_gain, mcnemar, paired_gain
from poselens.fusion.held_out import fixed
from poselens.fusion.weights import fixed_weights
from poselens.types import Scores


def made(name, right, clips=None):
    """A stream that is right where it is said to be, of two classes."""
    right = np.asarray(right, dtype=bool)
    labels = np.arange(len(right)) % 2
    best = np.where(right, labels, 1 - labels)
    ids = clips or [f"c{row}" for row in range(len(right))]
    return Scores((2.0 * np.eye(2)[best]).astype(np.float32), ids, labels, ["a", "b"], name)


@given(first=st.integers(0, 40), second=st.integers(0, 40))
def test_mcnemar_is_a_binomial_by_hand(first, second):
    differing = first + second
    chances = [Fraction(comb(differing, k), 2**differing) for k in range(differing + 1)]
    as_uneven = [
        chance for k, chance in enumerate(chances) if abs(2 * k - differing) >= abs(first - second)
    ]
    assert mcnemar(first, second).p == pytest.approx(float(sum(as_uneven)), rel=1e-9)


def test_mcnemar_of_a_textbook_split():
    # 1 against 9: twice the chance of at most 1 head in 10 throws, 2 * 11 / 1024
    assert mcnemar(1, 9).p == pytest.approx(22 / 1024)
    assert mcnemar(0, 0).p == 1.0


def test_a_paired_gain_counts_clips_one_alone_has_right():
    first = made("fused", [1] * 90 + [0] * 10)
    second = made("joint", [1] * 70 + [0] * 20 + [1] * 5 + [0] * 5)
    gain = paired_gain(first, second)
    assert (gain.test.only_first, gain.test.only_second) == (20, 5)
    assert gain.difference.value == pytest.approx(0.15)
    assert gain.test.p == pytest.approx(mcnemar(20, 5).p)
    assert gain.difference.interval.low > 0
    assert gain.verdict == "worth it"
    assert paired_gain(second, first).verdict == "harms"
    assert paired_gain(first, first).verdict == "inside the noise"
    facts = json.loads(json.dumps(gain.as_dict()))
    assert facts["mcnemar"]["p"] == gain.test.p
    assert facts["interval"] == [gain.difference.interval.low, gain.difference.interval.high]


def test_groups_widen_the_interval_and_every_clip_needs_one():
    first = made("fused", [1, 1, 1, 1, 1, 0, 0, 0, 0, 0] * 8)
    second = made("joint", [1, 0, 0, 0, 0, 1, 0, 0, 0, 0] * 8)
    groups = {clip: str(row % 10) for row, clip in enumerate(first.ids)}
    whole, single = paired_gain(first, second, groups=groups), paired_gain(first, second)
    assert whole.difference.interval.unit == "group"
    wide = whole.difference.interval.high - whole.difference.interval.low
    assert wide > single.difference.interval.high - single.difference.interval.low
    del groups["c3"]
    with pytest.raises(UsageError, match="1 of 80 clips have no group, the first 'c3'"):
        paired_gain(first, second, groups=groups)


def noisy(name, seed, strength, clips=400):
    labels = np.arange(clips) % 5
    logits = np.random.default_rng(seed).normal(0, 1, (clips, 5)) + strength * np.eye(5)[labels]
    ids = [f"c{row}" for row in range(clips)]
    return Scores(logits.astype(np.float32), ids, labels, list("abcde"), name)


def test_a_stream_that_helps_one_that_repeats_and_one_that_harms():
    first = noisy("joint", 1, 1.5)
    other = noisy("rgb", 2, 1.5)
    harm = noisy("noise", 4, 0.0)
    harm = Scores(6 * harm.logits, harm.ids, harm.labels, harm.classes, "noise")
    weights = fixed_weights(["joint", "rgb", "noise"], "equal")
    costs = {"rgb": StreamCost(32.7, 24_000_000), "joint": StreamCost(0.7, 1_430_000, 4.2)}
    found = fusion_gain([first, other, harm], fixed(weights), clips="validation", costs=costs)
    verdicts = {entry.stream: entry.gain.verdict for entry in found.worth}
    assert verdicts == {"joint": "worth it", "rgb": "worth it", "noise": "harms"}
    told = {entry.stream: entry.sentence() for entry in found.worth}
    assert "for 32.70 GMACs, 24.00 M parameters: it is worth having" in told["rgb"]
    assert "4.2 ms" in told["joint"]
    assert told["noise"].endswith("to the other streams: it does harm")
    assert found.best in ("joint", "rgb")
    assert found.over_best is found.against[found.best]
    facts = json.loads(json.dumps(found.as_dict()))
    assert facts["clips"] == "validation"
    assert facts["worth"][0]["cost"]["gmacs"] == 0.7
    twin = Scores(first.logits, first.ids, first.labels, first.classes, "twin")
    pair = fixed(fixed_weights(["joint", "twin"], "equal"))
    again = fusion_gain([first, twin], pair, clips="validation")
    assert [entry.gain.verdict for entry in again.worth] == ["inside the noise"] * 2
    assert "inside the noise of 400 clips" in again.worth[0].sentence()


def test_clips_that_only_the_stream_left_out_knows_are_not_compared():
    rgb, joint = noisy("rgb", 1, 1.5), noisy("joint", 2, 1.5)
    few = Scores(joint.logits[:100], joint.ids[:100], joint.labels[:100], joint.classes, "joint")
    found = fusion_gain([rgb, few], fixed(fixed_weights(["rgb", "joint"], "equal")), clips="v")
    counts = {entry.stream: entry.gain.difference.n for entry in found.worth}
    assert counts == {"rgb": 100, "joint": 400}


def test_the_verdict_of_simulated_twins_is_wrong_as_rarely_as_it_says():
    """Two streams of one quality: the 95 % interval leaves 0 out in about one of twenty cases."""
    draw = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        pair = [made(name, draw.random(150) < 0.7) for name in ("fused", "joint")]
        wrong += paired_gain(*pair, resamples=400).verdict != "inside the noise"
    assert 1 <= wrong <= 24
