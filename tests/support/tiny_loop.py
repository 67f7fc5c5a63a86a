"""A network of two layers, four batches an epoch, and the loop around them."""

import numpy as np
import torch
from torch import nn

from poselens.training.loop import Plan, fit
from poselens.training.objectives import cross_entropy
from poselens.types import Scores


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))


def optimiser(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for group in optimizer.param_groups:
        group["lr_factor"] = 1.0
    return optimizer


def batch(key):
    generator = torch.Generator().manual_seed(key)
    label = torch.randint(0, 3, (6,), generator=generator)
    return {
        "inputs": (torch.randn(6, 4, generator=generator) + label[:, None],),
        "label": label,
        "index": torch.arange(6) + 6 * key,
        "id": [f"{key}-{row}" for row in range(6)],
    }


def batches(progress):
    for position in range(progress.step, 4):
        yield batch(10 * progress.epoch + position)


def scores(right):
    """Ten clips, of which ``right`` are recognised."""
    labels = np.arange(10) % 2
    logits = np.zeros((10, 2), np.float32)
    logits[np.arange(10), np.where(np.arange(10) < right, labels, 1 - labels)] = 1
    return Scores(logits, [str(row) for row in range(10)], labels, ["a", "b"], "test")


def plan(folder, **changes):
    facts = {
        "folder": folder,
        "title": "test",
        "epochs": 3,
        "steps": 4,
        "rate": lambda progress: 0.1 / (1 + progress),
        "amp": False,
        "replay": False,
        "compiled": None,
        "clip_norm": 1.0,
        "ema": 0.0,
        "select": "last",
        "fingerprint": "f",
    }
    return Plan(**{**facts, **changes})


def run(folder, *, given=batches, validate=None, resume=False, objective=None, **changes):
    folder.mkdir(exist_ok=True)
    model = network()
    beside = changes.pop("beside", None)
    observe = changes.pop("observe", lambda _: None)
    outcome = fit(
        model,
        objective or cross_entropy(),
        optimiser(model),
        batches=given,
        validate=validate,
        observe=observe,
        plan=plan(folder, **changes),
        resume=resume,
        beside=beside,
    )
    return model, outcome


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
