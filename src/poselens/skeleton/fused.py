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

_ALIGNED = 8
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


def fork(
    feature: Float[Tensor, "p c v t"],
) -> tuple[Tensor, Tensor, Tensor, Float[Tensor, "p v c"]]:
    """Hand a feature to three readers, and its mean over time to a fourth.

    What comes back from the four on the way backward is added in one pass on a GPU.
    """
    if quick(feature) and feature.shape[2] <= _largest_tile():
        forked: tuple[Tensor, Tensor, Tensor, Tensor] = _Fork.apply(feature)  # type: ignore[no-untyped-call]
        return forked
    return feature, feature, feature, feature.mean(dim=-1).transpose(1, 2)


def relate(
    pairs: Float[Tensor, "p v six_r"], topology: Float[Tensor, "3 v v"]
) -> Float[Tensor, "p 3 s w"]:
    r"""Return what topologies are mixed from: relations of joints, the learned topology, and 1.

    Term q of subset k is :math:`\tanh(a_{i,kq} - b_{j,kq})` for q < r, then the learned
    topology, then 1; the pair (i, j) is at place ``i * v + j``. On a GPU s is filled up with zeros
    to a multiple of eight, which matrix units want, and so are the rows i, to ``pitch(v)``;
    :func:`aligned` and :func:`squares` know both.

    Args:
        pairs: For each joint the receiving a, subset by subset, then the sending b.
        topology: The part that all people share.
    """
    joints, relations = topology.shape[-1], pairs.shape[-1] // 6
    if quick(pairs) and joints <= _largest_tile():
        related: Tensor = _Relate.apply(pairs, topology)  # type: ignore[no-untyped-call]
        return related
    receive, send = pairs.transpose(1, 2).unflatten(1, (2, 3, relations)).unbind(1)  # type: ignore[no-untyped-call]
    relation = torch.tanh(receive.unsqueeze(-1) - send.unsqueeze(-2))
    learned = topology[:, None].to(relation.dtype).expand(pairs.shape[0], -1, -1, -1, -1)
    return torch.cat([relation, learned, torch.ones_like(learned)], dim=2).flatten(3)


def pitch(joints: int) -> int:
    """Return how far apart the rows of a topology lie: a multiple of four, for wide words."""
    return joints + -joints % 4


def aligned(weights: Float[Tensor, "3 c r"], terms: Float[Tensor, "p 3 s w"]) -> Tensor:
    """Fill weights up with zeros to as many as there are terms."""
    return F.pad(weights, (0, terms.shape[2] - weights.shape[2]))


def squares(wide: Float[Tensor, "... w"], joints: int) -> Float[Tensor, "... v v"]:
    """Return topologies without what is stored beside them."""
    row = joints if wide.shape[-1] == joints**2 else pitch(joints)
    return wide[..., : joints * row].unflatten(-1, (joints, row))[..., :joints]  # type: ignore[no-any-return, no-untyped-call]


def aggregate(
    messages: Float[Tensor, "p c 3 v t"],
    bias: Float[Tensor, "c 3"],
    weights: Float[Tensor, "3 c r"],
    terms: Float[Tensor, "p 3 s w"],
) -> Float[Tensor, "p c v t"]:
    r"""Gather messages along topologies that are refined per channel and person.

    .. math::
        R_{p,k,c} = \sum_q w_{k,c,q}\, a_{p,k,q}, \qquad
        z_{p,c,i} = \sum_{k,j} R_{p,k,c,ij}\, (m_{p,c,k,j} + b_{c,k})

    The topologies R, by far the largest tensor of a block, are formed twice on a GPU, once in
    each direction, and never kept.

    Args:
        messages: What each joint has to say to each subset.
        bias: Added to every message.
        weights: How terms are mixed to topologies.
        terms: As :func:`relate` returns them.
    """
    if quick(messages) and messages.shape[3] <= _largest_tile():
        gathered: Tensor = _Aggregate.apply(  # type: ignore[no-untyped-call]
            messages,
            bias,
            aligned(weights, terms).to(messages.dtype),
            terms.to(messages.dtype),
        )
        return gathered
    topologies = squares(weights @ terms, messages.shape[3])
    heard = messages + bias[:, :, None, None]
    return topologies.permute(0, 2, 3, 1, 4).flatten(3) @ heard.flatten(2, 3).to(topologies.dtype)


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
        looked: Tensor = _Look.apply(feature, weights.to(feature.dtype), stride)  # type: ignore[no-untyped-call]
        return looked
    near, far, peak, plain = feature.split(quarter, dim=1)  # type: ignore[no-untyped-call]
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
        stride=convolution.stride,
    )


def _largest_tile() -> int:
    from poselens.skeleton import kernels

    return kernels.JOINTS


