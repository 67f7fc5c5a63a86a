import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from poselens.errors import CheckpointError, UsageError
from poselens.fusion.calibration import fit_temperature
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fit_weights, fixed_weights, fuse_with, fusion_weights_from
from poselens.types import Scores


def make(logits, labels, stream):
    logits = np.asarray(logits, dtype=np.float32)
    classes = [f"k{column}" for column in range(logits.shape[1])]
    ids = [f"c{row}" for row in range(len(logits))]
    return Scores(logits, ids, np.asarray(labels), classes, stream)


def simulated(seed, strengths, clips=300, classes=6):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, clips)
    truth = np.eye(classes)[labels]
    return [
        make(draw.normal(0, 1, (clips, classes)) + strength * truth, labels, name)
        for name, strength in strengths.items()
    ]


def test_paper_weights_are_one_to_one_between_branches():
    fixed = fixed_weights(["rgb", "joint", "bone", "joint-motion", "bone-motion"], "paper")
    np.testing.assert_allclose(
        list(fixed.weights.values()), [1 / 2, 1 / 6, 1 / 6, 1 / 12, 1 / 12], atol=1e-12
    )
    assert fixed_weights(["rgb", "joint"], "paper").weights == {"rgb": 0.5, "joint": 0.5}
    assert fixed_weights(["joint", "joint-motion"], "paper").weights["joint"] == pytest.approx(
        2 / 3
    )


def test_weights_given_by_number_are_normalised():
    assert fixed_weights(["rgb", "joint"], [1.0, 3.0]).weights == {"rgb": 0.25, "joint": 0.75}
    assert fixed_weights(["rgb", "joint"], {"joint": 1.0, "rgb": 0.0}).weights["joint"] == 1.0
    assert fixed_weights(["rgb", "joint"], "equal").method == "equal"


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ("papre", "unknown fusion weights 'papre'"),
        ([1.0], "found 1 weights for 2 streams"),
        ([1.0, -1.0], "expected numbers from 0 up"),
        ([0.0, 0.0], "not all 0"),
        ("paper", "the paper has no weight for stream 'angle'"),
    ],
)
def test_fixed_weights_refuse(choice, match):
    with pytest.raises(UsageError, match=match):
        fixed_weights(["rgb", "angle"], choice)


def test_fitted_weights_favour_the_better_stream_and_beat_equal_ones():
    streams = simulated(1, {"rgb": 3.0, "joint": 1.0})
    fitted = fit_weights(streams)
    assert fitted.weights["rgb"] > 0.6
    assert sum(fitted.weights.values()) == pytest.approx(1)
    assert min(fitted.weights.values()) > 0
    assert fitted.n == 300

    def likelihood(weights):
        fused = fuse(streams, weights, fitted.temperatures)
        return fused.logits[np.arange(300), fused.labels].mean()

    assert likelihood(fitted.weights) >= likelihood([1.0, 1.0])
    assert -likelihood(fitted.weights) == pytest.approx(fitted.nll, abs=1e-5)


def test_a_stream_of_noise_loses_its_say():
    fitted = fit_weights(simulated(2, {"rgb": 3.0, "joint": 0.0}))
    assert fitted.weights["joint"] < 0.1


def test_temperature_undoes_a_factor():
    (scores,) = simulated(3, {"rgb": 3.0})
    plain = fit_temperature(scores.logits, scores.labels)
    assert fit_temperature(4 * scores.logits, scores.labels) == pytest.approx(4 * plain, rel=1e-3)


def test_a_small_validation_set_without_a_mistake_does_not_silence_the_other_stream():
    labels = np.arange(20) % 4
    truth = np.eye(4)[labels]
    perfect = make(3 * truth, labels, "rgb")
    good = make(np.random.default_rng(4).normal(0, 1, (20, 4)) + 3 * truth, labels, "joint")
    fitted = fit_weights([perfect, good])
    assert fitted.temperatures["rgb"] > 0.1
    assert fitted.weights["joint"] > 0.02
    confidence = np.exp(fuse([perfect], [1.0], fitted.temperatures).logits).max(axis=1)
    assert 0.9 < confidence.max() < 0.999


def test_clips_without_label_do_not_count():
    streams = simulated(6, {"rgb": 2.0, "joint": 2.0})
    labels = streams[0].labels.copy()
    labels[100:] = -1
    assert fit_weights([make(stream.logits, labels, stream.stream) for stream in streams]).n == 100


def test_fit_refuses_to_work_without_labels():
    with pytest.raises(UsageError, match="no labelled clip to calibrate on"):
        fit_weights([make([[1, 0]], [-1], "rgb")])


def test_fusion_weights_come_back_from_json():
    fitted = fit_weights(simulated(7, {"rgb": 2.0, "joint": 1.0}))
    assert fusion_weights_from(fitted.as_dict()) == fitted


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weights": None}, "cannot be read"),
        ({"n": "many"}, "cannot be read"),
        ({"weights": {"rgb": -1.0}}, "must be 0 or more"),
        ({"weights": {"rgb": float("nan")}}, "must be 0 or more"),
        ({"temperatures": {"rgb": 0.0}}, "above 0"),
        ({"temperatures": {"joint": 1.0}}, "same streams"),
    ],
)
def test_damaged_fusion_weights_are_refused(change, match):
    facts = fixed_weights(["rgb"], "equal").as_dict()
    with pytest.raises(CheckpointError, match=match):
        fusion_weights_from({**facts, **change})


