"""Small RGB networks with something to say, for tests of what they look at."""

import torch

from poselens.rgb.build import build_rgb_network
from poselens.rgb.difference_stem import DifferenceStem

KINDS = {
    "resnet18": {"backbone": "resnet18", "attend": False, "aggregate": False},
    "staa": {"backbone": "resnet18", "staa_blocks": "last-of-stage"},
    "resnet50": {"backbone": "resnet50", "staa_blocks": "once"},
    "mobilenetv2": {"backbone": "mobilenetv2", "aggregate": False, "staa_blocks": "once"},
    "causal": {"backbone": "resnet18", "causal": True},
    "difference-stem": {"backbone": "resnet18", "stem_frames": 3},
}


def small_network(kind="resnet18", *, classes=3, seed=0, **options):
    """A network in evaluation mode whose every part has an effect."""
    torch.manual_seed(seed)
    settings = {"width": 0.125, "dropout": 0.5, **KINDS[kind], **options}
    network = build_rgb_network(num_classes=classes, **settings).eval()
    with torch.no_grad():
        # more for a class than against it, so that there is something to see
        torch.nn.init.uniform_(network.fc.weight, -0.5, 1.0)
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                # as after training: not the identity, and not far from it
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.8, 1.2)
            elif isinstance(part, DifferenceStem):
                part.gain.fill_(0.5)
    return network


def small_clips(clips=2, frames=6, size=48, seed=1):
    return torch.randn(clips, frames, 3, size, size, generator=torch.Generator().manual_seed(seed))
