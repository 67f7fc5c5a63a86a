"""Convolution, normalisation, shortcut and rectifier: one after another, or in one kernel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def convolve(
    convolution: nn.Conv2d,
    norm: nn.Module,
    frames: Float[Tensor, "m c h w"],
    *,
    shortcut: Float[Tensor, "m d i j"] | None = None,
) -> Float[Tensor, "m d i j"]:
    """Return max(0, norm(convolution(frames)) + shortcut).

    A convolution that has taken its normalisation in (``folded.fold``) is a single kernel of
    cuDNN's on a GPU in 16 bits.
    """
    if _is_one_kernel(convolution, norm, frames):
        assert not isinstance(convolution.padding, str)
        settings = (convolution.stride, convolution.padding, convolution.dilation)
        weight, bias, groups = convolution.weight, convolution.bias, convolution.groups
        if shortcut is None:
            return torch.cudnn_convolution_relu(frames, weight, bias, *settings, groups)
        return torch.cudnn_convolution_add_relu(
            frames, weight, shortcut, 1.0, bias, *settings, groups
        )
    out = norm(convolution(frames))
    return F.relu(out if shortcut is None else out + shortcut, inplace=True)


def _is_one_kernel(convolution: nn.Conv2d, norm: nn.Module, frames: Tensor) -> bool:
    return (
        frames.is_cuda
        and isinstance(norm, nn.Identity)
        and convolution.bias is not None
        and frames.dtype in (torch.bfloat16, torch.float16)
        and frames.dtype == convolution.weight.dtype
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )
