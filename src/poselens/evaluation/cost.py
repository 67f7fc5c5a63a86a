"""Arithmetic cost of a network, counted while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """What one call of a network costs.

    Attributes:
        macs: Multiply-accumulate operations of convolutions and matrix products.
        params: Numbers in its parameters; buffers do not count.
        by_part: ``macs`` of its modules and their direct children, by dotted name, dear first.
    """

    macs: int
    params: int
    by_part: Mapping[str, int]


def count_macs(network: nn.Module, *example_inputs: Tensor) -> Cost:
    """Run ``network`` once in evaluation mode and count MACs (FLOPs / 2) for the whole batch.

    Convolutions, linear layers, matrix products and what einsum makes of them count. Biases,
    normalisation, activations and other elementwise work do not, as is usual in the field. The
    mode of every module is restored, and a network on the ``meta`` device is counted for free.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network(*example_inputs)
    finally:
        for module, mode in modes:
            module.training = mode
    root = type(network).__name__
    parts = {
        name.removeprefix(f"{root}."): sum(flops.values()) // 2
        for name, flops in counter.get_flop_counts().items()
        if name.startswith(f"{root}.") and name.count(".") <= 2
    }
    return Cost(
        macs=counter.get_total_flops() // 2,
        params=sum(parameter.numel() for parameter in network.parameters()),
        by_part=dict(sorted(parts.items(), key=lambda part: -part[1])),
    )
