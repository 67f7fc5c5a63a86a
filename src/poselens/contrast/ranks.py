"""The processes of a distributed run, which share one bank and one loss."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

# one exchange into one tensor, which a recorded step can hold; renamed in torch 2.13
_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


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
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    clips: Int[Tensor, " n"],
    counts: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Return the entries of all ranks in the order of the ranks, whose batches may differ in size.

    Without ``counts`` the sizes are read by the host, which waits for the device; a single process
    never does.

    Args:
        features: Of this rank.
        labels: Their classes.
        clips: Their positions in the data set.
        counts: Entries of each rank, where every rank knows them.
    """
    world = world_size()
    if world == 1:
        return features, labels, clips
    if counts is None:
        size = torch.tensor([len(features)], device=features.device)
        sizes = [torch.empty_like(size) for _ in range(world)]
        dist.all_gather(sizes, size)
        counts = torch.cat(sizes).tolist()
    tags = torch.stack([labels, clips], dim=1)
    features, tags = (concatenated(part, counts) for part in (features, tags))
    return features, tags[:, 0], tags[:, 1]


def concatenated(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the rows of all ranks, one rank behind the other.

    Args:
        rows: Of this rank, ``counts[rank]`` of them.
        counts: Rows of each rank.
    """
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    everything = padded.new_empty((len(counts) * len(padded), *rows.shape[1:]))
    _gather(everything, padded)
    parts = everything.view(len(counts), *padded.shape)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
