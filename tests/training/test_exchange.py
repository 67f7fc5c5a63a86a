import torch
from torch import nn

from poselens.training.exchange import Exchange
from poselens.training.objectives import Losses
from poselens.training.ranks import Ranks


class WithAnother(Ranks):
    """The first of two ranks, of which the other gives zeros."""

    def average(self, tensors):
        for tensor in tensors:
            tensor /= 2


def test_frozen_statistics_are_not_averaged():
    """A mean of equal numbers, weighted by clips, is off by a rounding."""
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    for norm in network:
        nn.init.constant_(norm.running_mean, 3.0)
    exchange = Exchange(WithAnother(0, 2), network)
    network[0].eval()
    batch = {"label": torch.tensor([0]), "counts": (1, 3)}
    losses = Losses(torch.tensor(1.0), {}, torch.zeros(1, 2))
    exchange(losses, [], batch)
    assert network[0].running_mean.tolist() == [3.0, 3.0]
    assert network[1].running_mean.tolist() == [0.75, 0.75]
