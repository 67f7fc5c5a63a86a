r"""Weights of the published CTR-GCN in our network: one table of names, read as views.

The published network (Chen et al., ICCV 2021; ``model/ctrgcn.py`` of Uason-Chen/CTR-GCN) keeps one
convolution per topology subset and one per temporal branch, with time before joints. Ours merges
them and puts time last. Every published weight is then a part of one of ours, in another shape, so
a view of ours has the shape that the published file must have, and filling the views converts it.

Published convolutions that a normalisation follows have a bias, which ours have not. The running
mean of that normalisation takes it in: :math:`(Wx + b) - \mu = Wx - (\mu - b)`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from poselens.checkpoint import require_fit
from poselens.errors import CheckpointError
from poselens.skeleton.graph import SUBSETS
from poselens.skeleton.network import CtrGcn

CLASSIFIER = ("classify.weight", "classify.bias")
"""The weights of ours that depend on the number of classes."""

_Cut = Callable[[Tensor, int], Sequence[Tensor]]
_CLASSIFIER = ("fc.weight", "fc.bias")


@dataclass(frozen=True)
class Converted:
    """What came of a published checkpoint.

    Attributes:
        taken: Number of tensors taken over.
        left_out: Published names that were not: the classifier of other classes, or nothing.
    """

    taken: int
    left_out: tuple[str, ...]


def is_published(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether names are those of the published network rather than ours."""
    return any(_plain(name).startswith(("data_bn.", "l1.")) for name in tensors)


def from_published(
    tensors: Mapping[str, Tensor], network: CtrGcn, *, file: Path
) -> tuple[dict[str, Tensor], Converted]:
    """Return weights for ``network`` out of a published checkpoint; the network is left alone.

    Every published weight has its place, but for a bias that goes into a running mean: with
    ``present`` all true, the logits are those of the published network. A classifier of other
    classes is left out, and the network's own stands in the result.

    Args:
        tensors: Values under the published names, with or without ``module.`` before them.
        network: What they are for: its layout, people, classes, width and blocks.
        file: Where they come from, for the errors.

    Raises:
        CheckpointError: ``CKPT-016`` for other joints, people or coordinates; ``CKPT-004`` for
            names or shapes that are not those of the published network of this size.
    """
    given = {_plain(name): values for name, values in tensors.items()}
    own = {name: values.detach().clone() for name, values in network.state_dict().items()}
    places = under_published_names(own)
    folded = _folded(places)
    places |= {bias: places[mean].clone() for bias, mean in folded.items()}
    _require_same_body(given, places, file)
    left_out: tuple[str, ...] = ()
    if "fc.bias" in given and given["fc.bias"].shape != places["fc.bias"].shape:
        left_out = tuple(name for name in _CLASSIFIER if name in given)
    wanted = {name: values for name, values in given.items() if name not in left_out}
    expected = {name: place for name, place in places.items() if name not in left_out}
    require_fit(expected, wanted, file=file)
    for name, place in expected.items():
        place.copy_(wanted[name])
    for bias, mean in folded.items():
        places[mean].sub_(places[bias])
    return own, Converted(len(expected), left_out)


