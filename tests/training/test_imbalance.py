"""Weights and adjustments, against the formulas as loops."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from poselens.training.imbalance import balance_of, class_weights, log_frequency
from poselens.training.objectives import Balance, cross_entropy, mean_cross_entropy

CPU = torch.device("cpu")


def effective(clips, beta):
    """Cui et al., Eq. (2), as the sum it comes from: 1 + beta + beta^2 + ..."""
    return sum(beta**power for power in range(clips))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_effective_weights_are_those_of_the_paper(beta):
    counts = [3, 10, 250, 1]
    found = class_weights(np.array(counts), "effective", beta=beta).tolist()
    raw = [1 / effective(clips, beta) for clips in counts]
    mean = sum(w * n for w, n in zip(raw, counts, strict=True)) / sum(counts)
    assert found == pytest.approx([weight / mean for weight in raw], rel=1e-5)


def test_between_equal_and_inverse():
    counts = np.array([3, 10, 250])
    equal = class_weights(counts, "effective", beta=0.0)
    inverse = class_weights(counts, "inverse", beta=0.5)
    assert equal.tolist() == [1, 1, 1]
    assert (inverse * torch.from_numpy(counts)).tolist() == pytest.approx([263 / 3] * 3)
    near = class_weights(counts, "effective", beta=1 - 1e-9)
    torch.testing.assert_close(near, inverse, rtol=1e-4, atol=0)


@given(
    counts=st.lists(st.integers(0, 5000), min_size=1, max_size=20).filter(any),
    beta=st.floats(0, 0.9999),
    kind=st.sampled_from(["inverse", "effective"]),
)
def test_the_mean_over_clips_is_one_and_rarer_never_weighs_less(counts, beta, kind):
    weights = class_weights(np.array(counts), kind, beta=beta).double()
    clips = torch.tensor(counts).double()
    assert float((weights * clips).sum() / clips.sum()) == pytest.approx(1, rel=1e-4)
    assert all(float(w) == 0 for w, n in zip(weights, counts, strict=True) if n == 0)
    present = sorted((n, float(w)) for w, n in zip(weights, counts, strict=True) if n)
    for (_, more), (_, less) in pairwise(present):
        assert less <= more * (1 + 1e-5)


def test_the_adjustment_is_the_share_of_the_class():
    found = log_frequency(np.array([1, 3, 0]), tau=0.7).tolist()
    assert found == pytest.approx([0.7 * math.log(clips / 5) for clips in (1, 3, 1)])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_over_clips_of_what_each_weighs(smoothing):
    torch.manual_seed(0)
    logits, label = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, 2, 1, 0])
    weights = torch.tensor([0.5, 2.0, 3.0]).double()
    shift = torch.tensor([-1.0, 0.3, -2.0]).double()
    found = mean_cross_entropy(
        logits, {"label": label}, label_smoothing=smoothing, balance=Balance(weights, shift)
    )
    total = 0.0
    for row, right in zip((logits + shift).tolist(), label.tolist(), strict=True):
        norm = math.log(sum(map(math.exp, row)))
        each = [norm - value for value in row]
        wanted = (1 - smoothing) * each[right] + smoothing * sum(each) / 3
        total += float(weights[right]) * wanted
    assert float(found) == pytest.approx(total / 5, rel=1e-12)


def test_without_any_it_is_plain_cross_entropy():
    logits, label = torch.randn(5, 3), torch.tensor([0, 2, 2, 1, 0])
    labels = np.array([0, 0, 1, 2, -1])
    off = balance_of(labels, num_classes=3, weights="none", beta=0.9, tau=0.0, device=CPU)
    assert (off.weights, off.shift) == (None, None)
    found = mean_cross_entropy(logits, {"label": label}, label_smoothing=0.1, balance=off)
    assert torch.equal(found, F.cross_entropy(logits, label, label_smoothing=0.1))


def test_frequencies_are_those_of_the_training_clips():
    labels = np.array([0, 0, 1, -1])
    on = balance_of(labels, num_classes=3, weights="inverse", beta=0.9, tau=1.0, device=CPU)
    assert on.weights.tolist() == pytest.approx([0.75, 1.5, 0])
    assert on.shift.tolist() == pytest.approx([math.log(0.5), math.log(0.25), math.log(0.25)])


def test_logits_that_are_reported_are_not_adjusted():
    batch = {"inputs": (torch.tensor([[1.0, 2.0]]),), "label": torch.tensor([0])}
    balance = Balance(shift=torch.tensor([-9.0, 0.0]))
    losses = cross_entropy(balance=balance)(torch.nn.Identity(), batch)
    assert losses.logits.tolist() == [[1, 2]]
    assert float(losses.total) > 9


def test_ranks_share_what_classes_weigh():
    """The mean over ranks of unequal parts, one of them empty, is that of the whole batch."""
    logits, label = torch.randn(5, 3).double(), torch.tensor([0, 2, 1, 1, 0])
    balance = Balance(torch.tensor([0.5, 2.0, 3.0]).double(), torch.tensor([-1.0, 0.3, 2.0]))
    whole = mean_cross_entropy(logits, {"label": label}, label_smoothing=0.1, balance=balance)
    counts = (2, 0, 3)
    shares = [
        mean_cross_entropy(
            part, {"label": own, "counts": counts}, label_smoothing=0.1, balance=balance
        )
        for part, own in zip(logits.split(counts), label.split(counts), strict=True)
    ]
    torch.testing.assert_close(torch.stack(shares).mean(), whole)
