"""Temporal shift: neighbouring frames exchange channels at no arithmetic cost."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.rgb.memory import Memory


def shift(clip: Float[Tensor, "n t c h w"], fraction: float = 1 / 8) -> Float[Tensor, "n t c h w"]:
    """Take the first ``fraction`` of channels from t+1, the next from t-1, the rest from t.

    Beyond the ends of the clip there is zero. Memory layout is kept. Lin, Gan, Han: TSM, ICCV 2019.
    """
    moved = int(clip.shape[2] * fraction)
    if moved == 0:
        return clip
    # A concatenation along a dimension of stride 1 keeps channels_last; along dimension 2 of the
    # 5-d view PyTorch would fall back to its own default order and copy at the next convolution.
    axis = 2 if clip.stride(2) != 1 else -1
    frames = clip if axis == 2 else clip.movedim(2, -1)
    later, earlier, rest = torch.split(frames, [moved, moved, clip.shape[2] - 2 * moved], dim=axis)
    # Negative padding crops: the time axis, fourth from the end, moves by one in a single copy.
    parts = [
        F.pad(later, (0, 0, 0, 0, 0, 0, -1, 1)),
        F.pad(earlier, (0, 0, 0, 0, 0, 0, 1, -1)),
        rest,
    ]
    shifted = torch.cat(parts, dim=axis)
    return shifted if axis == 2 else shifted.movedim(-1, 2)


class TemporalShift(nn.Module):
    """`shift` as a part of a block, so that ``print`` shows which blocks have it."""

    def __init__(self, *, fraction: float = 1 / 8) -> None:
        super().__init__()
        self.fraction = fraction

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c h w"]:
        """Return the shifted clip; shape unchanged."""
        return shift(clip, self.fraction)

    def extra_repr(self) -> str:
        """Show the share of channels taken from each side."""
        return f"fraction={self.fraction:g}"
