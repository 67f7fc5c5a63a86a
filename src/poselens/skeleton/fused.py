"""The operations that cost a block its time: plain on every device, one pass each on a GPU.

A feature has the axes ``(p, c, v, t)``: people, channels, joints, frames. The plain spelling is
the definition; ``quick`` holds another one, taken on CUDA devices that have Triton.
"""

import importlib.util
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_QUARTERS = (16, 32, 64, 128)
TILE = 32
"""Joints of a tile; the largest layout that the kernels across joints take."""
_LONGEST = 256
"""Frames of a tile; longer clips go the plain way across joints."""


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def is_quick(tensor: Tensor) -> bool:
    """Return whether the kernels take this tensor."""
    return tensor.is_cuda and _has_triton()


def _fits(feature: Float[Tensor, "... v t"]) -> bool:
    return feature.shape[-2] <= TILE and feature.shape[-1] <= _LONGEST


def takes_mask(feature: Tensor, norm: nn.Module) -> bool:
    """Return whether a normalisation leaves people out by a mask, rather than want them taken out.

    The kernels do, and so does any that is not torch's own.
    """
    return is_quick(feature) or type(norm) is not nn.BatchNorm2d


def fork(
    feature: Float[Tensor, "p c v t"],
) -> tuple[Tensor, Tensor, Tensor, Float[Tensor, "p v c"]]:
    """Hand a feature to three readers, and its mean over time to a fourth.

    What comes back from the four on the way backward is added in one pass on a GPU.
    """
    if is_quick(feature) and _fits(feature):
        from poselens.skeleton import quick

        return quick.fork(feature)
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
    if is_quick(pairs) and topology.shape[-1] <= TILE:
        from poselens.skeleton import quick

        return quick.relate(pairs, topology)
    relations = pairs.shape[-1] // 6
    both = torch.unflatten(pairs.transpose(1, 2), 1, (2, 3, relations))
    relation = torch.tanh(both[:, 0].unsqueeze(-1) - both[:, 1].unsqueeze(-2))
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
    return torch.unflatten(wide[..., : joints * row], -1, (joints, row))[..., :joints]


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
    weights = aligned(weights, terms)
    if is_quick(messages) and _fits(messages):
        from poselens.skeleton import quick

        return quick.aggregate(messages, bias, weights, terms)
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
    if is_quick(feature) and type(norm) is nn.BatchNorm2d:
        from poselens.skeleton import quick

        return quick.normalise(feature, norm, add=add, rectified=rectified, counted=counted)
    normal = norm.num_features
    mask = () if counted is None else (counted,)
    out: Tensor = norm(feature[:, :normal], *mask)
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
    if is_quick(feature) and weights.shape[-1] in _QUARTERS:
        from poselens.skeleton import quick

        return quick.look(feature, weights, stride=stride)
    near, far, peak, plain = feature.chunk(4, dim=1)
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
    if lacking <= 0 or not is_quick(feature):
        out: Tensor = convolution(feature)
        return out
    return F.conv2d(
        F.pad(feature, (0, 0, 0, 0, 0, lacking)),
        F.pad(convolution.weight, (0, 0, 0, 0, 0, lacking)),
        convolution.bias,
        stride=convolution.stride,
    )
