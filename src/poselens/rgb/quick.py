"""The temporal shift as one pass over memory, on CUDA devices that have Triton.

`temporal_shift.shift` says what it is, and every other device runs that. Imported where Triton is.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from poselens.rgb import kernels

_BLOCK = 2048


def shift(clip: Tensor, *, later: int, earlier: int) -> Tensor:
    """Take ``later`` channels from t+1, the next ``earlier`` ones from t-1, the rest from t.

    Args:
        clip: ``(n, t, c, h, w)`` whose channels are dense in memory.
        later: Number of channels.
        earlier: Number of channels.
    """
    shifted: Tensor = _Shift.apply(clip, later, earlier)  # type: ignore[no-untyped-call]
    return shifted


class _Shift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clip: Tensor, later: int, earlier: int) -> Tensor:
        ctx.moved = later, earlier
        return _moved(clip, later, earlier, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        later, earlier = ctx.moved
        return _moved(slope, later, earlier, -1), None, None


def _moved(clip: Tensor, later: int, earlier: int, way: int) -> Tensor:
    """Move channels the one way, or back."""
    frames = clip.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(frames)
    kernels.move[(-(-out.numel() // _BLOCK),)](
        frames,
        out,
        out.numel(),
        out.shape[1],
        out[0].numel(),
        clip.shape[1],
        later,
        earlier,
        WAY=way,
        BLOCK=_BLOCK,
        num_warps=8,
    )
    return torch.unflatten(out, 0, clip.shape[:2])
