"""Eq. 14 and the fitted weights against loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import UsageError
from poselens.fusion.calibration import fit_temperature
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fit_weights
from poselens.types import Scores


def fused_by_loops(streams, weights, temperatures):
    rows = []
    for clip in range(len(streams[0])):
        total = 0.0
        mixed = [0.0] * len(streams[0][0])
        for logits, weight, temperature in zip(streams, weights, temperatures, strict=True):
            row = [float(value) / temperature for value in logits[clip]]
            if math.isnan(row[0]):
                continue
            highest = max(row)
            powers = [math.exp(value - highest) for value in row]
            total += weight
            for column, power in enumerate(powers):
                mixed[column] += weight * power / sum(powers)
        rows.append([value / total for value in mixed])
    return rows


def make(logits, labels, stream):
    logits = np.asarray(logits, dtype=np.float32)
    ids = [f"c{row}" for row in range(len(logits))]
    classes = [f"k{column}" for column in range(logits.shape[1])]
    return Scores(logits, ids, np.asarray(labels), classes, stream)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    streams=st.integers(1, 4),
    clips=st.integers(1, 6),
    classes=st.integers(2, 6),
)
def test_fusion_is_eq_14(seed, streams, clips, classes):
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 5, (streams, clips, classes)).astype(np.float32)
    for stream in range(1, streams):
        logits[stream, draw.random(clips) < 0.3] = np.nan
    weights = draw.uniform(0.1, 3, streams)
    temperatures = draw.uniform(0.3, 3, streams)
    fused = fuse(
        [make(part, [0] * clips, f"s{index}") for index, part in enumerate(logits)],
        weights.tolist(),
        temperatures.tolist(),
    )
    powers = np.exp(fused.logits.astype(np.float64))
    expected = fused_by_loops(logits.tolist(), weights, temperatures)
    np.testing.assert_allclose(powers, expected, atol=1e-5)
    np.testing.assert_allclose(powers.sum(axis=1), 1, atol=1e-5)
    doubled = fuse(
        [make(part, [0] * clips, f"s{index}") for index, part in enumerate(logits)],
        (2 * weights).tolist(),
        temperatures.tolist(),
    )
    np.testing.assert_allclose(doubled.logits, fused.logits, rtol=1e-6, atol=1e-6)


def noisy(draw, labels, classes, strength):
    return draw.normal(0, 1, (len(labels), classes)) + strength * np.eye(classes)[labels]


def test_temperature_is_the_best_of_a_grid():
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 5, 200)
    logits = 4 * noisy(draw, labels, 5, 2.0)

    def loss(temperature):
        total = 0.0
        for row, label in zip(logits / temperature, labels, strict=True):
            total -= row[label] - math.log(sum(math.exp(value) for value in row))
        return total

    grid = np.exp(np.linspace(math.log(0.5), math.log(16), 120))
    best = grid[np.argmin([loss(value) for value in grid])]
    assert fit_temperature(logits, labels, prior_clips=0.0) == pytest.approx(best, rel=0.05)


def test_weights_are_the_best_of_a_grid_with_a_stream_missing_here_and_there():
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 4, 150)
    first = noisy(draw, labels, 4, 2.0)
    second = noisy(draw, labels, 4, 2.0)
    second[::5] = np.nan
    streams = [make(first, labels, "rgb"), make(second, labels, "joint")]
    fitted = fit_weights(streams, prior_clips=0.0)
    temperatures = list(fitted.temperatures.values())

    def loss(weight):
        rows = fused_by_loops([first.tolist(), second.tolist()], [weight, 1 - weight], temperatures)
        return -sum(math.log(row[label]) for row, label in zip(rows, labels, strict=True)) / 150

    grid = np.linspace(0.01, 0.99, 99)
    losses = [loss(weight) for weight in grid]
    assert 0.1 < fitted.weights["rgb"] < 0.9
    assert fitted.weights["rgb"] == pytest.approx(grid[np.argmin(losses)], abs=0.011)
    assert fitted.nll <= min(losses) + 1e-9
    assert fitted.nll == pytest.approx(min(losses), abs=1e-3)


def fused_per_class_by_loops(streams, table, temperatures):
    rows = []
    for clip in range(len(streams[0])):
        mixed = []
        for column in range(len(streams[0][0])):
            over = under = 0.0
            for logits, weights, temperature in zip(streams, table, temperatures, strict=True):
                row = [float(value) / temperature for value in logits[clip]]
                if math.isnan(row[0]):
                    continue
                powers = [math.exp(value - max(row)) for value in row]
                over += weights[column] * powers[column] / sum(powers)
                under += weights[column]
            mixed.append(over / under)
        rows.append([value / sum(mixed) for value in mixed])
    return rows


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    streams=st.integers(1, 4),
    clips=st.integers(1, 6),
    classes=st.integers(2, 6),
)
def test_fusion_per_class_is_a_sum_of_its_own_for_every_class(seed, streams, clips, classes):
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 5, (streams, clips, classes)).astype(np.float32)
    for stream in range(1, streams):
        logits[stream, draw.random(clips) < 0.3] = np.nan
    table = draw.uniform(0.05, 1, (streams, classes))
    temperatures = draw.uniform(0.3, 3, streams)
    names = [f"s{index}" for index in range(streams)]
    scores = [make(part, [0] * clips, name) for part, name in zip(logits, names, strict=True)]
    scales = dict(zip(names, temperatures.tolist(), strict=True))
    per_class = dict(zip(names, table.tolist(), strict=True))
    equal = dict.fromkeys(names, 1.0)

    def fused(scores, per_class):
        return fuse(scores, equal, scales, per_class).logits.astype(np.float64)

    powers = np.exp(fused(scores, per_class))
    expected = fused_per_class_by_loops(logits.tolist(), table.tolist(), temperatures)
    np.testing.assert_allclose(powers, expected, atol=1e-5)
    # neither the order of streams nor the scale of a class's weights matters
    np.testing.assert_allclose(np.exp(fused(scores[::-1], per_class)), powers, atol=1e-5)
    factors = draw.uniform(0.5, 4, classes)
    scaled = {name: (factors * row).tolist() for name, row in zip(names, table, strict=True)}
    np.testing.assert_allclose(np.exp(fused(scores, scaled)), powers, atol=1e-5)
    # one weight for all classes is Eq. 14
    shared = {name: [float(index + 1)] * classes for index, name in enumerate(names)}
    plain = fuse(scores, [float(index + 1) for index in range(streams)], temperatures.tolist())
    np.testing.assert_allclose(fused(scores, shared), plain.logits, atol=1e-4)


def test_many_clips_are_fused_as_few_are():
    draw = np.random.default_rng(1)
    logits = draw.normal(0, 3, (2, 9000, 3)).astype(np.float32)
    logits[1, ::7] = np.nan
    scores = [make(part, [0] * 9000, f"s{index}") for index, part in enumerate(logits)]
    fused = fuse(scores, [1.0, 2.0])
    expected = fused_by_loops(logits[:, ::100].tolist(), [1.0, 2.0], [1.0, 1.0])
    np.testing.assert_allclose(np.exp(fused.logits[::100]), expected, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), objective=st.sampled_from(["likelihood", "accuracy"]))
def test_a_fit_does_not_depend_on_the_order_of_streams_or_the_scale_of_logits(seed, objective):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, 80)
    parts = [noisy(draw, labels, 4, strength) for strength in (1.0, 1.5, 2.0)]
    parts[1][::6] = np.nan
    scores = [make(part, labels, f"s{index}") for index, part in enumerate(parts)]
    fitted = fit_weights(scores, objective=objective)
    turned = fit_weights(scores[::-1], objective=objective)
    larger = fit_weights(
        [make(3 * part, labels, f"s{index}") for index, part in enumerate(parts)],
        objective=objective,
    )
    assert sum(fitted.weights.values()) == pytest.approx(1)
    assert min(fitted.weights.values()) >= 0
    if objective == "likelihood":
        for name, weight in fitted.weights.items():
            assert turned.weights[name] == pytest.approx(weight, abs=2e-3)
            assert larger.weights[name] == pytest.approx(weight, abs=2e-3)
    else:
        # many weights are equally right: which of them is found may differ, the number may not
        assert turned.accuracy == pytest.approx(fitted.accuracy, abs=1.5 / 80)
        assert larger.accuracy == pytest.approx(fitted.accuracy, abs=1.5 / 80)


def test_weights_per_class_that_do_not_fit_are_refused():
    scores = [make([[1, 0]], [0], "s0")]
    for per_class in ({}, {"s0": [1.0]}, {"s0": [1.0, -1.0]}, {"s0": [1.0, float("nan")]}):
        with pytest.raises(UsageError, match="expected 2 numbers from 0 up") as caught:
            fuse(scores, [1.0], None, per_class)
        assert caught.value.code == "FUS-005"
