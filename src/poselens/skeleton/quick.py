"""The quick spelling of ``fused``, which says what each operation is: kernels and their launches.

Imported where Triton is.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from poselens.skeleton import kernels_space, kernels_time
from poselens.skeleton.fused import TILE, pitch, squares

_ALIGNED = 8
_PROGRAMS = 2048
_LOOKED = 64
"""Frames of all joints that a program of ``look`` takes at a time."""


def fork(feature: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hand a feature to three readers, and its mean over time to a fourth."""
    forked: tuple[Tensor, Tensor, Tensor, Tensor] = _apply(_Fork, feature)
    return forked


def relate(pairs: Tensor, topology: Tensor) -> Tensor:
    """Return the terms of topologies, filled up with zeros."""
    related: Tensor = _apply(_Relate, pairs, topology)
    return related


def aggregate(messages: Tensor, bias: Tensor, weights: Tensor, terms: Tensor) -> Tensor:
    """Gather messages; there are as many weights as terms."""
    kind = messages.dtype
    gathered: Tensor = _apply(_Aggregate, messages, bias, weights.to(kind), terms.to(kind))
    return gathered


def normalise(
    feature: Tensor,
    norm: nn.BatchNorm2d,
    *,
    add: Tensor | None,
    rectified: int | None,
    counted: Tensor | None,
) -> Tensor:
    """Normalise, add, and rectify; absent people leave no trace in the statistics."""
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    rectified = feature.shape[1] if rectified is None else rectified
    out: Tensor = _apply(_Normalise, feature, add, norm.weight, norm.bias, norm, rectified, counted)
    return out


def look(feature: Tensor, weights: Tensor, *, stride: int) -> Tensor:
    """Look along time, each quarter of the channels in its own way."""
    looked: Tensor = _apply(_Look, feature, weights.to(feature.dtype), stride)
    return looked


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    return function.apply(*arguments)  # type: ignore[no-untyped-call]


class _Fork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> tuple[Tensor, ...]:
        feature = feature.contiguous()
        people, channels, joints, frames = feature.shape
        summary = feature.new_empty(people, joints, channels)
        kernels_space.summarise[(people, -(-channels // 16))](
            feature, summary, channels, V=joints, FRAMES=frames, T=_tile(frames), BLOCK=16
        )
        # who does not answer is not waited for: the first block has two readers
        ctx.set_materialize_grads(False)
        ctx.shape = feature.shape
        return *(feature.view_as(feature) for _ in range(3)), summary

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> Tensor:
        people, channels, joints, frames = ctx.shape
        answers = [slope for slope in slopes if slope is not None]
        summary = slopes[3]
        if summary is None:
            summary = answers[0].new_zeros(people, joints, channels)
        given = [slope.contiguous() for slope in slopes[:3] if slope is not None]
        given += [answers[0].new_zeros(ctx.shape)] * (2 - len(given))
        out = torch.empty_like(given[0])
        kernels_space.merge[(people * channels,)](
            given[0], given[1], given[-1], summary.contiguous(), out, channels,
            V=joints, JOINTS=TILE, FRAMES=frames, T=_tile(frames),
            THIRD=len(given) == 3, num_warps=_warps(frames),
        )  # fmt: skip
        return out


class _Relate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pairs: Tensor, topology: Tensor) -> Tensor:
        pairs = pairs.contiguous()
        people, joints, width = pairs.shape
        relations = width // 6
        rows = relations + 2 + -(relations + 2) % _ALIGNED
        places = joints * pitch(joints)
        terms = pairs.new_empty(people, 3, rows, places + -places % _ALIGNED)
        kernels_space.relate[(people, 3 * rows)](
            pairs, topology, terms, relations, rows, V=joints, PITCH=pitch(joints),
            WIDTH=terms.shape[3], JOINTS=TILE, num_warps=1,
        )  # fmt: skip
        ctx.save_for_backward(terms)
        ctx.shape = pairs.shape
        return terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        (terms,) = ctx.saved_tensors
        people, joints, width = ctx.shape
        relations = width // 6
        slope = slope.contiguous()
        pairs_slope = terms.new_empty(ctx.shape)
        kernels_space.relate_backward[(people, 3 * relations)](
            terms, slope, pairs_slope, relations, terms.shape[2], V=joints, PITCH=pitch(joints),
            WIDTH=terms.shape[3], JOINTS=TILE, num_warps=1,
        )  # fmt: skip
        learned = slope[:, :, relations].sum(dim=0, dtype=torch.float32)
        return pairs_slope, squares(learned, joints)


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, messages: Tensor, bias: Tensor, weights: Tensor, terms: Tensor) -> Tensor:
        messages = messages.contiguous()
        people, channels, _, joints, frames = messages.shape
        topologies = torch.matmul(weights, terms)
        gathered = messages.new_empty(people, channels, joints, frames)
        kernels_space.aggregate[(people * channels,)](
            messages, bias, topologies, gathered, channels, **_tiles(joints, frames, terms)
        )
        ctx.save_for_backward(messages, bias, weights, terms)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        messages, bias, weights, terms = ctx.saved_tensors
        people, channels, _, joints, frames = messages.shape
        topologies = torch.matmul(weights, terms)
        message_slope, topology_slope = torch.empty_like(messages), torch.empty_like(topologies)
        bias_slope = messages.new_empty((people, *bias.shape), dtype=torch.float32)
        kernels_space.aggregate_backward[(people * channels,)](
            messages, bias, topologies, slope.contiguous(),
            message_slope, bias_slope, topology_slope, channels, **_tiles(joints, frames, terms),
        )  # fmt: skip
        term_slope = torch.matmul(weights.mT, topology_slope)
        weight_slope = torch.matmul(topology_slope, terms.mT).sum(dim=0)
        return message_slope, bias_slope.sum(dim=0), weight_slope, term_slope


