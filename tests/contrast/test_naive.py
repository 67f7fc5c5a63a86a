"""The slow side of the benchmark computes the same, or its ratio says nothing."""

import importlib.util
from pathlib import Path

import pytest
import torch
from banks import rivals, scene

from poselens.contrast.losses import info_nce, mean_over_anchors
from poselens.contrast.negatives import class_aware, hard, random
from poselens.contrast.positives import least_similar

FILE = Path(__file__).parents[2] / "benchmarks" / "naive_contrast.py"


@pytest.fixture(scope="module")
def naive():
    spec = importlib.util.spec_from_file_location("naive_contrast", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.naive_contrast


# of random negatives only as many as there are, so that both have the same
@pytest.mark.parametrize(
    ("name", "sampler", "negatives"),
    [("hard", hard, 8), ("class-aware", class_aware, 8), ("random", random, 10_000)],
)
def test_the_naive_contrast_is_the_same(naive, name, sampler, negatives):
    made = scene(4, n=8, k=5, s=9, d=6)
    features = made.features.clone().requires_grad_()
    slow = naive(
        features,
        made.labels,
        made.clips,
        bank=made.bank,
        held=made.held,
        samplers=(name,),
        positives=3,
        negatives=negatives,
        cap=2,
    )
    (slow_gradient,) = torch.autograd.grad(slow, features)

    comparable = (made.held >= 0) & (made.held != made.clips[:, None, None])
    pulled = least_similar(made.similarity, comparable, made.labels, count=3)
    pushed = sampler(rivals(made), count=negatives, cap=2, seed=torch.tensor(0))
    similarity = features @ made.bank.flatten(0, 1).T
    positive, negative = (similarity.gather(1, chosen.place) for chosen in (pulled, pushed))
    losses = info_nce(positive, pulled.taken, negative, pushed.taken, temperature=0.8)
    loss = mean_over_anchors(*losses)
    (gradient,) = torch.autograd.grad(loss, features)
    torch.testing.assert_close(slow, loss)
    torch.testing.assert_close(slow_gradient, gradient)


def test_nothing_to_compare(naive):
    made = scene(0, filled=0.0)
    loss = naive(made.features, made.labels, made.clips, bank=made.bank, held=made.held)
    assert loss == 0
