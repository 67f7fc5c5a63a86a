"""What a network with a difference stem sees of its snippets, and what it starts from."""

import pytest
import torch
from lively import lively
from torch import nn

from poselens.errors import UsageError
from poselens.evaluation.cost import count_macs
from poselens.rgb.build import build_rgb_network
from poselens.rgb.difference_stem import DifferenceStem
from poselens.rgb.published import load_published

BACKBONES = ("resnet18", "resnet50", "mobilenetv2")
PLAIN = {"attend": False, "aggregate": False}
NAMES = {"conv.weight", "gain", *(f"bn.{name}" for name in ("weight", "bias"))}


def narrow(backbone, **options):
    return build_rgb_network(backbone=backbone, num_classes=5, width=0.25, **options)


@torch.no_grad()
@pytest.mark.parametrize("frames", [2, 3, 6])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_at_the_start_logits_are_those_of_the_middle_frames(backbone, frames):
    plain = lively(backbone=backbone, staa_blocks="once")
    width = 0.25 if backbone == "mobilenetv2" else 0.125
    network = build_rgb_network(
        backbone=backbone, num_classes=5, width=width, staa_blocks="once", stem_frames=frames
    ).eval()
    names = network.load_state_dict(plain.state_dict(), strict=False)
    assert names.unexpected_keys == []
    assert all(name.startswith("backbone.difference_stem.") for name in names.missing_keys)

    clip = torch.randn(2, 3 * frames, 3, 33, 47)
    middle = clip[:, frames // 2 :: frames]
    torch.testing.assert_close(network(clip), plain(middle), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_from_imagenet_leave_the_stem_as_it_is(backbone):
    source = narrow(backbone, stem_frames=1, **PLAIN)
    tensors = {name.removeprefix("backbone."): value for name, value in source.state_dict().items()}
    network = narrow(backbone, stem_frames=4, **PLAIN)
    report = load_published(network, tensors)
    assert set(report.taken) == set(tensors)
    assert [name for name in report.kept if "difference" in name] == ["backbone.difference_stem.*"]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_single_frames_need_no_stem(backbone):
    with torch.device("meta"):
        plain = narrow(backbone, stem_frames=1).state_dict()
        added = set(narrow(backbone, stem_frames=2).state_dict()) - set(plain)
    assert all("difference" not in name for name in plain)
    parts = {name.removeprefix("backbone.difference_stem.") for name in added}
    buffers = {f"bn.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert parts == NAMES | buffers


@pytest.mark.parametrize(
    ("frames", "size"), [(2, (64, 64)), (3, (33, 47)), (4, (31, 36)), (5, (65, 34)), (6, (1, 2))]
)
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_differences_arrive_at_the_size_of_the_backbones_stem(backbone, frames, size):
    with torch.device("meta"):
        network = narrow(backbone, stem_frames=frames)
        found = network.features(torch.empty(2, 3 * frames, 3, *size))
    cells = [-(-side // 32) for side in size]
    assert found.shape == (2, 3, network.fc.in_features, *cells)


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_differences_cross_neither_snippets_nor_clips(backbone):
    network = lively(backbone=backbone, stem_frames=3, shift=False, **PLAIN)
    clips = torch.randn(2, 9, 3, 40, 40)
    before = network.features(clips)
    for frame in range(9):
        changed = clips.clone()
        changed[1, frame] += torch.randn(3, 40, 40)
        moved = (network.features(changed) - before).abs().amax(dim=(2, 3, 4))
        assert moved[1, frame // 3] > 1e-2
        moved[1, frame // 3] = 0
        assert moved.max() < 1e-5


@torch.no_grad()
def test_only_the_middle_frame_passes_the_backbones_own_stem():
    network = lively(backbone="resnet18", stem_frames=4, **PLAIN)
    clip = torch.randn(1, 8, 3, 32, 32)
    seen = []
    network.backbone.conv1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    network(clip)
    assert torch.equal(torch.cat(seen), clip[0, [2, 6]])


@torch.no_grad()
def test_a_brightness_of_its_own_is_no_motion():
    stem = lively(backbone="resnet18", stem_frames=3, **PLAIN).backbone.difference_stem
    clip, maps = torch.randn(1, 6, 3, 16, 16), torch.zeros(1, 2, 8, 4, 4)
    brighter = clip + torch.tensor([1.0, 1, 1, 5, 5, 5]).view(1, 6, 1, 1, 1)
    torch.testing.assert_close(stem(brighter, maps), stem(clip, maps), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(stem(clip.flip(1), maps), stem(clip, maps), atol=1e-2)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_learns_from_the_second_step(backbone):
    torch.manual_seed(0)
    network = narrow(backbone, stem_frames=3, dropout=0.0, **PLAIN)
    nn.init.normal_(network.fc.weight)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        clip, labels = torch.randn(2, 6, 3, 40, 40), torch.tensor([0, 3])
        nn.functional.cross_entropy(network(clip), labels).backward()
        gradients = {name: p.grad.abs().sum().item() for name, p in network.named_parameters()}
        optimiser.step()
    assert [name for name, gradient in gradients.items() if gradient == 0] == []


@pytest.mark.parametrize("backbone", BACKBONES)
def test_features_keep_the_fast_memory_layout(backbone):
    network = lively(backbone=backbone, stem_frames=2, **PLAIN)
    seen = []
    network.backbone.difference_stem.register_forward_hook(lambda *given: seen.append(given[2]))
    maps = network.features(torch.randn(2, 4, 3, 64, 64))
    for found in (maps, seen[0]):
        assert found.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_clips_of_broken_snippets_are_refused(backbone, frames):
    network = narrow(backbone, stem_frames=6, **PLAIN)
    message = rf"found {frames} frames; expected a multiple of the 6 .*Mend: give all frames"
    with pytest.raises(UsageError, match=message) as caught:
        network(torch.zeros(1, frames, 3, 32, 32))
    assert caught.value.code == "CFG-036"


@pytest.mark.parametrize(
    ("backbone", "added"),
    [("resnet50", 56 * 56 * 64 * 15 * 49), ("mobilenetv2", 112 * 112 * 32 * 15 * 49)],
)
def test_the_cost_is_that_of_one_convolution(backbone, added):
    costs = []
    for frames in (1, 6):
        with torch.device("meta"):
            network = build_rgb_network(
                backbone=backbone, num_classes=99, stem_frames=frames, **PLAIN
            )
            clip = torch.empty(1, 8 * frames, 3, 224, 224)
            costs.append(count_macs(network, clip, part=lambda module: module))
    assert costs[1].macs - costs[0].macs == 8 * added
    assert costs[1].by_part["backbone.difference_stem.conv"].macs == 8 * added


def test_print_shows_the_length_of_a_snippet():
    stem = DifferenceStem(frames=6, channels=8, stride=2)
    assert str(stem).splitlines()[1].strip() == "frames=6"
