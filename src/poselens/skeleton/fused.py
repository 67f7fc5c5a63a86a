"""The operations that cost a block its time: plain on every device, one pass each on a GPU.

A feature has the axes ``(p, c, v, t)``: people, channels, joints, frames. The plain spelling is
the definition; ``kernels`` holds the quick one, taken on CUDA devices that have Triton.
"""

import importlib.util
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_PROGRAMS = 2048
_QUARTERS = (16, 32, 64, 128)
_LOOKED = 64
"""Frames of all joints that a program of ``look`` takes at a time."""


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def quick(tensor: Tensor) -> bool:
    """Return whether the kernels take this tensor."""
    return tensor.is_cuda and _has_triton()


def aggregate(
    messages: Float[Tensor, "p c 3 v t"],
    weights: Float[Tensor, "3 c r"],
    relations: Float[Tensor, "p 3 r w"],
) -> Float[Tensor, "p c v t"]:
    r"""Gather messages along topologies that are refined per channel and person.

    .. math::
        R_{p,k,c} = \sum_r w_{k,c,r}\, a_{p,k,r}, \qquad
        z_{p,c,i} = \sum_{k,j} R_{p,k,c,ij}\, m_{p,c,k,j}

    The topologies R, by far the largest tensor of a block, are formed twice on a GPU, once in
    each direction, and never kept.

    Args:
        messages: What each joint has to say to each subset.
        weights: How relations are mixed to topologies.
        relations: Joint i to joint j at place ``i v + j``; what follows place ``v v`` is padding.
    """
    joints = messages.shape[3]
    if quick(messages) and joints <= _largest_tile():
        gathered: Tensor = _Aggregate.apply(
            messages, weights.to(messages.dtype), relations.to(messages.dtype)
        )
        return gathered
    topologies = (weights @ relations)[..., : joints * joints].unflatten(-1, (joints, joints))
    return topologies.permute(0, 2, 3, 1, 4).flatten(3) @ messages.flatten(2, 3)


def normalise(
    feature: Float[Tensor, "p c v t"],
    norm: nn.BatchNorm2d,
    *,
    add: Float[Tensor, "p c v t"] | None = None,
    rectified: int | None = None,
    counted: Float[Tensor, " p"] | None = None,
) -> Float[Tensor, "p c v t"]:
    """Normalise over people, joints and frames, add, and rectify.

    Args:
        feature: Its first channels are normalised, as many as ``norm`` has; the rest pass.
        norm: In training it learns the statistics of the batch.
        add: Added before the rectifier.
        rectified: How many of the first channels are rectified; None for all.
        counted: 1 for people whose statistics count, 0 for those who are absent; None for all.
    """
    if quick(feature):
        return _normalise_quickly(feature, norm, add=add, rectified=rectified, counted=counted)
    normal = norm.num_features
    out = norm(feature[:, :normal])
    if normal < feature.shape[1]:
        out = torch.cat([out, feature[:, normal:]], dim=1)
    if add is not None:
        out = out + add
    if rectified is None or rectified == feature.shape[1]:
        return F.relu(out)
    return torch.cat([F.relu(out[:, :rectified]), out[:, rectified:]], dim=1)


def look(
    feature: Float[Tensor, "p c v t"], weights: Float[Tensor, "2 5 q q"], *, stride: int
) -> Float[Tensor, "p c v s"]:
    """Look along time, each quarter of the channels in its own way.

    The first two quarters are convolved over five frames, with dilation 1 and 2; of the third the
    maximum of three frames is taken; the fourth passes. ``t`` becomes ``ceil(t / stride)``.

    Args:
        feature: Four quarters of q channels.
        weights: Dilation, tap, output channel, input channel.
        stride: Frames per step.
    """
    quarter = weights.shape[-1]
    if quick(feature) and quarter in _QUARTERS:
        looked: Tensor = _Look.apply(feature, weights.to(feature.dtype), stride)
        return looked
    near, far, peak, plain = feature.split(quarter, dim=1)
    return torch.cat(
        [
            *(
                F.conv2d(
                    part,
                    weights[place].permute(1, 2, 0).unsqueeze(2),
                    stride=(1, stride),
                    padding=(0, 2 * dilation),
                    dilation=(1, dilation),
                )
                for place, (part, dilation) in enumerate(((near, 1), (far, 2)))
            ),
            F.max_pool2d(peak, (1, 3), stride=(1, stride), padding=(0, 1)),
            plain[..., ::stride],
        ],
        dim=1,
    )


def pointwise(feature: Float[Tensor, "p c v t"], convolution: nn.Conv2d) -> Tensor:
    """Apply a 1x1 convolution.

    Fewer than eight channels, the input's coordinates, are filled up with zeros on a GPU: its
    matrix units have no quick product for them.
    """
    lacking = 8 - feature.shape[1]
    if lacking <= 0 or not quick(feature):
        out: Tensor = convolution(feature)
        return out
    return F.conv2d(
        F.pad(feature, (0, 0, 0, 0, 0, lacking)),
        F.pad(convolution.weight, (0, 0, 0, 0, 0, lacking)),
        convolution.bias,
        stride=convolution.stride,  # type: ignore[arg-type]
    )


