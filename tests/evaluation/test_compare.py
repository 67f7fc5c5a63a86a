import numpy as np
import pytest

from poselens.errors import AnnotationError, UsageError
from poselens.evaluation.compare import compare, summarise
from poselens.evaluation.intervals import bootstrap_interval, paired_difference
from poselens.types import Scores

CLASSES = ["a", "b", "c"]
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])


def scores(right: str, *, ids: list[str] | None = None, labels=LABELS, classes=CLASSES) -> Scores:
    """Scores that are right where the text has a 1."""
    logits = np.zeros((len(right), len(classes)), np.float32)
    for row, mark in enumerate(right):
        logits[row, (labels[row] + (mark != "1")) % len(classes)] = 1
    return Scores(logits, ids or [f"c{n}" for n in range(len(right))], labels, classes, "joint")


def many(accuracy: float, seed: int, clips: int = 400) -> Scores:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, clips)
    return scores("".join("10"[draw.random() > accuracy] for _ in range(clips)), labels=labels)


def test_means_and_deviations_by_hand():
    clips, spreads = summarise({"0": scores("11110000"), "1": scores("11111111")})
    assert clips == 8
    top1, mean_class = spreads["top1"], spreads["mean_class"]
    assert top1.each == {"0": 0.5, "1": 1.0}
    assert (top1.mean, top1.deviation) == (0.75, pytest.approx(0.5 / 2**0.5))
    assert mean_class.each == {"0": pytest.approx(1 / 3), "1": 1.0}
    assert mean_class.mean == pytest.approx(2 / 3)
    assert 0.45 <= top1.interval.low < 0.75 < top1.interval.high <= 1
    assert summarise({"0": scores("11110000")})[1]["top1"].deviation is None


def test_the_interval_is_that_of_the_seed_averaged_clips():
    """A plain loop over resamples of clips, with other draws: ends agree but for that."""
    seeds = {"0": many(0.8, 0, 300)}
    seeds["1"] = Scores(
        many(0.7, 9, 300).logits, seeds["0"].ids, seeds["0"].labels, CLASSES, "joint"
    )
    labels = np.asarray(seeds["0"].labels)
    share = np.mean([each.logits.argmax(1) == labels for each in seeds.values()], axis=0)
    draw = np.random.default_rng(1)
    drawn = {"top1": [], "mean_class": []}
    for _ in range(3000):
        rows = draw.integers(0, 300, 300)
        drawn["top1"].append(share[rows].mean())
        drawn["mean_class"].append(
            np.mean([share[rows][labels[rows] == k].mean() for k in range(3)])
        )
    _, spreads = summarise(seeds, resamples=3000)
    for metric, values in drawn.items():
        interval = spreads[metric].interval
        assert (interval.low, interval.high) == pytest.approx(
            np.quantile(values, [0.025, 0.975]), abs=0.01
        )