def under_published_names(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return views of a state of :class:`CtrGcn` under the published names, in their shapes.

    Writing into a view writes into ``own``. The counters of merged normalisations share a place.
    Biases that ours has not are missing.
    """
    table = _table()
    views: dict[str, Tensor] = {}
    for name, values in own.items():
        block = re.match(r"blocks\.(\d+)\.", name)
        head = f"l{int(block[1]) + 1}." if block else ""
        rest = name[block.end() :] if block else name
        module, dot, leaf = (rest, "", "") if rest in table else rest.rpartition(".")
        published, cut = table[module]
        for target, view in zip(published, cut(values, len(published)), strict=True):
            views[f"{head}{target}{dot}{leaf}"] = view
    return views


def _table() -> dict[str, tuple[tuple[str, ...], _Cut]]:
    """Return, for each module or parameter of ours, the published ones and how ours is cut."""

    def subsets(convolution: str) -> tuple[str, ...]:
        return tuple(f"gcn1.convs.{subset}.{convolution}" for subset in range(SUBSETS))

    def branches(*places: str) -> tuple[str, ...]:
        return tuple(f"tcn1.branches.{place}" for place in places)

    return {
        "data_norm": (("data_bn",), _chunks),
        "classify": (("fc",), _chunks),
        "space.topology": (("gcn1.PA",), _chunks),
        "space.strength": (("gcn1.alpha",), _chunks),
        "space.pair": (subsets("conv1") + subsets("conv2"), _lines),
        "space.transform": (subsets("conv3"), _subset_within),
        "space.transform_bias": (subsets("conv3.bias"), _columns),
        "space.refine": (subsets("conv4.weight"), _products),
        "space.refine_bias": (subsets("conv4.bias"), _rows),
        "space.norm": (("gcn1.bn",), _chunks),
        "space.shortcut.convolve": (("gcn1.down.0",), _chunks),
        "space.shortcut.norm": (("gcn1.down.1",), _chunks),
        "time.enter": (branches("0.0", "1.0", "2.0", "3.0"), _chunks),
        "time.enter_norm": (branches("0.1", "1.1", "2.1", "3.1"), _chunks),
        "time.kernels": (branches("0.3.conv.weight", "1.3.conv.weight"), _taps_first),
        "time.leave_norm": (branches("0.3.bn", "1.3.bn", "2.4"), _chunks),
        "shortcut.convolve": (("residual.conv",), _chunks),
        "shortcut.norm": (("residual.bn",), _chunks),
    }


_FOLLOWED = {
    "gcn1.down.0": "gcn1.down.1",
    "residual.conv": "residual.bn",
    **{f"tcn1.branches.{branch}.0": f"tcn1.branches.{branch}.1" for branch in range(4)},
    **{f"tcn1.branches.{branch}.3.conv": f"tcn1.branches.{branch}.3.bn" for branch in range(2)},
}
"""Published convolutions with the normalisation that follows, and whose mean their bias joins."""


def _folded(places: Mapping[str, Tensor]) -> dict[str, str]:
    """Return, for each published bias that ours has not, the running mean that takes it in."""
    blocks = {name.partition(".")[0] for name in places if name.startswith("l")}
    return {
        f"{block}.{convolution}.bias": mean
        for block in blocks
        for convolution, norm in _FOLLOWED.items()
        if (mean := f"{block}.{norm}.running_mean") in places
    }


def _chunks(values: Tensor, parts: int) -> Sequence[Tensor]:
    """Cut along the channels; a counter has none, and is the same for all."""
    return values.chunk(parts) if values.dim() else [values] * parts


def _lines(values: Tensor, parts: int) -> Sequence[Tensor]:
    """Cut a linear layer that the published network keeps as 1x1 convolutions."""
    return [part[..., None, None] if part.dim() > 1 else part for part in values.chunk(parts)]


def _products(values: Tensor, parts: int) -> Sequence[Tensor]:
    """Cut matrices that the published network keeps as 1x1 convolutions."""
    return [part[..., None, None] for part in values.unbind(0)]


def _rows(values: Tensor, parts: int) -> Sequence[Tensor]:
    return [part[:, 0] for part in values.unbind(0)]


def _columns(values: Tensor, parts: int) -> Sequence[Tensor]:
    return values.unbind(1)


def _subset_within(values: Tensor, parts: int) -> Sequence[Tensor]:
    """Cut channels that are stored channel by channel, subset within."""
    return [values[subset::parts] for subset in range(parts)]


def _taps_first(values: Tensor, parts: int) -> Sequence[Tensor]:
    """Cut kernels whose taps come before their channels."""
    return [part.permute(1, 2, 0).unsqueeze(-1) for part in values.unbind(0)]


def _require_same_body(
    given: Mapping[str, Tensor], places: Mapping[str, Tensor], file: Path
) -> None:
    found, expected = _body(given), _body(places)
    if found and found != expected:
        raise CheckpointError(
            "CKPT-016",
            f"found {found}, expected {expected}",
            file=file,
            mend="use the joint layout and the number of people that it was trained with",
        )


def _body(tensors: Mapping[str, Tensor]) -> str | None:
    """Say what a checkpoint reads, or None where its names or shapes do not tell."""
    try:
        joints = tensors["l1.gcn1.PA"].shape[2]
        coordinates = tensors["l1.gcn1.convs.0.conv1.weight"].shape[1]
        people, rest = divmod(len(tensors["data_bn.weight"]), joints * coordinates)
    except (KeyError, IndexError, TypeError, ZeroDivisionError):
        return None
    return None if rest else f"{joints} joints, people: {people}, coordinates: {coordinates}"


def _plain(name: str) -> str:
    # DataParallel puts this before every name
    return name.removeprefix("module.")
