"""Motion attention (MA): Eq. (3)-(5)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.rgb.memory import Memory

Mask = Literal["global", "per-frame", "squeeze", "full"]
"""What Eq. (4) makes of the differences."""
Motion = Literal["signed", "absolute"]
"""Whether a fall counts as much as a rise."""
Phi = Literal["own", "depthwise"]
"""The convolution of Eq. (5): the block's own, or a depthwise one before it."""


def motion_mask(clip: Float[Tensor, "n t c h w"]) -> Float[Tensor, "n 1 c 1 1"]:
    r"""Score each channel of each clip by its strongest rise between neighbouring frames.

    .. math::
        F(t) = M(t+1) - M(t), \qquad F_{mask} = \sigma(\max_t \max_{h,w} F)

    Eq. (3) and (4).

    Departure: Eq. (3) gives T - 1 differences while the text lists T of them. A padded zero would
    hide a negative maximum, so only the T - 1 real pairs are pooled. A single frame has no motion:
    its mask is sigma(0).
    """
    if clip.shape[1] == 1:
        return torch.full_like(clip[:, :, :, :1, :1], 0.5)
    motion = clip[:, 1:] - clip[:, :-1]
    return torch.sigmoid(motion.amax(dim=(1, 3, 4), keepdim=True))


class MotionAttention(nn.Module):
    r"""Add the features, weighed by how much their channels move, to their context. Eq. (3)-(5).

    .. math:: M_{map} = \gamma \cdot M \odot F_{mask} + \varphi(M)

    with :math:`\varphi` the 3x3 convolution and normalisation the block has anyway.

    Departure: gamma, one number per channel, is not in Eq. (5). It starts at 0, so that a
    pretrained block computes at first exactly what it did; gamma = 1 is the equation. Where the
    convolution has a stride the masked term is averaged over the same cells.
    """

    def __init__(self, *, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        clip: Float[Tensor, "n t c h w"],
        context: Float[Tensor, "n t c i j"],
        memory: Memory | None = None,
    ) -> Float[Tensor, "n t c i j"]:
        """Return the motion map of ``clip``, given ``context`` = phi(clip)."""
        weight = (motion_mask(clip) * self.gamma.view(-1, 1, 1)).to(context.dtype)
        if self.stride > 1:
            # ceil_mode and the exclusion of padding match ceil(h / stride) cells at odd sizes.
            pooled = F.avg_pool2d(
                clip.flatten(0, 1), self.stride, ceil_mode=True, count_include_pad=False
            )
            clip = torch.unflatten(pooled, 0, clip.shape[:2])
        return torch.addcmul(context, clip, weight)

    def extra_repr(self) -> str:
        """Show width and stride."""
        return f"channels={self.gamma.numel()}, stride={self.stride}"
