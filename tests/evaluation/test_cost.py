"""The counter against torch's, and against arithmetic done by hand."""

from itertools import accumulate

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from poselens.evaluation.cost import Bytes, count_cost, count_macs
from poselens.pose.layouts import get_layout
from poselens.rgb.build import VARIANTS, build_rgb_network
from poselens.skeleton.build import build_skeleton_network

PAPER_GMACS = 35.1
SKELETON_GMACS = {"FineGym": 0.63, "NTU60": 1.94}
"""One CTR-GCN stream as its authors write it, at T=64, V=17, M=1 and at T=64, V=25, M=2."""


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv1d(8, 8, 5, groups=4)
        self.back = nn.ConvTranspose1d(8, 6, 3, stride=2, groups=2)
        self.head = nn.Linear(8, 10)

    def forward(self, image):
        maps = self.norm(self.convolution(image)).flatten(2)
        mixed = torch.einsum("nct,ncs->nts", maps, maps)
        narrow = self.grouped(maps)
        return self.head(narrow.mean(dim=2)), torch.baddbmm(mixed, mixed, mixed), self.back(narrow)


def by_torch(network, *inputs):
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(*inputs)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


def test_counts_convolutions_products_and_einsum():
    network, image = Small(), torch.randn(2, 3, 8, 6)
    cost = count_macs(network, image)
    convolution = 2 * (4 * 3) * 8 * 3 * 9
    grouped = 2 * 8 * 8 * 2 * 5  # 12 - 4 positions, 8 outputs, 2 inputs each
    back = 2 * 8 * 8 * 3 * 3  # each of 8 x 8 inputs goes to 3 outputs at 3 taps
    head = 2 * 8 * 10
    einsum, product = 2 * 12 * 12 * 8, 2 * 12 * 12 * 12
    assert {name: part.macs for name, part in cost.by_part.items()} == {
        "convolution": convolution,
        "norm": 0,
        "grouped": grouped,
        "back": back,
        "head": head,
        "rest": einsum + product,
    }
    assert cost.macs == convolution + grouped + back + head + einsum + product
    assert cost.macs == by_torch(network, image)
    assert [part.params for part in cost.by_part.values()] == [
        3 * 8 * 9 + 8,
        16,
        8 * 2 * 5 + 8,
        8 * 3 * 3 + 6,
        90,
        0,
    ]
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())


def test_parts_are_what_the_caller_calls_them():
    def part(module):
        return "inside" if module.startswith("1.") else "outside"

    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6)))
    cost = count_macs(network, torch.zeros(2, 3), part=part)
    assert list(cost.by_part) == ["outside", "inside"]
    assert (cost.by_part["outside"].macs, cost.by_part["inside"].macs) == (24, 100)
    assert (cost.by_part["outside"].params, cost.by_part["inside"].params) == (16, 61)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50", "mobilenetv2"])
def test_agrees_with_torch_on_every_backbone(backbone):
    with torch.device("meta"):
        network = build_rgb_network(backbone=backbone, num_classes=7, staa_blocks="all")
        clip = torch.empty(2, 3, 3, 96, 80)
    assert count_macs(network, clip).macs == by_torch(network, clip)


@pytest.mark.parametrize("variant", VARIANTS)
def test_agrees_with_torch_on_every_variant(variant):
    with torch.device("meta"):
        network = build_rgb_network(num_classes=99, **VARIANTS[variant])
        clip = torch.empty(1, 8, 3, 224, 224)
    assert count_macs(network, clip).macs == by_torch(network, clip)


@pytest.mark.parametrize("layout", ["ntu-25", "coco-17"])
@pytest.mark.parametrize("people", [1, 2])
def test_agrees_with_torch_on_the_graph_network(layout, people):
    joints = get_layout(layout)
    network = build_skeleton_network(layout=joints, num_classes=9, people=people, width=16)
    body = torch.rand(2, 3, 16, len(joints), people)
    assert count_macs(network, body).macs == by_torch(network, body)


