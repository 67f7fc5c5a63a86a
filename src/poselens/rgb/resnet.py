"""ResNet without its classifier, under torchvision's parameter names, on clips."""

from collections.abc import Callable, Collection
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.rgb.convolution import convolve
from poselens.rgb.difference_stem import DifferenceStem
from poselens.rgb.memory import Memory
from poselens.rgb.staa import Staa
from poselens.rgb.temporal_shift import TemporalShift

RESNETS: dict[str, tuple[Literal["basic", "bottleneck"], tuple[int, int, int, int]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
}
"""Kind of block, and blocks in each stage. He, Zhang, Ren, Sun: CVPR 2016, table 1."""


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(outputs),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, with the shift before the first.

    Departure: STAA was described for bottlenecks. Here it takes the place of the second
    convolution, whose input and output agree in width and size, and the shortcut is added after it.
    """

    expansion = 1

    def __init__(
        self, *, inputs: int, planes: int, stride: int, shift: nn.Module, staa: nn.Module
    ) -> None:
        super().__init__()
        self.shift = shift
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.staa = staa
        self.downsample = _downsample(inputs, planes, stride)

    def _phi(self, frames: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c i j"]:
        normalised: Tensor = self.bn2(self.conv2(frames))
        return normalised

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t d i j"]:
        """Return the block's features of every frame."""
        size = clip.shape[:2]
        mixed = self.shift(clip, memory) if isinstance(self.shift, TemporalShift) else clip
        inner = convolve(self.conv1, self.bn1, mixed.flatten(0, 1))
        shortcut = self.downsample(clip.flatten(0, 1))
        if isinstance(self.staa, Staa):
            mapped = self.staa(torch.unflatten(inner, 0, size), self._phi, memory).flatten(0, 1)
            outer = F.relu(mapped + shortcut, inplace=True)
        else:
            outer = convolve(self.conv2, self.bn2, inner, shortcut=shortcut)
        return torch.unflatten(outer, 0, size)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution and a shortcut, with the shift before the first.

    The stride is in the 3x3 convolution, as in torchvision. STAA stands between the first and the
    last convolution, with the second as its phi.
    """

    expansion = 4

    def __init__(
        self, *, inputs: int, planes: int, stride: int, shift: nn.Module, staa: nn.Module
    ) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.shift = shift
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.staa = staa
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _downsample(inputs, outputs, stride)

    def _phi(self, frames: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c i j"]:
        normalised: Tensor = self.bn2(self.conv2(frames))
        return normalised

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t d i j"]:
        """Return the block's features of every frame."""
        size = clip.shape[:2]
        mixed = self.shift(clip, memory) if isinstance(self.shift, TemporalShift) else clip
        inner = convolve(self.conv1, self.bn1, mixed.flatten(0, 1))
        if isinstance(self.staa, Staa):
            mapped = self.staa(torch.unflatten(inner, 0, size), self._phi, memory).flatten(0, 1)
            middle = F.relu(mapped, inplace=True)
        else:
            middle = convolve(self.conv2, self.bn2, inner)
        shortcut = self.downsample(clip.flatten(0, 1))
        outer = convolve(self.conv3, self.bn3, middle, shortcut=shortcut)
        return torch.unflatten(outer, 0, size)


class ResNet(nn.Module):
    """The residual network up to its last feature maps.

    Departure: ``width`` scales all channels, rounded to multiples of 8, for tests and small
    machines; 1 is the published network.
    """

    def __init__(
        self,
        *,
        kind: Literal["basic", "bottleneck"],
        depths: tuple[int, int, int, int],
        width: float,
        shift: Callable[[], nn.Module],
        staa: Callable[[int, int], nn.Module],
        sites: Collection[int],
        stem: Callable[[int, int], nn.Module],
    ) -> None:
        """Build the stages.

        Args:
            kind: Which residual block.
            depths: Blocks in each stage.
            width: Multiple of the published numbers of channels.
            shift: Makes what every block does before its first convolution.
            staa: Makes an STAA, of channels and the stride of the convolution it stands at.
            sites: Blocks that carry STAA, counted from 0 through all stages.
            stem: Makes what adds a snippet's differences, of channels and the stride from frames
                of half size to where the backbone's own stem ends.
        """
        super().__init__()
        block = BasicBlock if kind == "basic" else Bottleneck
        planes = max(8, round(64 * width / 8) * 8)
        self.conv1 = nn.Conv2d(3, planes, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.difference_stem = stem(planes, 2)
        self.channels = planes
        number = 0
        stages: list[nn.Sequential] = []
        for depth in depths:
            blocks: list[nn.Module] = []
            for position in range(depth):
                stride = 2 if stages and position == 0 else 1
                # the second convolution has the stride of a bottleneck only
                inner_stride = stride if kind == "bottleneck" else 1
                blocks.append(
                    block(
                        inputs=self.channels,
                        planes=planes,
                        stride=stride,
                        shift=shift(),
                        staa=staa(planes, inner_stride) if number in sites else nn.Identity(),
                    )
                )
                self.channels = planes * block.expansion
                number += 1
            stages.append(nn.Sequential(*blocks))
            planes *= 2
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        for name, part in self.named_modules():
            if isinstance(part, nn.Conv2d) and ".staa." not in name:
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, clip: Float[Tensor, "n t 3 h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c i j"]:
        """Return the last feature maps of every frame."""
        added = self.difference_stem if isinstance(self.difference_stem, DifferenceStem) else None
        frames = clip if added is None else added.middle(clip)
        stem = convolve(self.conv1, self.bn1, frames.flatten(0, 1))
        features = torch.unflatten(self.maxpool(stem), 0, frames.shape[:2])
        if added is not None:
            features = added(clip, features)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                features = block(features, memory)
        return features
