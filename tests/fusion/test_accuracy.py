"""Weights of most right clips, against every point of a grid."""

import numpy as np
import pytest

from poselens.fusion import accuracy
from poselens.fusion.accuracy import contest, most_right, stretches
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fit_weights
from poselens.types import Scores


def probabilities(seed, streams, clips, classes, strength=1.5):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, clips)
    logits = draw.normal(0, 1, (streams, clips, classes)) * draw.uniform(0.5, 2, (streams, 1, 1))
    logits += strength * np.eye(classes)[labels]
    shares = np.exp(logits)
    return (shares / shares.sum(axis=2, keepdims=True)).astype(np.float32), labels


def right_by_loops(shares, labels, weights):
    count = 0
    for clip, label in enumerate(labels):
        fused = [
            sum(
                weight * float(stream[clip, column])
                for weight, stream in zip(weights, shares, strict=True)
            )
            for column in range(shares.shape[2])
        ]
        others = [value for column, value in enumerate(fused) if column != label]
        count += fused[label] > max(others)
    return count


@pytest.mark.parametrize("seed", range(3))
def test_a_contest_counts_as_loops_do(seed):
    shares, labels = probabilities(seed, 3, 60, 5)
    shares[1, ::4] = 0.0  # absent
    found = contest(shares, labels)
    for weights in np.random.default_rng(seed).dirichlet(np.ones(3), 6):
        assert found.right(weights[:, None])[0] == right_by_loops(shares, labels, weights)


@pytest.mark.parametrize("seed", range(6))
def test_two_streams_get_the_best_there_is(seed):
    shares, labels = probabilities(seed, 2, 150, 6)
    found = contest(shares, labels)
    fitted = most_right(found, np.array([0.5, 0.5]))
    grid = np.linspace(0, 1, 20_001)
    best = found.right(np.stack([grid, 1 - grid])).max()
    assert found.right(fitted[:, None])[0] >= best


@pytest.mark.parametrize("seed", range(6))
def test_three_streams_get_as_much_as_any_point_of_a_fine_grid(seed):
    shares, labels = probabilities(seed, 3, 150, 6)
    found = contest(shares, labels)
    fitted = most_right(found, np.full(3, 1 / 3))
    steps = 100
    grid = np.array([(a, b, steps - a - b) for a in range(steps + 1) for b in range(steps + 1 - a)])
    best = found.right(grid.T / steps).max()
    assert found.right(fitted[:, None])[0] >= best
    assert fitted.sum() == pytest.approx(1)
    assert fitted.min() >= 0


def test_the_same_scores_give_the_same_weights_and_equally_good_ones_stay():
    shares, labels = probabilities(1, 4, 200, 5)
    found = contest(shares, labels)
    likely = np.array([0.4, 0.3, 0.2, 0.1])
    np.testing.assert_array_equal(most_right(found, likely), most_right(found, likely))
    # every stream says the same: all weights are equally good
    alike = np.repeat(shares[:1], 4, axis=0)
    np.testing.assert_array_equal(most_right(contest(alike, labels), likely), likely)


def test_stretches_know_every_jump():
    shares, labels = probabilities(2, 2, 80, 4)
    found = contest(shares, labels)
    middle, counts = stretches(found, np.array([0.0, 1.0]), np.array([1.0, -1.0]), 0.0, 1.0)
    np.testing.assert_array_equal(counts, found.right(np.stack([middle, 1 - middle])))
    fine = np.linspace(0.0001, 0.9999, 3001)
    assert found.right(np.stack([fine, 1 - fine])).max() <= counts.max()


def test_many_clips_are_thinned_and_the_fit_is_nearly_as_good(monkeypatch):
    shares, labels = probabilities(3, 3, 3000, 8)
    found = contest(shares, labels)
    whole = found.right(most_right(found, np.full(3, 1 / 3))[:, None])[0]
    monkeypatch.setattr(accuracy, "MOST_PAIRS", 2000)
    monkeypatch.setattr(accuracy, "WIDE_PAIRS", 500)
    assert len(found.thinned(2000).margins) <= 2300
    thin = found.right(most_right(found, np.full(3, 1 / 3))[:, None])[0]
    assert thin >= 0.98 * whole


def test_accuracy_of_the_fit_is_that_of_the_fusion():
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 6, 300)
    streams = [
        Scores(
            (draw.normal(0, 1, (300, 6)) + strength * np.eye(6)[labels]).astype(np.float32),
            [f"c{row}" for row in range(300)],
            labels,
            [f"k{column}" for column in range(6)],
            name,
        )
        for name, strength in (("rgb", 2.0), ("joint", 1.6), ("bone", 1.6))
    ]
    likely, accurate = fit_weights(streams), fit_weights(streams, objective="accuracy")
    assert accurate.accuracy >= likely.accuracy
    fused = fuse(streams, accurate.weights, accurate.temperatures)
    assert (fused.logits.argmax(axis=1) == labels).mean() == pytest.approx(accurate.accuracy)
    assert accurate.objective == "accuracy"
    assert accurate.temperatures == likely.temperatures