def _largest_tile() -> int:
    from poselens.skeleton import kernels

    return kernels.JOINTS


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, messages: Tensor, weights: Tensor, relations: Tensor) -> Tensor:
        from poselens.skeleton import kernels

        messages = messages.contiguous()
        people, channels, _, joints, frames = messages.shape
        topologies = torch.matmul(weights, relations)
        gathered = messages.new_empty(people, channels, joints, frames)
        kernels.aggregate[(people * channels,)](
            messages, topologies, gathered, channels, joints, frames, relations.shape[-1],
            V=kernels.JOINTS, T=_tile(frames), num_warps=_warps(frames),
        )  # fmt: skip
        ctx.save_for_backward(messages, weights, relations)
        return gathered

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from poselens.skeleton import kernels

        messages, weights, relations = ctx.saved_tensors
        people, channels, _, joints, frames = messages.shape
        topologies = torch.matmul(weights, relations)
        message_slope, topology_slope = torch.empty_like(messages), torch.empty_like(topologies)
        kernels.aggregate_backward[(people * channels,)](
            messages, topologies, slope.contiguous(), message_slope, topology_slope,
            channels, joints, frames, relations.shape[-1],
            V=kernels.JOINTS, T=_tile(frames), num_warps=_warps(frames),
        )  # fmt: skip
        relation_slope = torch.matmul(weights.mT, topology_slope)
        weight_slope = torch.matmul(topology_slope, relations.mT).sum(dim=0)
        return message_slope, weight_slope, relation_slope


def _tile(frames: int) -> int:
    return max(16, 1 << (frames - 1).bit_length())


def _warps(frames: int) -> int:
    return 1 if frames <= 32 else 2 if frames <= 64 else 4


def _normalise_quickly(
    feature: Tensor,
    norm: nn.BatchNorm2d,
    *,
    add: Tensor | None,
    rectified: int | None,
    counted: Tensor | None,
) -> Tensor:
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    rectified = feature.shape[1] if rectified is None else rectified
    out: Tensor = _Normalise.apply(feature, add, norm.weight, norm.bias, norm, rectified, counted)
    return out


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
        from poselens.skeleton import kernels

        feature = feature.contiguous()
        add = None if add is None else add.to(feature.dtype).contiguous()
        people, channels, length, share, parts = sizes = _sizes(feature)
        # a pointer has to be given where none is read; the feature's stands in
        mask = feature if counted is None else counted
        sums = feature.new_empty((parts, channels, 2), dtype=torch.float32)
        constants = _constants(sizes, norm.training, counted)
        if norm.training:
            kernels.moments[(channels, parts)](
                feature, mask, sums, people, channels, length, share,
                MASKED=constants["MASKED"], BLOCK=constants["BLOCK"],
            )  # fmt: skip
        mean, scale = torch.empty_like(weight), torch.empty_like(weight)
        out = torch.empty_like(feature)
        kernels.normalise[(channels, parts)](
            feature, feature if add is None else add, out, mask, sums, mean, scale,
            norm.running_mean, norm.running_var, weight, bias,
            people, channels, length, share, parts, len(weight), rectified,
            norm.momentum, norm.eps, ADD=add is not None, **constants,
        )  # fmt: skip
        ctx.save_for_backward(feature, out, mean, scale, weight, counted)
        ctx.rectified, ctx.training, ctx.added = rectified, norm.training, add is not None
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        from poselens.skeleton import kernels

        feature, out, mean, scale, weight, counted = ctx.saved_tensors
        slope = slope.contiguous()
        people, channels, length, share, parts = sizes = _sizes(feature)
        mask = feature if counted is None else counted
        sums = feature.new_empty((parts, channels, 2), dtype=torch.float32)
        constants = _constants(sizes, ctx.training, counted)
        kernels.slope_moments[(channels, parts)](
            feature, out, slope, mask, mean, scale, sums, people, channels, length, share,
            len(weight), ctx.rectified, MASKED=constants["MASKED"], BLOCK=constants["BLOCK"],
        )  # fmt: skip
        feature_slope = torch.empty_like(feature)
        add_slope = torch.empty_like(feature) if ctx.added else None
        weight_slope, bias_slope = torch.empty_like(weight), torch.empty_like(weight)
        kernels.normalise_backward[(channels, parts)](
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
        from poselens.skeleton import kernels

        feature, weights = feature.contiguous(), weights.contiguous()
        people, channels, joints, frames = feature.shape
        steps = -(-frames // stride)
        out = feature.new_empty(people, channels, joints, steps)
        kernels.look[(people, 4, -(-joints * steps // _LOOKED))](
            feature, weights, out, joints, frames, steps, stride,
            QUARTER=weights.shape[-1], BLOCK=_LOOKED,
        )  # fmt: skip
        ctx.save_for_backward(feature, weights)
        ctx.stride = stride
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        from poselens.skeleton import kernels

        feature, weights = ctx.saved_tensors
        slope = slope.contiguous()
        people, _, joints, frames = feature.shape
        steps, quarter = slope.shape[-1], weights.shape[-1]
        feature_slope = torch.empty_like(feature)
        kernels.look_backward[(people, 4, -(-joints * frames // _LOOKED))](
            feature, weights, slope, feature_slope, joints, frames, steps, ctx.stride,
            QUARTER=quarter, BLOCK=_LOOKED,
        )  # fmt: skip
        share = -(-people // 64)
        parts = -(-people // share)
        sums = feature.new_empty((parts, *weights.shape), dtype=torch.float32)
        kernels.look_weights_backward[(10, parts)](
            feature, slope, sums, people, joints, frames, steps, ctx.stride, share,
            QUARTER=quarter, BLOCK=_LOOKED,
        )  # fmt: skip
        return feature_slope, sums.sum(dim=0).to(weights.dtype), None