@pytest.mark.parametrize("objective", ["likelihood", "accuracy"])
def test_weights_per_class_sum_to_one_and_come_back_from_json(objective):
    streams = simulated(8, {"rgb": 2.0, "joint": 1.5, "bone": 1.0})
    fitted = fit_weights(streams, objective=objective, per_class=True, class_prior_clips=2.0)
    table = np.array(list(fitted.per_class.values()))
    assert table.shape == (3, 6)
    assert table.min() >= 0
    np.testing.assert_allclose(table.sum(axis=0), 1, atol=1e-6)
    assert fitted.objective == objective
    assert fusion_weights_from(json.loads(json.dumps(fitted.as_dict()))) == fitted
    fused = fuse_with(streams, fitted)
    assert (fused.logits.argmax(axis=1) == fused.labels).mean() == pytest.approx(fitted.accuracy)
    likely = -fused.logits[np.arange(300), fused.labels].mean()
    assert likely == pytest.approx(fitted.nll, abs=1e-4)


def test_weights_per_class_are_at_least_as_likely_as_shared_ones():
    streams = simulated(9, {"rgb": 2.0, "joint": 1.5})
    shared = fit_weights(streams)
    table = fit_weights(streams, per_class=True)
    assert table.nll <= shared.nll + 1e-6
    assert table.weights == shared.weights


def test_bundles_from_before_there_was_a_choice_are_read():
    old = {
        "weights": {"rgb": 0.25, "joint": 0.75},
        "temperatures": {"rgb": 1.5, "joint": 0.8},
        "method": "fitted",
        "n": 108,
        "objective": 0.4321,
    }
    read = fusion_weights_from(old)
    assert (read.objective, read.nll, read.per_class) == ("likelihood", 0.4321, None)
    fixed = fusion_weights_from({**old, "method": "paper", "n": 0, "objective": None})
    assert (fixed.objective, fixed.nll) == (None, None)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"rgb": [1.0, 2.0]}, "as many for every"),
        ({"rgb": [1.0, 2.0], "joint": [1.0]}, "as many for every"),
        ({"rgb": [1.0, -2.0], "joint": [1.0, 3.0]}, "0 or more"),
        ({"rgb": [1.0, 0.0], "joint": [1.0, 0.0]}, "not all 0 for any class"),
        ({"rgb": [1.0, float("nan")], "joint": [1.0, 1.0]}, "0 or more"),
        ({"rgb": "ab", "joint": [1.0, 1.0]}, "cannot be read"),
        ([1.0], "cannot be read"),
    ],
)
def test_damaged_weights_per_class_are_refused(table, match):
    facts = fixed_weights(["rgb", "joint"], "equal").as_dict()
    with pytest.raises(CheckpointError, match=match):
        fusion_weights_from({**facts, "per_class": table})
    with pytest.raises(CheckpointError, match="must be 0 or more"):
        fusion_weights_from({**facts, "objective": "beauty"})


def test_some_of_the_streams_keep_their_ratio_and_their_classes():
    streams = simulated(10, {"rgb": 2.0, "joint": 1.5, "bone": 1.0})
    fitted = fit_weights(streams, per_class=True)
    part = fitted.of(["joint", "bone"])
    assert sum(part.weights.values()) == pytest.approx(1)
    ratio = fitted.weights["joint"] / fitted.weights["bone"]
    assert part.weights["joint"] / part.weights["bone"] == pytest.approx(ratio)
    assert set(part.per_class) == {"joint", "bone"}
    zero = fixed_weights(["rgb", "joint", "bone"], [1.0, 0.0, 0.0]).of(["joint", "bone"])
    assert zero.weights == {"joint": 0.5, "bone": 0.5}
    fused = fuse_with(streams[1:], fitted)
    expected = fuse(streams[1:], part.weights, part.temperatures, part.per_class)
    np.testing.assert_array_equal(fused.logits, expected.logits)
    with pytest.raises(UsageError, match="the weights know joint, bone, but not 'rgb'") as caught:
        fuse_with(streams, part)
    assert caught.value.code == "FUS-020"


def test_an_unknown_objective_is_refused():
    with pytest.raises(UsageError, match="expected likelihood or accuracy") as caught:
        fit_weights(simulated(1, {"rgb": 1.0}), objective="beauty")
    assert caught.value.code == "FUS-021"


def test_a_temperature_at_an_end_of_what_is_searched():
    labels = np.arange(40) % 4
    right = 2 * np.eye(4)[labels]
    assert fit_temperature(right, labels, prior_clips=0.0) == pytest.approx(0.05, rel=1e-3)
    wrong = 50 * np.eye(4)[(labels + 1) % 4]
    assert fit_temperature(wrong, labels) == pytest.approx(20.0, rel=1e-3)


def test_a_temperature_is_the_one_scipy_finds():
    (scores,) = simulated(12, {"rgb": 2.0}, clips=500)

    def loss(log_temperature):
        q = log_softmax(scores.logits.astype(float) / np.exp(log_temperature), axis=1)
        return -q[np.arange(500), scores.labels].sum() - q.mean()

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(scores.logits, scores.labels) == pytest.approx(np.exp(found.x), rel=1e-5)
