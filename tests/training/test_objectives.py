import torch
from torch import nn
from torch.nn import functional as F

from poselens.training.objectives import cross_entropy


def test_cross_entropy_of_the_networks_logits():
    torch.manual_seed(0)
    network = nn.Linear(3, 4)
    batch = {"inputs": (torch.randn(5, 3),), "label": torch.tensor([0, 3, 1, 2, 2])}
    losses = cross_entropy()(network, batch)
    torch.testing.assert_close(losses.logits, network(batch["inputs"][0]))
    torch.testing.assert_close(losses.total, F.cross_entropy(losses.logits, batch["label"]))
    assert losses.parts == {"ce": losses.total}
    losses.total.backward()
    assert network.weight.grad is not None


def test_every_input_goes_to_the_network():
    def network(first, second):
        return first + second

    batch = {"inputs": (torch.ones(1, 2), torch.tensor([[0.0, 5.0]])), "label": torch.tensor([1])}
    assert cross_entropy()(network, batch).logits.tolist() == [[1, 6]]