def test_one_seed_is_the_interval_of_a_stream():
    one = many(0.8, 0)
    ours = summarise({"0": one}, resamples=8000)[1]["top1"].interval
    theirs = bootstrap_interval(one, resamples=8000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    gain = compare({"0": one}, {"0": many(0.7, 0)}, resamples=8000)
    pair = paired_difference(one, many(0.7, 0), resamples=8000)
    assert gain.value == pytest.approx(pair.value)
    assert (gain.interval.low, gain.interval.high) == pytest.approx(
        (pair.interval.low, pair.interval.high), abs=0.006
    )


def test_where_all_is_right_or_wrong_the_bound_is_exact():
    clips, spreads = summarise({"0": scores("1" * 8), "1": scores("1" * 8)})
    interval = spreads["top1"].interval
    assert (interval.low, interval.high) == (pytest.approx(0.025 ** (1 / 8)), 1.0)
    assert spreads["mean_class"].interval.low == interval.low
    assert summarise({"0": scores("0" * 8)})[1]["top1"].interval.high < 0.5
    assert clips == 8


def test_a_difference_by_hand():
    better = {"0": scores("11111110"), "1": scores("11111100"), "2": scores("11111111")}
    worse = {"0": scores("11110000"), "1": scores("11111000"), "2": scores("11110010")}
    gain = compare(better, worse)
    assert gain.value == pytest.approx((7 + 6 + 8 - 4 - 5 - 5) / 24)
    assert gain.each == {
        "0": pytest.approx(3 / 8), "1": pytest.approx(1 / 8), "2": pytest.approx(3 / 8),
    }  # fmt: skip
    assert gain.deviation == pytest.approx(np.std([3, 1, 3], ddof=1) / 8)
    # no clip is right less often than before, so no resample says worse
    assert gain.interval.low >= 0
    assert gain.n == 8
    assert compare(worse, better).value == pytest.approx(-gain.value)


def test_p_is_that_of_the_resamples():
    first, second = {"0": scores("11111111")}, {"0": scores("01111111")}
    gain = compare(first, second, resamples=20000)
    # the one clip that differs is absent from a resample with probability (7/8)^8
    assert gain.p == pytest.approx(2 * (7 / 8) ** 8, abs=0.02)
    assert gain.within_noise
    assert gain.verdict == "within noise"
    assert compare(first, first).p == 1
    assert compare({"0": many(0.9, 0)}, {"0": many(0.3, 0)}).p == pytest.approx(2 / 2001)


def test_verdicts():
    strong, weak = many(0.9, 0), many(0.6, 0)
    assert compare({"0": strong}, {"0": weak}).verdict == "better"
    assert compare({"0": weak}, {"0": strong}).verdict == "worse"
    torn = compare({"0": strong, "1": weak}, {"0": many(0.4, 0), "1": many(0.65, 0)})
    assert torn.interval.low > 0
    assert torn.each["1"] < 0 < torn.each["0"]
    assert torn.verdict == "seeds disagree"


def test_seeds_of_their_own():
    gain = compare({"0": scores("11111111"), "1": scores("11110000")}, {"5": scores("10000000")})
    assert (gain.each, gain.deviation) == ({}, None)
    others = {"5": scores("10000000"), "6": scores("11110000")}
    gain = compare({"0": scores("11111111"), "1": scores("11110000")}, others)
    assert gain.deviation == pytest.approx(
        np.hypot(np.std([1, 0.5], ddof=1), np.std([0.125, 0.5], ddof=1))
    )


def test_groups_are_drawn_whole():
    one = many(0.5, 3, 60)
    same = {clip: str(n // 20) for n, clip in enumerate(one.ids)}
    wide = summarise({"0": one}, groups=same)[1]["top1"].interval
    alone = summarise({"0": one}, groups={clip: clip for clip in one.ids})[1]["top1"].interval
    assert (wide.unit, alone.unit) == ("group", "group")
    # three groups that are nearly alike: no more is known than their spread and Student's t say
    right = one.logits.argmax(1) == one.labels
    shares = [right[n : n + 20].mean() for n in (0, 20, 40)]
    reach = 4.303 * np.std(shares, ddof=1) / 3**0.5
    assert (wide.low, wide.high) == pytest.approx(
        (np.mean(shares) - reach, np.mean(shares) + reach), abs=0.015
    )
    assert alone == summarise({"0": one}, groups={c: f"x{c}" for c in one.ids})[1]["top1"].interval
    with pytest.raises(UsageError, match="60 of 60 clips have no group, the first 'c0'"):
        summarise({"0": one}, groups={})


def test_clips_that_one_seed_lacks_count_for_none():
    short = scores("1110", ids=["c0", "c1", "c2", "c3"], labels=LABELS[:4])
    clips, spreads = summarise({"0": scores("11110000"), "1": short})
    assert (clips, spreads["top1"].each) == (4, {"0": 1.0, "1": 0.75})
    assert compare({"0": scores("11110000")}, {"0": short}).n == 4


def test_scores_that_do_not_fit():
    with pytest.raises(UsageError, match="no labelled clip is common to 0, 1") as caught:
        summarise({"0": scores("1" * 8), "1": scores("1" * 8, ids=[f"d{n}" for n in range(8)])})
    assert caught.value.code == "EVAL-001"
    with pytest.raises(UsageError, match="differ in their classes"):
        compare({"0": scores("1" * 8)}, {"0": scores("1" * 8, classes=["a", "b", "d"])})
    with pytest.raises(AnnotationError, match="clip 'c0' is 'a' in one stream and 'b'"):
        compare({"0": scores("1" * 8)}, {"0": scores("1" * 8, labels=(LABELS + 1) % 3)})


def test_facts_for_json():
    gain = compare({"0": scores("11111110")}, {"0": scores("11110000")}).as_dict()
    assert gain["each"] == {"0": pytest.approx(3 / 8)}
    assert gain["verdict"] in ("better", "within noise")
    _, spreads = summarise({"0": scores("11110000")})
    facts = spreads["top1"].as_dict()
    assert (facts["mean"], facts["deviation"], facts["each"]) == (0.5, None, {"0": 0.5})