def _tiles(joints: int, frames: int, terms: Tensor) -> dict[str, Any]:
    """Return what the kernels of the aggregation are compiled for."""
    return {
        "V": joints,
        "PITCH": pitch(joints),
        "WIDTH": terms.shape[3],
        "JOINTS": TILE,
        "FRAMES": frames,
        "T": _tile(frames),
        "PRECISION": _precision(),
        "num_warps": _warps(frames),
    }


def _precision() -> str:
    """Return how products of float32 are formed: as everywhere else in the process."""
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"


def _tile(frames: int) -> int:
    return max(16, 1 << (frames - 1).bit_length())


def _warps(frames: int) -> int:
    return 1 if frames <= 32 else 2 if frames <= 64 else 4


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        feature: Tensor,
        add: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm2d,
        rectified: int,
        counted: Tensor | None,
    ) -> Tensor:
        feature = feature.contiguous()
        add = None if add is None else add.to(feature.dtype).contiguous()
        people, channels, length, share, parts = sizes = _sizes(feature)
        # a pointer has to be given where none is read; the feature's stands in
        mask = feature if counted is None else counted
        sums = feature.new_empty((parts, channels, 2), dtype=torch.float32)
        constants = _constants(sizes, norm.training, counted)
        if norm.training:
            kernels_time.moments[(channels, parts)](
                feature, mask, sums, people, channels, length, share,
                MASKED=constants["MASKED"], BLOCK=constants["BLOCK"],
            )  # fmt: skip
        mean, scale = torch.empty_like(weight), torch.empty_like(weight)
        out = torch.empty_like(feature)
        kernels_time.normalise[(channels, parts)](
            feature, feature if add is None else add, out, mask, sums, mean, scale,
            norm.running_mean, norm.running_var, weight, bias,
            people, channels, length, share, parts, len(weight), rectified,
            norm.momentum, norm.eps, ADD=add is not None, **constants,
        )  # fmt: skip
        ctx.save_for_backward(feature, out, mean, scale, weight, counted)
        ctx.rectified, ctx.training, ctx.added = rectified, norm.training, add is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        feature, out, mean, scale, weight, counted = ctx.saved_tensors
        slope = slope.contiguous()
        people, channels, length, share, parts = sizes = _sizes(feature)
        mask = feature if counted is None else counted
        sums = feature.new_empty((parts, channels, 2), dtype=torch.float32)
        constants = _constants(sizes, ctx.training, counted)
        kernels_time.slope_moments[(channels, parts)](
            feature, out, slope, mask, mean, scale, sums, people, channels, length, share,
            len(weight), ctx.rectified, MASKED=constants["MASKED"], BLOCK=constants["BLOCK"],
        )  # fmt: skip
        feature_slope = torch.empty_like(feature)
        add_slope = torch.empty_like(feature) if ctx.added else None
        weight_slope, bias_slope = torch.empty_like(weight), torch.empty_like(weight)
        kernels_time.normalise_backward[(channels, parts)](
            feature, out, slope, mask, mean, scale, weight, sums,
            feature_slope, feature_slope if add_slope is None else add_slope,
            weight_slope, bias_slope, people, channels, length, share, parts,
            len(weight), ctx.rectified, ADD=ctx.added, **constants,
        )  # fmt: skip
        return feature_slope, add_slope, weight_slope, bias_slope, None, None, None


