"""An RGB network turned back into what the first description of TSM suggests: the slow side.

Frames lie channel after channel (NCHW), numbers are fp32, and the shift fills a tensor of zeros by
three copies. The weights and what is computed are the same.
"""

import copy

import torch
from torch import Tensor, nn

from poselens.rgb.temporal_shift import TemporalShift


def zeros_and_copies(clip: Tensor, memory: object = None) -> Tensor:
    """Shift an eighth of the channels each way, as three copies into zeros."""
    moved = clip.shape[2] // 8
    out = torch.zeros_like(clip)
    out[:, :-1, :moved] = clip[:, 1:, :moved]
    out[:, 1:, moved : 2 * moved] = clip[:, :-1, moved : 2 * moved]
    out[:, :, 2 * moved :] = clip[:, :, 2 * moved :]
    return out


def naively(network: nn.Module) -> nn.Module:
    """Return a copy of a network that computes the same, slowly."""
    slow = copy.deepcopy(network).float()
    for part in slow.modules():
        if isinstance(part, TemporalShift):
            part.forward = zeros_and_copies  # type: ignore[method-assign, assignment]
    slow.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload] # torch's stub
    return slow
