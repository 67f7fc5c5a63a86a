"""Cells of an RGB clip, squares of pixels in one frame, that can be taken away."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from poselens.explain.sanity import Keep
from poselens.rgb.network import RgbNetwork

GRID = 14
"""Cells along each side of a picture: 16 pixels of 224 each."""

Baseline = Literal["blur", "mean"]
"""What stands where something was taken away: the clip without detail, or its mean colour."""

_AT_ONCE = 8  # clips of one pass


def cells_of(maps: Float[np.ndarray, "s h w"], grid: int = GRID) -> Float[np.ndarray, "s g g"]:
    """Return the mean of maps over the cells of a grid."""
    means: NDArray[np.float32] = F.adaptive_avg_pool2d(torch.from_numpy(maps), grid).numpy()
    return means


def without_detail(
    clip: Float[Tensor, "t 3 h w"], baseline: Baseline = "blur"
) -> Float[Tensor, "t 3 h w"]:
    """Return a clip in which nothing can be recognised.

    ``blur`` averages squares of an eighth of the side twice, ``mean`` every frame as a whole.
    """
    if baseline == "mean":
        return clip.mean(dim=(2, 3), keepdim=True).expand_as(clip)
    side = max(3, min(clip.shape[-2:]) // 8 * 2 + 1)
    for _ in range(2):
        padded = F.pad(clip, (side // 2,) * 4, mode="replicate")
        clip = F.avg_pool2d(padded, side, stride=1)
    return clip


def keep_cells(
    network: RgbNetwork,
    clip: Float[Tensor, "t 3 h w"],
    label: int,
    *,
    baseline: Baseline = "blur",
) -> Keep:
    """Return what asks for a class's probability where only some cells of a clip are left.

    Args:
        network: In evaluation mode.
        clip: Its input, on its device.
        label: The class.
        baseline: What stands in the other cells.
    """
    gone = without_detail(clip, baseline)

    def keep(masks: Bool[np.ndarray, "b s g g"]) -> Float[np.ndarray, " b"]:
        scores: list[Tensor] = []
        for first in range(0, len(masks), _AT_ONCE):
            part = torch.from_numpy(masks[first : first + _AT_ONCE]).float()
            shown = F.interpolate(part, size=clip.shape[-2:], mode="nearest")
            # all frames of a snippet keep the same cells
            shown = shown.repeat_interleave(len(clip) // part.shape[1], dim=1)
            left = shown[:, :, None].to(clip.device) > 0
            with torch.no_grad():
                scores.append(network(torch.where(left, clip, gone)).softmax(dim=1)[:, label])
        probabilities: NDArray[np.float64] = torch.cat(scores).double().cpu().numpy()
        return probabilities

    return keep
