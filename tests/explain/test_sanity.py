import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn

from poselens.errors import UsageError
from poselens.explain import sanity
from poselens.explain.sanity import (
    mean_interval,
    randomisation_test,
    randomise,
    rank_correlation,
    removal_curves,
    similarity,
)

DRAW = np.random.default_rng(3)


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(60, 40), nn.Tanh(), nn.Linear(40, 1)).eval()


CLIPS = torch.randn(8, 60, generator=torch.Generator().manual_seed(2))


def gradients(network):
    """Honest: the gradient, as maps of 3 x 4 x 5."""
    seen = CLIPS.clone().requires_grad_()
    (found,) = torch.autograd.grad(network(seen).sum(), seen)
    return found.abs().numpy().reshape(8, 3, 4, 5)


def edges(network):
    """Dishonest: the picture, whatever the network."""
    return CLIPS.abs().numpy().reshape(8, 3, 4, 5)


def test_maps_that_follow_the_weights_pass():
    network = perceptron()
    before = [each.clone() for each in network.parameters()]
    found = randomisation_test(network, ["2", "0"], gradients)
    assert found.passes is True
    assert found.layers == ["2", "0"]
    assert found.ranks[0].mean > found.ranks[-1].mean
    assert abs(found.ranks[-1].mean) < 0.3
    assert found.verdict.startswith("random weights: passes, rank correlation")
    assert all(map(torch.equal, before, network.parameters()))
    json.dumps(found.as_dict())


def test_maps_that_show_the_picture_fail():
    found = randomisation_test(perceptron(), ["2", "0"], edges)
    assert found.passes is False
    assert [each.mean for each in found.ranks] == pytest.approx([1, 1])
    assert found.likeness == pytest.approx([1, 1])
    assert "random weights: fails, rank correlation 1.00 [1.00, 1.00]" in found.verdict


def test_maps_without_variation_decide_nothing():
    found = randomisation_test(perceptron(), ["2"], lambda _: np.zeros((6, 4, 5)), window=None)
    assert (found.passes, found.plain, found.ranks) == (None, [6], [None])
    assert "undecided" in found.verdict


def test_a_few_clips_decide_nothing():
    few = randomisation_test(perceptron(), ["0"], lambda network: gradients(network)[:4])
    assert few.passes is None
    assert "undecided" in few.verdict
    grouped = randomisation_test(perceptron(), ["0"], gradients, groups=list("aabbccdd"))
    assert (grouped.passes, grouped.ranks[0].units, grouped.ranks[0].clips) == (None, 4, 8)
    assert "8 clips in 4 groups" in grouped.verdict


def test_random_weights_are_the_trained_ones_in_another_order():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    network[1].weight.data.uniform_()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    randomise(network, "0", seed=1)
    after = network.state_dict()
    assert not torch.equal(after["0.weight"], before["0.weight"])
    for name in ("0.weight", "0.bias"):
        assert torch.equal(after[name].flatten().sort()[0], before[name].flatten().sort()[0])
    assert all(torch.equal(after[name], before[name]) for name in before if name[0] == "1")


def test_rank_correlation_is_spearmans():
    for _ in range(5):
        one, other = DRAW.integers(0, 6, (2, 3, 7, 5))
        expected = spearmanr(one.ravel(), other.ravel()).statistic
        assert rank_correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(rank_correlation(np.ones((2, 3)), one[:2, :3]))


def test_similarity_is_its_equation():
    one, other = DRAW.random((2, 2, 6, 7))
    total = []
    for time in range(2):
        for row in range(6):
            for column in range(7):
                # windows end at the picture's edge, whose pixels are repeated
                rows = np.clip(np.arange(row - 1, row + 2), 0, 5)
                columns = np.clip(np.arange(column - 1, column + 2), 0, 6)
                x, y = (each[time][np.ix_(rows, columns)].ravel() for each in (one, other))
                both = ((x - x.mean()) * (y - y.mean())).mean()
                above = (2 * x.mean() * y.mean() + 1e-4) * (2 * both + 9e-4)
                below = (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var() + y.var() + 9e-4)
                total.append(above / below)
    assert similarity(one, other, window=3) == pytest.approx(np.mean(total), abs=1e-9)
    assert similarity(one, one) == pytest.approx(1)
    assert similarity(one, 1 - one, window=None) < 0


