from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from poselens.errors import UsageError
from poselens.evaluation.metrics import calibration_error
from poselens.evaluation.reliability import Calibration, reliability
from poselens.evaluation.reliability_figure import reliability_figure
from poselens.types import Scores


def drawn(clips=400, classes=5, seed=0, sharpness=2.0, stream="rgb"):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, clips)
    logits = draw.normal(0, 1, (clips, classes)) + sharpness * np.eye(classes)[labels]
    ids = [f"c{row}" for row in range(clips)]
    names = [f"k{index}" for index in range(classes)]
    return Scores(logits.astype(np.float32), ids, labels, names, stream)


@pytest.mark.parametrize(("adaptive", "strategy"), [(False, "uniform"), (True, "quantile")])
@pytest.mark.parametrize("bins", [1, 7, 15])
def test_the_curve_is_that_of_scikit_learn(adaptive, strategy, bins):
    scores = drawn()
    shares = softmax(scores.logits.astype(np.float64), axis=1)
    right = shares.argmax(axis=1) == scores.labels
    accuracy, confidence = calibration_curve(
        right, shares.max(axis=1), n_bins=bins, strategy=strategy
    )
    found = reliability(scores, bins=bins, adaptive=adaptive)
    np.testing.assert_allclose([entry.accuracy for entry in found.bins], accuracy, rtol=1e-9)
    np.testing.assert_allclose([entry.confidence for entry in found.bins], confidence, rtol=1e-9)
    assert sum(entry.clips for entry in found.bins) == found.n == 400


def test_the_error_is_that_of_the_metrics_and_falls_with_the_right_temperature():
    draw = np.random.default_rng(0)
    logits = 2 * draw.normal(0, 1, (3000, 5))
    labels = np.array([draw.choice(5, p=share) for share in softmax(logits, axis=1)])
    ids, classes = [f"c{row}" for row in range(3000)], list("abcde")
    honest = Scores(logits, ids, labels, classes, "rgb")
    loud = Scores(4 * logits, ids, labels, classes, "rgb")
    assert reliability(honest).ece == pytest.approx(calibration_error(logits, labels), abs=1e-12)
    assert reliability(honest).ece < 0.03
    assert reliability(loud).ece > 0.2
    assert reliability(loud, temperature=4.0).ece == pytest.approx(reliability(honest).ece)


def test_intervals_are_wilsons():
    z = NormalDist().inv_cdf(0.975)
    for entry in reliability(drawn()).bins:
        n, share = entry.clips, entry.accuracy
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        assert entry.interval == pytest.approx((middle - half, middle + half))


def test_clips_without_label_or_scores_are_left_out():
    scores = drawn(clips=50)
    scores.labels[:10] = -1
    scores.logits[10:15] = np.nan
    assert reliability(scores).n == 35


def test_adaptive_bins_are_equally_full():
    found = reliability(drawn(clips=300), bins=10, adaptive=True)
    assert [entry.clips for entry in found.bins] == [30] * 10


def test_equal_confidences_make_one_bin():
    scores = Scores(
        np.zeros((4, 2), np.float32), list("abcd"), np.array([0, 1, 0, 1]), ["x", "y"], "s"
    )
    for adaptive in (True, False):
        (only,) = reliability(scores, adaptive=adaptive).bins
        assert (only.clips, only.confidence, only.accuracy) == (4, 0.5, 0.5)


@pytest.mark.parametrize(
    "wrong", [{"bins": 0}, {"temperature": 0.0}, {"temperature": float("nan")}]
)
def test_bins_and_temperatures_that_mean_nothing_are_refused(wrong):
    with pytest.raises(
        UsageError, match="expected at least 1 bin and a temperature above 0"
    ) as told:
        reliability(drawn(), **wrong)
    assert told.value.code == "EVAL-080"


def test_the_figure_has_a_panel_for_each_stream_and_says_both_errors():
    streams = [drawn(stream=name, seed=seed) for seed, name in enumerate("abcdef")]
    curves = [
        Calibration(reliability(each), reliability(each, temperature=1.5)) for each in streams
    ]
    fused = reliability(drawn(stream="fused"))
    svg = reliability_figure([*curves, Calibration(fused)])
    assert svg == reliability_figure([*curves, Calibration(fused)])
    for curve in curves:
        before, after = 100 * curve.before.ece, 100 * curve.after.ece
        assert f"ECE {before:.1f} → {after:.1f} %" in svg
    assert f"ECE {100 * fused.ece:.1f} %" in svg
    assert svg.count("confidence, %") == 7
    assert "#0102" not in svg
