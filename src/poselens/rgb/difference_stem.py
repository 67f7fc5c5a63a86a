"""Difference stem: what moves within a snippet, beside the backbone's own first layers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.errors import UsageError


def snippet_differences(
    snippets: Float[Tensor, "n s f 3 h w"],
) -> Float[Tensor, "n s d i j"]:
    """Return the f - 1 differences of neighbouring frames at half size, one after another.

    ``d = 3 (f - 1)``: pair by pair, each in red, green and blue. Cells of 2 x 2 pixels are
    averaged; at odd sizes the last row and column stand for themselves.
    """
    # Subtracted first: close numbers subtract exactly in bfloat16, and their means would not.
    pairs = (snippets[:, :, 1:] - snippets[:, :, :-1]).flatten(2, 3)
    halved = F.avg_pool2d(pairs.flatten(0, 1), 2, ceil_mode=True)
    return torch.unflatten(halved, 0, snippets.shape[:2])


class DifferenceStem(nn.Module):
    r"""Add the differences within each snippet to the features of its middle frame.

    .. math:: S = stem(I_{\lfloor f/2 \rfloor}) + g \cdot relu(norm(conv(D))), \quad
        D = pool_2([I_1 - I_0, \dots, I_{f-1} - I_{f-2}])

    With I the f frames of a snippet, stem the backbone's own first layers, conv a 7x7 convolution
    of 3 (f - 1) channels with a stride that brings D to the size of stem's maps, and g one gain per
    channel. No difference leaves its snippet. With ResNet-50 and 8 snippets of 6 frames of 224x224
    it adds 1.18 GMACs to 32.70; with MobileNetV2, whose stem has a stride of 2, 2.36 to 2.40.

    Source: the short-term module of Wang, Tong, Ji, Wu: TDN, CVPR 2021.

    Departure: the paper loads snippets of six frames, reports a cost that only one frame of each
    fits, and does not say what becomes of the others. Here, unlike in TDN, the differences do not
    pass a copy of the first stage; g starts at 0, so that pretrained weights compute at first
    exactly what they do for the middle frame alone; and conv starts at random as the backbone's
    convolutions do, not as a mean of pretrained weights.
    """

    def __init__(self, *, frames: int, channels: int, stride: int) -> None:
        """Build the layers.

        Args:
            frames: Frames of a snippet, 2 or more.
            channels: Channels of the backbone's own stem.
            stride: Stride of the convolution: half of that of the backbone's own stem.
        """
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(3 * (frames - 1), channels, 7, stride, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.gain = nn.Parameter(torch.zeros(channels))

    def _snippets(self, clip: Float[Tensor, "n t 3 h w"]) -> Float[Tensor, "n s f 3 h w"]:
        if clip.shape[1] % self.frames:
            raise UsageError(
                "CFG-036",
                f"found {clip.shape[1]} frames; expected a multiple of the {self.frames} frames of "
                "a snippet",
                mend="give all frames of each snippet, one snippet after another",
            )
        return torch.unflatten(clip, 1, (-1, self.frames))

    def middle(self, clip: Float[Tensor, "n t 3 h w"]) -> Float[Tensor, "n s 3 h w"]:
        """Return the frame of each snippet that passes the backbone's own stem.

        Raises:
            UsageError: ``CFG-036`` for a clip that is not made of whole snippets.
        """
        return self._snippets(clip)[:, :, self.frames // 2]

    def forward(
        self, clip: Float[Tensor, "n t 3 h w"], maps: Float[Tensor, "n s c i j"]
    ) -> Float[Tensor, "n s c i j"]:
        """Return ``maps``, the stem's features of the middle frames, plus those of the differences.

        Args:
            clip: All frames of all snippets, one snippet after another: t = s * f.
            maps: What the backbone's own stem makes of `middle`.

        Raises:
            UsageError: ``CFG-036`` for a clip that is not made of whole snippets.
        """
        differences = snippet_differences(self._snippets(clip))
        motion = F.relu(self.bn(self.conv(differences.flatten(0, 1))), inplace=True)
        motion = torch.unflatten(motion, 0, maps.shape[:2])
        return torch.addcmul(maps, motion, self.gain.view(-1, 1, 1).to(maps.dtype))

    def extra_repr(self) -> str:
        """Show the length of a snippet."""
        return f"frames={self.frames}"
