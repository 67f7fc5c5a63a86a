"""A checkpoint with the names and shapes of the published CTR-GCN, spelled out one by one."""

from collections import OrderedDict

import torch

PUBLISHED = ((3, 64), (64, 64), (64, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 256),
             (256, 256), (256, 256))  # fmt: skip
"""Channels into and out of l1 to l10; l5 and l8, where they grow, halve time."""


def _convolution(names, place, outputs, inputs, frames=1):
    names[f"{place}.weight"] = (outputs, inputs, frames, 1)
    names[f"{place}.bias"] = (outputs,)


def _norm(names, place, channels):
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        names[f"{place}.{leaf}"] = (channels,)
    names[f"{place}.num_batches_tracked"] = ()


def published_shapes(*, joints, people, classes, channels=PUBLISHED, coordinates=3):
    names = OrderedDict()
    _norm(names, "data_bn", people * joints * coordinates)
    for number, (inputs, outputs) in enumerate(((coordinates, channels[0][1]), *channels[1:]), 1):
        block = f"l{number}"
        names[f"{block}.gcn1.PA"] = (3, joints, joints)
        names[f"{block}.gcn1.alpha"] = (1,)
        relations = 8 if inputs in (3, 9) else inputs // 8
        for subset in range(3):
            place = f"{block}.gcn1.convs.{subset}"
            _convolution(names, f"{place}.conv1", relations, inputs)
            _convolution(names, f"{place}.conv2", relations, inputs)
            _convolution(names, f"{place}.conv3", outputs, inputs)
            _convolution(names, f"{place}.conv4", outputs, relations)
        if inputs != outputs:
            _convolution(names, f"{block}.gcn1.down.0", outputs, inputs)
            _norm(names, f"{block}.gcn1.down.1", outputs)
        _norm(names, f"{block}.gcn1.bn", outputs)
        quarter = outputs // 4
        for branch in range(4):
            place = f"{block}.tcn1.branches.{branch}"
            _convolution(names, f"{place}.0", quarter, outputs)
            _norm(names, f"{place}.1", quarter)
            if branch < 2:
                _convolution(names, f"{place}.3.conv", quarter, quarter, frames=5)
                _norm(names, f"{place}.3.bn", quarter)
            if branch == 2:
                _norm(names, f"{place}.4", quarter)
        if number > 1 and inputs != outputs:
            _convolution(names, f"{block}.residual.conv", outputs, inputs)
            _norm(names, f"{block}.residual.bn", outputs)
    names["fc.weight"] = (classes, channels[-1][1])
    names["fc.bias"] = (classes,)
    return names


def published_checkpoint(*, seed=0, dtype=torch.float32, **size):
    """Random weights, statistics and strengths; no two values agree, so none can be swapped."""
    draw = torch.Generator().manual_seed(seed)
    tensors = OrderedDict()
    for name, shape in published_shapes(**size).items():
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            tensors[name] = torch.tensor(4000)
            continue
        values = torch.randn(shape, generator=draw, dtype=dtype)
        fan = max(1, values[0].numel())
        if leaf == "running_var" or (leaf == "weight" and values.dim() == 1):
            values = 0.5 + torch.rand(shape, generator=draw, dtype=dtype)
        elif leaf in ("bias", "running_mean"):
            values = 0.2 * values
        elif leaf == "PA":
            values = values / shape[-1]
        elif leaf == "weight":
            values = values / fan**0.5
        tensors[name] = values
    return tensors