def test_the_network_is_left_alone():
    network = Small().train()
    network.norm.eval()
    count_macs(network, torch.randn(1, 3, 8, 6))
    count_cost(network, torch.randn(1, 3, 8, 6))
    assert network.norm.num_batches_tracked == 0
    assert (network.training, network.norm.training, network.head.training) == (True, False, True)
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert {(tensor.device.type, tensor.dtype) for tensor in network.parameters()} == {
        ("cpu", torch.float32)
    }


class Plain(nn.Module):
    """A convolution, normalised and rectified in place, pooled, classified."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8, 5)

    def forward(self, image):
        maps = self.convolution(image)
        maps = F.relu(self.norm(maps), inplace=True)
        return self.head(self.pool(maps).mean(dim=(2, 3)))


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("bf16", 2)])
def test_memory_is_what_a_hand_adds_up(precision, width):
    cost, memory = count_cost(Plain(), torch.zeros(2, 3, 8, 6))
    image, maps, pooled = 2 * 3 * 48, 2 * 8 * 48, 2 * 8 * 12
    statistics = 2 * 8 * 4  # never narrower than single precision
    by_hand = {
        "convolution": image * width,
        "norm": maps * width + statistics,
        # which place was the largest, as integers of eight bytes
        "pool": pooled * 8,
        "head": 2 * 8 * width,
        # the rectified maps are kept by what rectifies them, not again by what pools them
        "rest": maps * width,
    }
    kept = {name: getattr(part.kept, precision) for name, part in memory.by_part.items()}
    peak = {name: getattr(part.peak, precision) for name, part in memory.by_part.items()}
    assert kept == by_hand
    assert getattr(memory.kept, precision) == sum(by_hand.values())
    # the image stays, as do the maps that are being normalised until there are normal ones
    assert peak["norm"] == (image + 2 * maps) * width + statistics
    assert peak["convolution"] == (image + maps) * width
    assert peak["pool"] == (image + maps + pooled) * width + pooled * 8
    assert getattr(memory.peak, precision) == max(peak.values())
    assert cost == count_macs(Plain(), torch.zeros(2, 3, 8, 6))


class Twice(nn.Module):
    def __init__(self, *, drop):
        super().__init__()
        self.enter = nn.Linear(4, 6, bias=False)
        self.drop = nn.Dropout(0.5) if drop else nn.Identity()

    def forward(self, rows):
        wide = self.drop(self.enter(rows).sigmoid())
        return wide * wide + wide.view(-1, 6).exp() * 0.5


def test_a_block_kept_twice_counts_once_and_training_is_what_is_counted():
    kept = count_cost(Twice(drop=False), torch.zeros(3, 4))[1].kept.fp32
    assert kept == 4 * (3 * 4 + 3 * 6 + 3 * 6)  # rows, their sigmoid, its exponential
    dropped = count_cost(Twice(drop=True), torch.zeros(3, 4))[1].kept.fp32
    assert dropped == kept + 2 * 4 * 3 * 6  # the noise, and what it left


def allocated(network, clip):
    """Return the bytes that a real pass leaves allocated, and the most it has at once."""
    with torch.autograd.profiler.profile(profile_memory=True, use_cpu=True) as profiler:
        logits = network(clip)
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    course = list(
        accumulate(event.nbytes() for event in sorted(events, key=lambda e: e.start_ns()))
    )
    own = clip.nbytes - logits.nbytes
    return course[-1] + own, max(course) + clip.nbytes


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_memory_is_what_the_allocator_hands_out(backbone):
    network = build_rgb_network(backbone=backbone, num_classes=9, width=0.25)
    clip = torch.randn(1, 4, 3, 64, 48)
    _, counted = count_cost(network, clip)
    kept, _ = allocated(network.train(), clip)
    with torch.no_grad():
        _, peak = allocated(network.eval(), clip)
    assert counted.kept.fp32 == kept
    # some convolutions take a workspace while they run
    assert counted.peak.fp32 <= peak <= 1.5 * counted.peak.fp32


def test_memory_grows_with_the_clips_of_a_batch():
    network = build_skeleton_network(layout=get_layout("coco-17"), num_classes=9, width=16)
    one, two = (count_cost(network, torch.zeros(n, 3, 16, 17, 1))[1] for n in (1, 2))
    assert two.kept == pytest.approx(Bytes(*(2 * size for size in one.kept)), rel=0.05)
    assert two.peak == pytest.approx(Bytes(*(2 * size for size in one.peak)), rel=0.05)


def rgb_cost(**options):
    with torch.device("meta"):
        network = build_rgb_network(num_classes=99, **options)
        return count_macs(network, torch.empty(1, 8, 3, 224, 224))


def resnet50_by_hand():
    """Sum the convolutions of ResNet-50 for 8 frames of 224x224 and a classifier of 99."""
    macs, inputs = 112**2 * 64 * 3 * 49, 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        planes, size = 64 * 2**stage, 56 // 2**stage
        for block in range(depth):
            first = size * 2 if block == 0 and stage > 0 else size
            macs += first**2 * inputs * planes
            macs += size**2 * planes**2 * 9 + size**2 * planes * planes * 4
            macs += size**2 * inputs * planes * 4 if block == 0 else 0
            inputs = planes * 4
    return 8 * (macs + 2048 * 99)


def staa_by_hand(planes, size):
    """Sum one STAA: ChannelSplit, then three times 3x3, temporal and pointwise on a quarter."""
    part = planes // 4
    return 8 * size**2 * (planes**2 + 3 * (9 * part**2 + 3 * part + part**2))


def test_resnet50_costs_what_its_table_says():
    cost = rgb_cost(backbone="resnet50", attend=False, aggregate=False)
    assert cost.macs == resnet50_by_hand()
    assert cost.macs / 1e9 == pytest.approx(32.70, abs=0.005)
    assert cost.by_part["fc"].macs == 8 * 2048 * 99


@pytest.mark.parametrize(
    ("blocks", "gmacs"),
    [("once", 33.00), ("last-of-stage", 33.89), ("every-second", 35.07), ("all", 37.45)],
)
def test_placements_cost_what_the_decision_record_says(blocks, gmacs):
    cost = rgb_cost(backbone="resnet50", staa_blocks=blocks)
    assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.006)


def options_by_hand(planes, size):
    """What an option adds to one STAA of 8 frames, by its name and value."""
    cells, part = 8 * size**2, planes // 4
    return {
        ("mask", "per-frame"): 0,
        ("mask", "squeeze"): 8 * 2 * planes * (planes // 16),
        ("mask", "full"): 0,
        ("motion", "absolute"): 0,
        ("phi", "depthwise"): cells * planes * 9,
        ("ta_order", "temporal-spatial"): 0,
        ("ta_kernel", 1): -cells * 3 * part * 2,
        ("ta_kernel", 5): cells * 3 * part * 2,
        ("ta_split", "block"): -cells * planes**2,
        ("start", "literal"): 0,
        ("causal", True): 0,
    }


@pytest.mark.parametrize(("option", "more"), options_by_hand(256, 14).items(), ids=str)
def test_options_cost_what_the_decision_record_says(option, more):
    name, value = option
    cost = rgb_cost(**VARIANTS["paper"], **{name: value})
    assert cost.macs == resnet50_by_hand() + staa_by_hand(256, 14) + more


@pytest.mark.parametrize("dataset", SKELETON_GMACS)
def test_paper_variant_and_a_skeleton_stream_stay_within_the_published_cost(dataset):
    cost = rgb_cost(**VARIANTS["paper"])
    assert cost.macs == resnet50_by_hand() + staa_by_hand(256, 14)
    assert cost.macs / 1e9 + SKELETON_GMACS[dataset] <= PAPER_GMACS


def test_motion_attention_alone_costs_no_multiplications_of_matrices():
    options = {"backbone": "mobilenetv2", "staa_blocks": "all", "aggregate": False}
    assert rgb_cost(**options).macs == rgb_cost(**(options | {"attend": False})).macs
