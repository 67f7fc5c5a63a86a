"""A narrow RGB network in which every part has an effect, for tests of what parts see."""

import torch
from torch import nn

from poselens.rgb.build import build_rgb_network

STARTS_WITHOUT_EFFECT = ("gamma", "scale", "gain")


@torch.no_grad()
def lively(*, backbone, stem_frames=1, **options):
    """Build a network in evaluation mode whose logits are of order one and depend on everything."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build_rgb_network(
            backbone=backbone,
            num_classes=5,
            width=0.25 if backbone == "mobilenetv2" else 0.125,
            stem_frames=stem_frames,
            dropout=0.0,
            **options,
        )
        for name, parameter in network.named_parameters():
            if name.rpartition(".")[2] in STARTS_WITHOUT_EFFECT:
                nn.init.normal_(parameter, std=0.5)
        nn.init.normal_(network.fc.weight, std=network.fc.in_features**-0.5)
        norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            nn.init.uniform_(norm.bias, -0.3, 0.3)
            norm.momentum = None  # the mean of all batches: here of one
        network.train()(torch.randn(4, 4 * stem_frames, 3, 64, 64))
        # activations grow from block to block, so logits of order one need smaller weights
        scale = network.features(torch.randn(2, 2 * stem_frames, 3, 64, 64)).abs().mean()
        network.fc.weight /= scale
        for norm in norms:
            norm.momentum = 0.1
    return network.eval()
