"""The counter against arithmetic done by hand."""

import pytest
import torch
from torch import nn

from poselens.evaluation.cost import count_macs
from poselens.rgb.build import VARIANTS, build_rgb_network

PAPER_GMACS = 35.1
SKELETON_GMACS = {"FineGym": 0.63, "NTU60": 1.94}
"""One CTR-GCN stream at T=64, V=17, M=1 and at T=64, V=25, M=2."""


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv1d(8, 8, 5, groups=4)
        self.head = nn.Linear(8, 10)

    def forward(self, image):
        maps = self.norm(self.convolution(image)).flatten(2)
        mixed = torch.einsum("nct,ncs->nts", maps, maps)
        return self.head(self.grouped(maps).mean(dim=2)), mixed


def test_counts_convolutions_products_and_einsum():
    cost = count_macs(Small(), torch.randn(2, 3, 8, 6))
    convolution = 2 * (4 * 3) * 8 * 3 * 9
    grouped = 2 * 8 * 8 * 2 * 5  # 12 - 4 positions, 8 outputs, 2 inputs each
    head = 2 * 8 * 10
    einsum = 2 * 12 * 12 * 8
    assert cost.macs == convolution + grouped + head + einsum
    assert cost.by_part == {"convolution": convolution, "grouped": grouped, "head": head}
    assert list(cost.by_part) == ["convolution", "grouped", "head"]
    assert cost.params == 3 * 8 * 9 + 8 + 16 + 8 * 2 * 5 + 8 + 90


def test_statistics_and_modes_stay_as_they_were():
    network = Small().train()
    network.norm.eval()
    count_macs(network, torch.randn(1, 3, 8, 6))
    assert network.norm.num_batches_tracked == 0
    assert (network.training, network.norm.training, network.head.training) == (True, False, True)


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
    assert cost.by_part["fc"] == 8 * 2048 * 99


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
