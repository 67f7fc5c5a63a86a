"""Cells of a skeleton clip, one joint for a stretch of time, that can be held still."""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from poselens.explain.joints import PARTS, Baseline, baseline_inputs
from poselens.explain.sanity import Keep
from poselens.skeleton.network import CtrGcn

_AT_ONCE = 64


def stretches(frames: int, parts: int = PARTS) -> list[tuple[int, int]]:
    """Return the half-open stretches that a clip is cut into, as equal as frames allow."""
    edges = np.linspace(0, frames, min(parts, frames) + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def joint_cells(
    attribution: Float[np.ndarray, "*n t v"], parts: int = PARTS
) -> Float[np.ndarray, "*n p v"]:
    """Return the mean of an attribution over each stretch."""
    means = [
        attribution[..., first:last, :].mean(axis=-2)
        for first, last in stretches(attribution.shape[-2], parts)
    ]
    cells: Float[np.ndarray, "*n p v"] = np.stack(means, axis=-2)
    return cells


def keep_joints(
    network: nn.Module,
    clip: Float[Tensor, "c t v m"],
    label: int,
    *,
    baseline: Baseline = "still",
    parts: int = PARTS,
) -> Keep:
    """Return what asks for a class's probability where only some joints move, and some of the time.

    The others are held at the baseline. The people in the clip stay in it.

    Args:
        network: In evaluation mode.
        clip: Its input, on its device.
        label: The class.
        baseline: Where joints are held (``joints.baseline_inputs``).
        parts: Stretches of time.
    """
    missing = ~torch.isfinite(clip)
    known = clip.masked_fill(missing, 0.0)
    start = baseline_inputs(clip[None], baseline)[0]
    present = (known != 0).flatten(0, 2).any(dim=0)
    where = stretches(clip.shape[1], parts)

    def keep(masks: Bool[np.ndarray, "b m p v"]) -> Float[np.ndarray, " b"]:
        scores: list[Tensor] = []
        for first in range(0, len(masks), _AT_ONCE):
            part = torch.from_numpy(masks[first : first + _AT_ONCE]).to(clip.device)
            long = torch.cat(
                [
                    part[:, :, place : place + 1].expand(-1, -1, end - begin, -1)
                    for place, (begin, end) in enumerate(where)
                ],
                dim=2,
            )
            shown = torch.where(long.permute(0, 2, 3, 1)[:, None], known, start)
            with torch.no_grad():
                logits = network(shown, present.expand(len(shown), -1))
            scores.append(logits.softmax(dim=1)[:, label])
        probabilities: NDArray[np.float64] = torch.cat(scores).double().cpu().numpy()
        return probabilities

    return keep


def cascade_layers(network: CtrGcn) -> list[str]:
    """Return parts of the network from the output to the input, for a test with random weights."""
    blocks = [f"blocks.{number}" for number in reversed(range(len(network.blocks)))]
    return ["classify", *blocks, "data_norm"]
