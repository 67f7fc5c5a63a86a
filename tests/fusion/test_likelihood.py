"""The likeliest weights against optimisers of scipy that know no slope of ours."""

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize

from poselens.fusion import likelihood
from poselens.fusion.likelihood import maximise, maximise_per_class


def made_up(seed, streams=3, clips=80, classes=4, missing=0.2):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, clips)
    logits = draw.normal(0, 1, (streams, clips, classes)) + 1.5 * np.eye(classes)[labels]
    shares = np.exp(logits)
    shares = (shares / shares.sum(axis=2, keepdims=True)).astype(np.float32)
    mask = draw.random((streams, clips)) >= missing
    mask[0] |= ~mask.any(axis=0)
    shares[~mask] = 0.0
    true = shares[:, np.arange(clips), labels].astype(float)
    return shares, true, mask, labels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prior", [0.5, 5.0])
def test_shared_weights_are_scipys_own_optimum(seed, prior):
    _, true, mask, _ = made_up(seed)

    def loss(weights):
        fused = (weights @ true) / (weights @ mask)
        return -(np.log(fused).sum() + prior / 3 * np.log(weights).sum())

    found = minimize(
        loss, np.full(3, 1 / 3), method="SLSQP", bounds=[(1e-6, 1)] * 3,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-12},
    )  # fmt: skip
    fitted = maximise(true, mask, prior)
    np.testing.assert_allclose(fitted, found.x, atol=2e-4)
    assert loss(fitted) <= found.fun + 1e-7


def per_class_loss(shares, mask, labels, centre, prior):
    def loss(table):
        total = 0.0
        for clip, label in enumerate(labels):
            there = np.flatnonzero(mask[:, clip])
            portion = table[there] / table[there].sum(axis=0)
            fused = (portion * shares[there, clip].astype(float)).sum(axis=0)
            total += np.log(fused[label]) - np.log(fused.sum())
        return -(total + prior * (centre[:, None] * np.log(table)).sum())

    return loss


@pytest.mark.parametrize("seed", range(2))
def test_weights_per_class_are_no_worse_than_scipys_search_without_slopes(seed):
    shares, _, mask, labels = made_up(seed, streams=2, clips=40, classes=3)
    centre = np.array([0.7, 0.3])
    loss = per_class_loss(shares, mask, labels, centre, 3.0)
    fitted = maximise_per_class(shares, mask, labels, centre, 3.0)
    np.testing.assert_allclose(fitted.sum(axis=0), 1, atol=1e-12)

    def free(values):
        first = 1 / (1 + np.exp(-values))
        return loss(np.stack([first, 1 - first]))

    found = minimize(free, np.full(3, np.log(0.7 / 0.3)), method="Nelder-Mead",
                     options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000})  # fmt: skip
    assert loss(fitted) <= found.fun + 2e-4
    assert loss(fitted) < loss(np.repeat(centre[:, None], 3, axis=1))


def test_the_slope_per_class_is_that_of_the_loss():
    shares, _, mask, labels = made_up(4, streams=3, clips=30, classes=3)
    shares = shares.astype(np.float32)
    patterns = list(likelihood._patterns(shares, mask, labels))
    assert len(patterns) > 2

    def value(flat):
        table = np.exp(flat.reshape(3, 3))
        return sum(likelihood._pattern_value(part, table[part.streams])[0] for part in patterns)

    def slope(flat):
        table = np.exp(flat.reshape(3, 3))
        total = np.zeros((3, 3))
        for part in patterns:
            total[part.streams] += likelihood._pattern_value(part, table[part.streams])[1]
        return (total * table).ravel()

    start = np.random.default_rng(0).normal(0, 0.3, 9)
    # single precision inside: a coarse step
    assert (
        check_grad(value, slope, start, epsilon=1e-3) < 0.05 * np.linalg.norm(slope(start)) + 0.05
    )


def test_a_strong_prior_gives_the_shared_weights_and_a_class_without_clips_keeps_them():
    shares, _, mask, labels = made_up(5, classes=4)
    centre = np.array([0.5, 0.3, 0.2])
    strong = maximise_per_class(shares, mask, labels, centre, 1e6)
    np.testing.assert_allclose(strong, np.repeat(centre[:, None], 4, axis=1), atol=1e-3)
    few = np.where(labels == 3, 0, labels)
    weak = maximise_per_class(shares, mask, few, centre, 1.0)
    assert np.abs(weak[:, :3] - centre[:, None]).max() > 0.05


def test_one_stream_has_all_the_weight():
    shares, true, mask, labels = made_up(6, streams=1, missing=0.0)
    assert maximise(true, mask, 1.0).tolist() == [1.0]
    assert maximise_per_class(shares, mask, labels, np.ones(1), 1.0).tolist() == [[1.0] * 4]
