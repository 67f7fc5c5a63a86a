"""What a compiler makes of the parts: the same values and slopes."""

import pytest
import torch
from torch import nn

from poselens.rgb.motion_attention import MotionAttention
from poselens.training.compiling import missing_for_compiling


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_the_slope_of_a_maximum_survives_other_bits():
    """A compiled difference is computed in more bits than the maximum that was kept of it."""
    missing = missing_for_compiling(torch.device("cpu"))
    if missing:
        pytest.skip(missing)
    torch.manual_seed(0)
    attention, before = MotionAttention(channels=8), nn.Conv2d(3, 8, 1)
    nn.init.normal_(attention.gamma)

    def moved(clip):
        features = torch.unflatten(before(clip.flatten(0, 1)).relu(), 0, clip.shape[:2])
        return attention(features, 2 * features)

    clip, slopes = torch.randn(2, 4, 3, 9, 9), []
    for spelling in (moved, torch.compile(moved, dynamic=False)):
        before.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = spelling(clip)
        out.float().square().sum().backward()
        slopes.append(before.weight.grad.clone())
    torch.testing.assert_close(slopes[1], slopes[0], rtol=0.05, atol=0.01 * slopes[0].abs().max())
