"""Eq. (11): cross entropy, one clip and one class at a time."""

import math

import pytest
import torch

from poselens.training.objectives import cross_entropy


def loss_by_loops(logits, labels, smoothing):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        summed = sum(math.exp(value) for value in row)
        for column, value in enumerate(row):
            target = (1 - smoothing) * (column == label) + smoothing / len(row)
            total -= target * math.log(math.exp(value) / summed)
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [2, 5, 99])
def test_cross_entropy_equals_the_loops(classes, smoothing):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(7, classes, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(0, classes, (7,), generator=generator)
    batch = {"inputs": (logits,), "label": labels}
    losses = cross_entropy(label_smoothing=smoothing)(torch.nn.Identity(), batch)
    expected = loss_by_loops(logits.tolist(), labels.tolist(), smoothing)
    assert losses.total.item() == pytest.approx(expected, rel=1e-12)
