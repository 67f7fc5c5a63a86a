import itertools
import math

import pytest
import torch
from torch import nn

from poselens.rgb.build import build_rgb_network
from poselens.training.optim import build_optimizer, learning_rate, set_learning_rate


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.fc = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(2))


def make(network, **changes):
    settings = {
        "lr": 0.5,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.01,
        "decay_all": True,
        "head_lr_factor": 1.0,
    }
    return build_optimizer(network, **{**settings, **changes})


def rates(optimizer, network):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_one_group_by_default():
    network = Tiny()
    optimizer = make(network)
    assert len(optimizer.param_groups) == 1
    assert len(optimizer.param_groups[0]["params"]) == len(list(network.parameters()))
    assert optimizer.param_groups[0]["nesterov"] is True


def test_the_classifier_learns_faster_and_vectors_need_not_decay():
    network = Tiny()
    optimizer = make(network, head_lr_factor=5.0, decay_all=False)
    set_learning_rate(optimizer, 0.1)
    found = rates(optimizer, network)
    assert found == {
        "body.0.weight": (0.1, 0.01),
        "body.0.bias": (0.1, 0.0),
        "body.1.weight": (0.1, 0.0),
        "body.1.bias": (0.1, 0.0),
        "fc.weight": (0.5, 0.01),
        "fc.bias": (0.5, 0.0),
        "scale": (0.1, 0.0),
    }


def test_only_the_last_layer_of_the_rgb_network_is_a_classifier():
    network = build_rgb_network(backbone="resnet18", num_classes=3, width=0.125)
    optimizer = make(network, head_lr_factor=2.0)
    set_learning_rate(optimizer, 1.0)
    quick = {name for name, (lr, _) in rates(optimizer, network).items() if lr == 2.0}
    assert quick == {"fc.weight", "fc.bias"}


def rate(progress, **changes):
    settings = {
        "lr": 0.1,
        "epochs": 60,
        "schedule": "step",
        "milestones": (30, 45, 55),
        "gamma": 0.1,
        "warmup_epochs": 0,
    }
    return learning_rate(progress, **{**settings, **changes})


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0, 0.1), (29.99, 0.1), (30, 0.01), (44.9, 0.01), (45, 1e-3), (55, 1e-4), (59.9, 1e-4)],
)
def test_steps(progress, expected):
    assert rate(progress) == pytest.approx(expected)


def test_cosine_falls_from_the_rate_to_zero():
    curve = [rate(p / 10, schedule="cosine", warmup_epochs=5) for p in range(50, 601)]
    assert curve[0] == pytest.approx(0.1)
    assert curve[-1] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in itertools.pairwise(curve))
    middle = rate(5 + 55 / 3, schedule="cosine", warmup_epochs=5)
    assert middle == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi / 3)))
    assert rate(99, schedule="cosine") == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_the_warm_up_grows_evenly_to_the_rate(schedule):
    grown = [rate(p / 4, schedule=schedule, warmup_epochs=5) for p in range(20)]
    assert 0 < grown[0] < 0.001
    steps = [later - earlier for earlier, later in itertools.pairwise(grown)]
    assert steps == pytest.approx([steps[0]] * 19)
    assert rate(5, schedule=schedule, warmup_epochs=5) == pytest.approx(0.1)


def test_a_warm_up_as_long_as_the_run_is_no_fault():
    assert 0 < rate(59.5, schedule="cosine", warmup_epochs=60) < 0.1
