"""Batch normalisation whose statistics are those of all ranks together."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass
class Attendance:
    """Whether this rank's rows count; they do not where they stand in for clips it lacks."""

    counts: bool = True


class SharedNorm(_BatchNorm):
    """Normalise by the statistics of the batch of all ranks, whoever has how many rows.

    Departure: torch's own ``SyncBatchNorm`` runs on GPUs alone, wants rows on every rank, and knows
    no absent people. Ioffe and Szegedy, ICML 2015, over the union of the ranks' batches; sums are
    added in float64, so that large means do not cost the variance its digits.

    Args:
        norm: What it takes the place of: its parameters and buffers become this one's.
        attendance: Of this rank, for all layers of a network.
    """

    def __init__(self, norm: _BatchNorm, attendance: Attendance) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)
        self.attendance = attendance

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of axes behind the channels."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self, feature: Float[Tensor, "p c ..."], counted: Float[Tensor, " p"] | None = None
    ) -> Float[Tensor, "p c ..."]:
        """Normalise.

        Args:
            feature: Channels are the second axis.
            counted: 1 for rows whose statistics count, 0 for others; None for all.
        """
        if not self.training:
            evaluated: Tensor = super().forward(feature)
            return evaluated
        rows = feature.new_ones(feature.shape[0]) if counted is None else counted
        if not self.attendance.counts:
            rows = torch.zeros_like(rows)
        out: Tensor
        out, mean, variance, total = _Normalise.apply(  # type: ignore[no-untyped-call]
            feature, rows.float(), self.weight, self.bias, self.eps
        )
        self._learn(mean, variance, total)
        return out

    @torch.no_grad()
    def _learn(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        unbiased = variance * (total / (total - 1).clamp(min=1)).to(variance.dtype)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, feature: Tensor, rows: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = feature.float()
        dims = [0, *range(2, feature.dim())]
        mask = rows.view(-1, *[1] * (feature.dim() - 1))
        own = rows.sum() * (feature[0, 0].numel())
        mean = (wide * mask).sum(dims) / own.clamp(min=1)
        spread = ((wide - _across(mean, wide)).square() * mask).sum(dims).double()
        mean, own = mean.double(), own.double()
        told = torch.cat([own[None], own * mean, spread + own * mean.square()])
        dist.all_reduce(told)
        total = told[:1].clamp(min=1)
        first, second = (told[1:] / total).chunk(2)
        variance = (second - first.square()).clamp(min=0)
        mean, scale = first.float(), (variance + eps).rsqrt().float()
        normal = (wide - _across(mean, wide)) * _across(scale, wide)
        ctx.save_for_backward(feature, rows, weight, mean, scale, total.float())
        out = (normal * _across(weight, wide) + _across(bias, wide)).to(feature.dtype)
        variance = variance.float()
        ctx.mark_non_differentiable(mean, variance, total)
        return out, mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        feature, rows, weight, mean, scale, total = ctx.saved_tensors
        wide, slope = feature.float(), slope.float()
        dims = [0, *range(2, feature.dim())]
        normal = (wide - _across(mean, wide)) * _across(scale, wide)
        bias_slope, weight_slope = slope.sum(dims), (slope * normal).sum(dims)
        told = torch.cat([bias_slope, weight_slope])
        dist.all_reduce(told)
        first, second = (told / total).chunk(2)
        mask = rows.view(-1, *[1] * (feature.dim() - 1))
        through = slope - mask * (_across(first, wide) + normal * _across(second, wide))
        through = through * _across(weight * scale, wide)
        return through.to(feature.dtype), None, weight_slope, bias_slope, None


def _across(values: Float[Tensor, " c"], feature: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (feature.dim() - 2))


def share_statistics(network: nn.Module) -> Attendance:
    """Put a :class:`SharedNorm` in the place of every batch normalisation.

    Names in the state stay as they are. Returns what says whether this rank's rows count.
    """
    attendance = Attendance()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(module, name, SharedNorm(child, attendance))
    return attendance
