"""MobileNetV2 without its classifier, under torchvision's parameter names, on clips."""

from collections.abc import Callable, Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poselens.rgb.difference_stem import DifferenceStem
from poselens.rgb.memory import Memory
from poselens.rgb.staa import Staa
from poselens.rgb.temporal_shift import TemporalShift

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and first stride. Sandler et al.: CVPR 2018, table 2."""


def _scaled(channels: int, width: float) -> int:
    """Round to a multiple of 8, and never down by more than a tenth, as the published nets do."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


def _convolution(
    inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; a shortcut where the shape allows.

    The shift comes before the expansion of the blocks with a shortcut, as in TSM.

    Departure: STAA was described for ResNet. Here phi is the depthwise 3x3 convolution.
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        expansion: int,
        stride: int,
        shift: nn.Module,
        staa: nn.Module,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.shift = shift
        expand = [_convolution(inputs, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            _convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, kernel_size=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.staa = staa

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t d i j"]:
        """Return the block's features of every frame."""
        size = clip.shape[:2]
        *expand, depthwise, project, norm = self.conv
        mixed = self.shift(clip, memory) if isinstance(self.shift, TemporalShift) else clip
        inner = mixed.flatten(0, 1)
        for part in expand:
            inner = part(inner)
        if isinstance(self.staa, Staa):
            convolution, normalise, activate = depthwise.children()
            phi = nn.Sequential(convolution, normalise)
            outer = self.staa(torch.unflatten(inner, 0, size), phi, memory)
            outer = activate(outer.flatten(0, 1))
        else:
            outer = depthwise(inner)
        projected = torch.unflatten(norm(project(outer)), 0, size)
        return clip + projected if self.shortcut else projected


class MobileNetV2(nn.Module):
    """The network up to its last feature maps; ``width`` as in the publication."""

    def __init__(
        self,
        *,
        width: float,
        shift: Callable[[], nn.Module],
        staa: Callable[[int, int], nn.Module],
        sites: Collection[int],
        stem: Callable[[int, int], nn.Module],
    ) -> None:
        """Build the blocks.

        Args:
            width: Multiple of the published numbers of channels.
            shift: Makes what blocks with a shortcut do before their expansion.
            staa: Makes an STAA, of channels and the stride of the convolution it stands at.
            sites: Blocks that carry STAA, counted from 0 through all stages.
            stem: Makes what adds a snippet's differences, of channels and the stride from frames
                of half size to where the backbone's own stem ends.
        """
        super().__init__()
        inputs = _scaled(32, width)
        self.difference_stem = stem(inputs, 1)
        parts: list[nn.Module] = [_convolution(3, inputs, 3, stride=2)]
        for expansion, channels, depth, first_stride in STAGES:
            outputs = _scaled(channels, width)
            for position in range(depth):
                stride = first_stride if position == 0 else 1
                shortcut = stride == 1 and inputs == outputs
                parts.append(
                    InvertedResidual(
                        inputs=inputs,
                        outputs=outputs,
                        expansion=expansion,
                        stride=stride,
                        shift=shift() if shortcut else nn.Identity(),
                        staa=staa(inputs * expansion, stride)
                        if len(parts) - 1 in sites
                        else nn.Identity(),
                    )
                )
                inputs = outputs
        self.channels = _scaled(1280, max(1.0, width))
        parts.append(_convolution(inputs, self.channels, 1))
        self.features = nn.Sequential(*parts)
        for name, part in self.named_modules():
            if isinstance(part, nn.Conv2d) and ".staa." not in name:
                nn.init.kaiming_normal_(part.weight, mode="fan_out")

    def forward(
        self, clip: Float[Tensor, "n t 3 h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c i j"]:
        """Return the last feature maps of every frame."""
        stem, *blocks, last = self.features
        added = self.difference_stem if isinstance(self.difference_stem, DifferenceStem) else None
        frames = clip if added is None else added.middle(clip)
        features = torch.unflatten(stem(frames.flatten(0, 1)), 0, frames.shape[:2])
        if added is not None:
            features = added(clip, features)
        for block in blocks:
            features = block(features, memory)
        return torch.unflatten(last(features.flatten(0, 1)), 0, features.shape[:2])
