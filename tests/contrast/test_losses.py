import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poselens.contrast.losses import info_nce, mean_over_anchors


def nothing(rows, columns):
    return torch.zeros(rows, columns, dtype=torch.bool)


def everything(rows, columns):
    return torch.ones(rows, columns, dtype=torch.bool)


@pytest.mark.parametrize("absent", ["positives", "negatives", "both"])
def test_nothing_to_compare_is_zero_with_zero_gradient(absent):
    positive, negative = torch.rand(3, 4).requires_grad_(), torch.rand(3, 5).requires_grad_()
    has_p = nothing(3, 4) if absent != "negatives" else everything(3, 4)
    has_q = nothing(3, 5) if absent != "positives" else everything(3, 5)
    loss = mean_over_anchors(*info_nce(positive, has_p, negative, has_q, temperature=0.1))
    loss.backward()
    assert loss == 0
    assert positive.grad.abs().max() == 0
    assert negative.grad.abs().max() == 0


def test_the_mean_is_over_anchors_that_count():
    positive, negative = torch.zeros(3, 1), torch.zeros(3, 1)
    has_p = torch.tensor([[True], [False], [True]])
    losses, counted = info_nce(positive, has_p, negative, everything(3, 1), temperature=1.0)
    assert counted.tolist() == [True, False, True]
    assert mean_over_anchors(losses, counted).item() == pytest.approx(math.log(2))


def test_no_anchor_at_all():
    losses, counted = info_nce(
        torch.zeros(0, 2), nothing(0, 2), torch.zeros(0, 3), nothing(0, 3), temperature=1.0
    )
    assert mean_over_anchors(losses, counted) == 0


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_a_low_temperature_stays_finite_and_exact(value):
    """At tau 0.001 the exponentials themselves are infinite."""
    positive = torch.tensor([[value]]).requires_grad_()
    taken = everything(1, 1)
    losses, _ = info_nce(positive, taken, torch.tensor([[-value]]), taken, temperature=1e-3)
    losses.sum().backward()
    assert losses.item() == pytest.approx(0.0 if value > 0 else 2000.0)
    assert positive.grad.item() == pytest.approx(0.0 if value > 0 else -1000.0)


@given(seed=st.integers(0, 1000), tau=st.floats(0.05, 2))
def test_what_is_not_taken_does_not_matter(seed, tau):
    generator = torch.Generator().manual_seed(seed)
    positive, negative = (
        torch.rand(4, 3, generator=generator),
        torch.rand(4, 5, generator=generator),
    )
    has_p = torch.rand(4, 3, generator=generator) < 0.5
    has_q = torch.rand(4, 5, generator=generator) < 0.5
    one, _ = info_nce(positive, has_p, negative, has_q, temperature=tau)
    other, _ = info_nce(
        positive.masked_fill(~has_p, 77.0),
        has_p,
        negative.masked_fill(~has_q, 77.0),
        has_q,
        temperature=tau,
    )
    assert torch.equal(one, other)
    assert (one >= 0).all()
