"""The mean over the frames, the classifier, the layout in memory."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import lively
from torch import nn

from poselens.rgb.build import build_rgb_network


def tiny(**options):
    settings = {"backbone": "resnet18", "num_classes": 5, "width": 0.125} | options
    network = build_rgb_network(**settings)
    nn.init.normal_(network.fc.weight)
    return network


@cache
def full(backbone, stem_frames=1):
    return lively(backbone=backbone, stem_frames=stem_frames, staa_blocks="all")


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


@torch.no_grad()
@settings(max_examples=15)
@given(
    st.sampled_from(["resnet18", "resnet50", "mobilenetv2"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 50),
    st.integers(1, 50),
    st.sampled_from([1, 2]),
)
def test_any_size_and_any_number_of_clips_and_frames_will_do(
    backbone, clips, frames, rows, columns, stem_frames
):
    network = full(backbone, stem_frames)
    clip = torch.randn(clips, frames * stem_frames, 3, rows, columns)
    maps = network.features(clip)
    assert maps.shape[:2] == (clips, frames)
    assert maps.shape[3:] == (-(-rows // 32), -(-columns // 32))
    logits = network(clip)
    pooled = maps.mean(dim=(1, 3, 4)) @ network.fc.weight.T + network.fc.bias
    torch.testing.assert_close(logits, pooled, atol=1e-4, rtol=1e-4)
    alone = torch.cat([network(each) for each in clip.split(1)])
    torch.testing.assert_close(logits, alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [(33, 47), (48, 31)])
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
def test_a_clip_of_one_or_two_frames_sees_all_of_them(backbone, frames, size):
    network, clip = full(backbone), torch.randn(1, frames, 3, *size)
    before = network.features(clip)
    for frame in range(frames):
        changed = clip.clone()
        changed[:, frame] = torch.randn(3, *size)
        moved = (network.features(changed) - before).abs().amax(dim=(0, 2, 3, 4))
        assert (moved > 1e-2).all()


@torch.no_grad()
@pytest.mark.parametrize(
    ("backbone", "stem_frames"), [("resnet18", 2), ("resnet50", 1), ("mobilenetv2", 1)]
)
def test_a_crop_moved_by_the_stride_moves_the_features_by_one_cell(backbone, stem_frames):
    # A global mask of motion has no place. Cells 11 to 13 see less than 350 pixels to each side.
    network = lively(backbone=backbone, stem_frames=stem_frames, staa_blocks="once", attend=False)
    side, cells = 832, slice(11, 14)
    scene = torch.randn(1, 2 * stem_frames, 3, 64, side + 32)
    here = network.features(scene[..., :side])
    there = network.features(scene[..., 32:])
    moved = here[..., 1:] - there[..., :-1]
    assert moved[..., cells].abs().max() < 1e-4
    assert moved[..., 0].abs().max() > 1e-2
    assert moved[..., -1].abs().max() > 1e-2
    by_half = network.features(scene[..., 16 : side + 16])
    assert (here - by_half)[..., cells].abs().max() > 1e-2


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
