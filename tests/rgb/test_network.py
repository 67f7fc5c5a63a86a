"""The mean over the frames, the classifier, the layout in memory."""

import pytest
import torch
from torch import nn

from poselens.rgb.build import build_rgb_network


def tiny(**options):
    settings = {"backbone": "resnet18", "num_classes": 5, "width": 0.125} | options
    network = build_rgb_network(**settings)
    nn.init.normal_(network.fc.weight)
    return network


@torch.no_grad()
def test_logits_are_the_mean_of_the_frames_logits():
    network = tiny(shift=False, attend=False, aggregate=False).eval()
    clip = torch.randn(2, 3, 3, 32, 32)
    single = torch.stack([network(clip[:, t : t + 1]) for t in range(3)])
    torch.testing.assert_close(network(clip), single.mean(dim=0))
    assert not torch.allclose(single[0], single[1])


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_clips_of_a_batch_do_not_meet(backbone):
    network = tiny(backbone=backbone, staa_blocks="all").eval()
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma", "scale")):
            nn.init.normal_(parameter)
    clips = torch.randn(3, 4, 3, 33, 32)
    together = network(clips)
    torch.testing.assert_close(together[1:2], network(clips[1:2]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together[[2, 0, 1]], network(clips[[2, 0, 1]]), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_order_of_frames_matters_with_the_shift_and_not_without():
    clip = torch.randn(1, 4, 3, 32, 32)
    for shift in (True, False):
        network = tiny(shift=shift, attend=False, aggregate=False).eval()
        same = torch.allclose(network(clip), network(clip.flip(1)), atol=1e-5, rtol=1e-4)
        assert same is not shift


def test_dropout_stands_before_the_classifier_only_if_asked_for():
    assert tiny(dropout=0.5).dropout.p == 0.5
    assert isinstance(tiny(dropout=0.0).dropout, nn.Identity)


def test_the_classifier_starts_small():
    network = build_rgb_network(backbone="resnet18", num_classes=400, width=0.5)
    assert network.fc.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not network.fc.bias.any()


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
def test_features_keep_the_fast_memory_layout(backbone):
    network = tiny(backbone=backbone, staa_blocks="all")
    maps = network.features(torch.randn(2, 3, 3, 64, 64))
    assert maps.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