def _sizes(feature: Tensor) -> tuple[int, int, int, int, int]:
    """Return people, channels, values per row, people per program, and programs per channel."""
    people, channels = feature.shape[:2]
    share = -(-people // max(1, min(people, _PROGRAMS // channels)))
    return people, channels, feature.shape[2] * feature.shape[3], share, -(-people // share)


def _constants(
    sizes: tuple[int, int, int, int, int], training: bool, counted: Tensor | None
) -> dict[str, int | bool]:
    """Return what a kernel is compiled for."""
    people, _, length, _, parts = sizes
    # the widest block that is well filled: a masked lane moves nothing and still takes its turn
    block = next((b for b in (1024, 512) if length >= 0.65 * b * -(-length // b)), 256)
    return {
        "TRAIN": training,
        "MASKED": counted is not None,
        "BLOCK": block,
        "PARTS": 1 << (parts - 1).bit_length(),
        "PEOPLE": 1 << (people - 1).bit_length(),
    }


class _Look(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor, weights: Tensor, stride: int) -> Tensor:
        feature, weights = feature.contiguous(), weights.contiguous()
        people, channels, joints, frames = feature.shape
        steps = -(-frames // stride)
        out = feature.new_empty(people, channels, joints, steps)
        kernels_time.look[(people, 4, -(-joints * steps // _LOOKED))](
            feature, weights, out, joints, frames, steps, stride,
            QUARTER=weights.shape[-1], BLOCK=_LOOKED, PRECISION=_precision(),
        )  # fmt: skip
        ctx.save_for_backward(feature, weights)
        ctx.stride = stride
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        feature, weights = ctx.saved_tensors
        slope = slope.contiguous()
        people, _, joints, frames = feature.shape
        steps, quarter = slope.shape[-1], weights.shape[-1]
        feature_slope = torch.empty_like(feature)
        kernels_time.look_backward[(people, 4, -(-joints * frames // _LOOKED))](
            feature, weights, slope, feature_slope, joints, frames, steps, ctx.stride,
            QUARTER=quarter, BLOCK=_LOOKED, PRECISION=_precision(),
        )  # fmt: skip
        share = -(-people // 64)
        parts = -(-people // share)
        sums = feature.new_empty((parts, *weights.shape), dtype=torch.float32)
        kernels_time.look_weights_backward[(10, parts)](
            feature, slope, sums, people, joints, frames, steps, ctx.stride, share,
            QUARTER=quarter, BLOCK=_LOOKED, PRECISION=_precision(),
        )  # fmt: skip
        return feature_slope, sums.sum(dim=0).to(weights.dtype), None