def kept_weight(weights):
    """A score that is the share of the weight that was kept."""

    def keep(masks):
        return (masks * weights).reshape(len(masks), -1).sum(axis=1) / weights.sum()

    return keep


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([(20,), (2, 5, 2), (5, 2, 2, 1)]))
def test_the_true_weights_are_the_best_order_in_any_shape(seed, shape):
    draw = np.random.default_rng(seed)
    weights = [draw.random(shape) ** 3 for _ in range(6)]
    keeps = [kept_weight(each) for each in weights]
    deletion, insertion = removal_curves(weights, keeps, steps=10, draws=2, seed=seed)
    assert deletion.passes
    assert insertion.passes
    assert deletion.curve[0] == insertion.curve[-1] == pytest.approx(1)
    assert deletion.curve[-1] == insertion.curve[0] == pytest.approx(0)
    assert (np.diff(deletion.curve) <= 1e-9).all()
    # what is left and what was brought in are the whole
    np.testing.assert_allclose(deletion.curve + insertion.curve, 1, atol=1e-9)
    assert deletion.area.mean + insertion.area.mean == pytest.approx(1)
    wrong = [-each for each in weights]
    assert not any(each.passes for each in removal_curves(wrong, keeps, seed=seed))


def test_an_area_by_hand():
    weights = np.array([0.5, 0.25, 0.25, 0.0])
    deletion, insertion = removal_curves([weights] * 5, [kept_weight(weights)] * 5, steps=2)
    # 1, then without the first two cells, then nothing
    np.testing.assert_allclose(deletion.curve, [1, 0.25, 0], atol=1e-12)
    assert deletion.area.mean == pytest.approx((1 + 0.25) / 4 + 0.25 / 4)
    np.testing.assert_allclose(insertion.curve, [0, 0.75, 1])
    assert "deletion: passes, area 0.375 against" in deletion.verdict
    json.dumps(insertion.as_dict())


def test_an_attribution_without_order_is_no_better_than_chance():
    """Equal cells come in random order: the first corner of a picture is nothing special."""
    weights = [np.r_[np.ones(5), np.zeros(15)] for _ in range(40)]
    flat = [np.ones(20)] * 40
    deletion, _ = removal_curves(flat, [kept_weight(each) for each in weights])
    assert deletion.passes is False
    assert deletion.gain.low < 0 < deletion.gain.high


def test_few_clips_decide_nothing_here_either():
    weights = np.array([0.7, 0.2, 0.1])
    deletion, _ = removal_curves([weights] * 4, [kept_weight(weights)] * 4, steps=3)
    assert deletion.passes is None
    assert "deletion: undecided" in deletion.verdict


def test_intervals_cover_and_know_groups(monkeypatch):
    monkeypatch.setattr(sanity, "_ROUNDS", 400)
    covered = 0
    for trial in range(200):
        found = mean_interval(np.random.default_rng(trial).normal(2, 1, 40), seed=trial)
        covered += found.low <= 2 <= found.high
    assert 0.88 * 200 <= covered <= 200
    values = np.repeat(np.arange(8.0), 5)
    alone = mean_interval(values)
    grouped = mean_interval(values, [str(value) for value in values])
    assert (grouped.clips, grouped.units, alone.units) == (40, 8, 40)
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: randomisation_test(perceptron(), [], gradients),
        lambda: randomisation_test(perceptron(), ["0"], gradients, groups=["a"]),
        lambda: removal_curves([], []),
        lambda: removal_curves([np.ones(3)], []),
        lambda: removal_curves([np.ones(3)], [kept_weight(np.ones(3))], steps=1),
        lambda: removal_curves([np.ones(3)], [kept_weight(np.ones(3))], groups=["a", "b"]),
    ],
)
def test_numbers_that_do_not_fit(ask):
    with pytest.raises(UsageError, match="found") as caught:
        ask()
    assert caught.value.code == "EXP-011"
