"""What ranks add up in a step: gradients, losses and running statistics, in one exchange."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from poselens.training.objectives import Batch, Losses
from poselens.training.ranks import Ranks
from poselens.training.shared_norm import SharedNorm


class Exchange:
    r"""Turn what one rank found into what one process with the whole batch would have.

    Losses are scaled by their objective so that the mean over the ranks is the mean over the clips:
    with n_r of the n clips on rank r of N,

    .. math:: \frac{1}{N} \sum_r \frac{N}{n} \sum_{i=1}^{n_r} g_{ri} = \frac{1}{n} \sum_{r,i} g_{ri}

    Running statistics of normalisations that look at one rank's clips become their mean over the
    clips, so that every rank judges, and saves, the same network.

    Departure: DistributedDataParallel averages over ranks, whoever has how many clips, and keeps
    the statistics of rank 0. It also exchanges gradients while others are computed; here that waits
    for the last of them (docs/decisions/0019-many-gpus.md).

    Args:
        ranks: Who takes part; alone nothing changes.
        network: Whose statistics are kept together.
    """

    def __init__(self, ranks: Ranks, network: nn.Module) -> None:
        self._ranks = ranks
        norms = [each for each in network.modules() if isinstance(each, _BatchNorm)]
        self._attendances = [each.attendance for each in norms if isinstance(each, SharedNorm)]
        self._own = [each for each in norms if not isinstance(each, SharedNorm)]

    @property
    def ranks(self) -> Ranks:
        """Return who takes part."""
        return self._ranks

    @contextmanager
    def passing(self, batch: Batch) -> Iterator[None]:
        """Say before a forward pass whether this rank's rows count; statistics forget if not."""
        here = len(batch["label"]) > 0
        for attendance in self._attendances:
            attendance.counts = here
        running = [] if here else self._running()
        kept = [tensor.clone() for tensor in running]
        yield
        if running:
            torch._foreach_copy_(running, kept)

    def __call__(self, losses: Losses, gradients: Sequence[Tensor], batch: Batch) -> Losses:
        """Replace gradients by those of all ranks, and return the losses of all."""
        if self._ranks.size == 1:
            return losses
        right = (losses.logits.detach().argmax(1) == batch["label"]).sum()
        told = torch.stack(
            [each.detach().float() for each in (losses.total, *losses.parts.values())]
        )
        told = torch.cat([told, right.float()[None]])
        # said before the exchange, which hands what is not finite to all
        sound = torch.isfinite(told[0]) & torch.isfinite(nn.utils.get_total_norm(gradients))
        counts = batch["counts"]
        share = self._ranks.size * counts[self._ranks.rank] / sum(counts)
        kept = self._running()
        running = list(torch._foreach_mul(kept, share)) if kept else []
        self._ranks.average([*gradients, told, *running])
        if running:
            torch._foreach_copy_(kept, running)
        parts = dict(zip(losses.parts, told[1:-1], strict=True))
        right = told[-1] * self._ranks.size
        return replace(losses, total=told[0], parts=parts, right=right, sound=sound)

    def _running(self) -> list[Tensor]:
        """Return the statistics that a step moves; those of frozen normalisations stay exact."""
        moved = [each for each in self._own if each.training]
        statistics = [tensor for each in moved for tensor in (each.running_mean, each.running_var)]
        return [tensor for tensor in statistics if tensor is not None]
