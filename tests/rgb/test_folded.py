"""A folded network says what the network says, with no normalisation left."""

import copy

import pytest
import torch
from lively import lively
from torch import nn

from poselens.rgb import convolution
from poselens.rgb.convolution import convolve
from poselens.rgb.folded import fold

PARTS = {
    "TSM": {"attend": False, "aggregate": False},
    "STAA": {"staa_blocks": "all"},
    "squeeze, depthwise, literal": {
        "staa_blocks": "all",
        "mask": "squeeze",
        "phi": "depthwise",
        "start": "literal",
    },
    "difference stem": {"stem_frames": 2},
}


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
@pytest.mark.parametrize("parts", PARTS)
@torch.no_grad()
def test_logits_stay_and_no_normalisation_is_left(backbone, parts):
    network = lively(backbone=backbone, **PARTS[parts]).double()
    clip = torch.randn(2, 4, 3, 33, 40, dtype=torch.float64)
    expected = network(clip)
    folded = fold(network, dtype=torch.float64)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    torch.testing.assert_close(folded(clip), expected, atol=1e-9, rtol=1e-9)
    assert expected.std() > 0.1
    assert torch.equal(network(clip), expected), "the network itself is left as it is"


@torch.no_grad()
def test_a_folded_causal_network_still_takes_frames_one_by_one():
    network = lively(backbone="resnet18", causal=True)
    clip, folded, state = torch.randn(1, 3, 3, 32, 32), fold(network), None
    for t in range(3):
        logits, state = folded.advance(clip[:, t : t + 1], state)
    torch.testing.assert_close(logits, network(clip), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_sixteen_bits_come_back_as_single_precision():
    network = lively(backbone="resnet18", staa_blocks="all")
    clip = torch.randn(2, 4, 3, 32, 32)
    logits = fold(network, dtype=torch.bfloat16)(clip)
    assert logits.dtype == torch.float32
    expected = network(clip)
    assert (logits - expected).abs().mean() < 0.1 * expected.std()


def test_convolve_is_max_of_zero_and_norm_of_convolution_plus_shortcut():
    torch.manual_seed(0)
    convolution_, norm = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4).eval()
    nn.init.uniform_(norm.running_mean, -1, 1)
    frames, shortcut = torch.randn(2, 3, 6, 5), torch.randn(2, 4, 3, 3)
    plain = norm(convolution_(frames))
    assert torch.equal(convolve(convolution_, norm, frames), plain.clamp(min=0))
    assert torch.equal(
        convolve(convolution_, norm, frames, shortcut=shortcut), (plain + shortcut).clamp(min=0)
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
@torch.no_grad()
def test_one_kernel_is_what_is_written_on_a_gpu(monkeypatch, backbone):
    network = lively(backbone=backbone, staa_blocks="all").cuda()
    folded = fold(network, dtype=torch.bfloat16)
    clip = torch.randn(8, 4, 3, 64, 64, device="cuda")
    exact = copy.deepcopy(network).double()(clip.double())
    found = (folded(clip) - exact).abs().mean()
    monkeypatch.setattr(convolution, "_is_one_kernel", lambda *_: False)
    with torch.autocast("cuda", torch.bfloat16):
        written = (network(clip) - exact).abs().mean()
    # a deep network of random weights carries every rounding on: compared with what is usual
    assert found <= 1.5 * written
    assert written < 0.6 * exact.std()