class _Fork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> tuple[Tensor, ...]:
        from poselens.skeleton import kernels

        feature = feature.contiguous()
        people, channels, joints, frames = feature.shape
        summary = feature.new_empty(people, joints, channels)
        kernels.summarise[(people, -(-channels // 16))](
            feature, summary, channels, V=joints, FRAMES=frames, T=_tile(frames), BLOCK=16
        )
        ctx.set_materialize_grads(False)
        ctx.shape = feature.shape
        return *(feature.view_as(feature) for _ in range(3)), summary

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> Tensor:
        from poselens.skeleton import kernels

        people, channels, joints, frames = ctx.shape
        given = [slope.contiguous() for slope in slopes[:3] if slope is not None]
        summary = slopes[3]
        assert summary is not None
        assert len(given) >= 2
        out = torch.empty_like(given[0])
        kernels.merge[(people * channels,)](
            given[0], given[1], given[-1], summary.contiguous(), out, channels,
            V=joints, JOINTS=kernels.JOINTS, FRAMES=frames, T=_tile(frames),
            THIRD=len(given) == 3, num_warps=_warps(frames),
        )  # fmt: skip
        return out


class _Relate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pairs: Tensor, topology: Tensor) -> Tensor:
        from poselens.skeleton import kernels

        pairs = pairs.contiguous()
        people, joints, width = pairs.shape
        relations = width // 6
        rows = relations + 2 + -(relations + 2) % _ALIGNED
        places = joints * pitch(joints)
        terms = pairs.new_empty(people, 3, rows, places + -places % _ALIGNED)
        kernels.relate[(people, 3 * rows)](
            pairs, topology, terms, relations, rows, V=joints, PITCH=pitch(joints),
            WIDTH=terms.shape[3], JOINTS=kernels.JOINTS, num_warps=1,
        )  # fmt: skip
        ctx.save_for_backward(terms)
        ctx.shape = pairs.shape
        return terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        from poselens.skeleton import kernels

        (terms,) = ctx.saved_tensors
        people, joints, width = ctx.shape
        relations = width // 6
        slope = slope.contiguous()
        pairs_slope = terms.new_empty(ctx.shape)
        kernels.relate_backward[(people, 3 * relations)](
            terms, slope, pairs_slope, relations, terms.shape[2], V=joints, PITCH=pitch(joints),
            WIDTH=terms.shape[3], JOINTS=kernels.JOINTS, num_warps=1,
        )  # fmt: skip
        learned = slope[:, :, relations].sum(dim=0, dtype=torch.float32)
        return pairs_slope, squares(learned, joints)


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, messages: Tensor, bias: Tensor, weights: Tensor, terms: Tensor) -> Tensor:
        from poselens.skeleton import kernels

        messages = messages.contiguous()
        people, channels, _, joints, frames = messages.shape
        topologies = torch.matmul(weights, terms)
        gathered = messages.new_empty(people, channels, joints, frames)
        kernels.aggregate[(people * channels,)](
            messages, bias, topologies, gathered, channels, **_tiles(joints, frames, terms)
        )
        ctx.save_for_backward(messages, bias, weights, terms)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        from poselens.skeleton import kernels

        messages, bias, weights, terms = ctx.saved_tensors
        people, channels, _, joints, frames = messages.shape
        topologies = torch.matmul(weights, terms)
        message_slope, topology_slope = torch.empty_like(messages), torch.empty_like(topologies)
        bias_slope = messages.new_empty((people, *bias.shape), dtype=torch.float32)
        kernels.aggregate_backward[(people * channels,)](
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
        "JOINTS": _largest_tile(),
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
    out: Tensor = _Normalise.apply(feature, add, norm.weight, norm.bias, norm, rectified, counted)  # type: ignore[no-untyped-call]
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
    @once_differentiable
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
            QUARTER=weights.shape[-1], BLOCK=_LOOKED, PRECISION=_precision(),
        )  # fmt: skip
        ctx.save_for_backward(feature, weights)
        ctx.stride = stride
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        from poselens.skeleton import kernels

        feature, weights = ctx.saved_tensors
        slope = slope.contiguous()
        people, _, joints, frames = feature.shape
        steps, quarter = slope.shape[-1], weights.shape[-1]
        feature_slope = torch.empty_like(feature)
        kernels.look_backward[(people, 4, -(-joints * frames // _LOOKED))](
            feature, weights, slope, feature_slope, joints, frames, steps, ctx.stride,
            QUARTER=quarter, BLOCK=_LOOKED, PRECISION=_precision(),
        )  # fmt: skip
        share = -(-people // 64)
        parts = -(-people // share)
        sums = feature.new_empty((parts, *weights.shape), dtype=torch.float32)
        kernels.look_weights_backward[(10, parts)](
            feature, slope, sums, people, joints, frames, steps, ctx.stride, share,
            QUARTER=quarter, BLOCK=_LOOKED, PRECISION=_precision(),
        )  # fmt: skip
        return feature_slope, sums.sum(dim=0).to(weights.dtype), None
