import numpy as np
import pytest

from poselens.errors import CheckpointError, UsageError
from poselens.fusion.calibration import fit_temperature
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fit_weights, fixed_weights, fusion_weights_from
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
