"""The processes of a distributed run, which share one bank and one loss."""

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor


def world_size() -> int:
    """Return how many processes train together; 1 where nothing is distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def summed(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over all ranks."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def gathered(
    features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], clips: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Return the entries of all ranks in the order of the ranks, whose batches may differ in size.

    The sizes are read by the host, which waits for the device; a single process never does.
    """
    world = world_size()
    if world == 1:
        return features, labels, clips
    size = torch.tensor([len(features)], device=features.device)
    sizes = [torch.empty_like(size) for _ in range(world)]
    dist.all_gather(sizes, size)
    counts: list[int] = torch.cat(sizes).tolist()
    tags = torch.stack([labels, clips], dim=1)
    features, tags = (_concatenated(part, counts) for part in (features, tags))
    return features, tags[:, 0], tags[:, 1]


def _concatenated(rows: Tensor, counts: list[int]) -> Tensor:
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
