"""Known weights in our RGB network: under torchvision's, TSM's and mmaction2's names, and our own.

All of them are the same backbones. What differs is how a parameter is called:

===========  =====================================================================================
torchvision  ``layer1.0.conv1.weight``; MobileNetV2 also under its older, flat names
tsm          ``module.base_model.layer1.0.conv1.net.weight`` and ``module.new_fc.weight``
             (Lin, Gan, Han: ICCV 2019; mit-han-lab/temporal-shift-module)
mmaction     ``backbone.layer1.0.conv1.conv.net.weight`` and ``cls_head.fc_cls.weight``
             (open-mmlab/mmaction2, recognisers TSM and TSN)
ours         ``backbone.layer1.0.conv1.weight`` and ``fc.weight``, STAA among them
===========  =====================================================================================

``.net.`` stands where the shift is wrapped around a convolution, and says which blocks were trained
with one. ``module.`` comes from training on several GPUs and may be missing or present anywhere.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

from torch import Tensor

from poselens.errors import CheckpointError
from poselens.rgb.mobilenetv2 import STAGES
from poselens.rgb.network import RgbNetwork
from poselens.rgb.resnet import RESNETS
from poselens.rgb.temporal_shift import TemporalShift

Kind = Literal["ours", "torchvision", "tsm", "mmaction"]
"""Whose names a file has."""

CLASSIFIERS = ("fc", "classifier", "classifier.1", "new_fc", "cls_head.fc_cls")
"""What the last layer is called: ResNet, MobileNetV2 (TSM, torchvision), TSM, mmaction2."""


@dataclass(frozen=True)
class Loaded:
    """What :func:`load_published` did.

    Attributes:
        kind: Whose names the file has.
        taken: Names in the file whose values the network has now, and the network's names for them.
        left_out: Names in the file without use, and why.
        kept: Names in the network that nothing was taken for; ``*`` stands for all below.
        shift_blocks: Blocks the file was trained with a shift in; None where it does not say.
        notes: What a reader of the results has to know.
    """

    kind: Kind
    taken: Mapping[str, str]
    left_out: Mapping[str, str]
    kept: tuple[str, ...]
    shift_blocks: int | None
    notes: tuple[str, ...]


def kind_of(names: Collection[str]) -> Kind | None:
    """Say whose names these are, or None where they are of no RGB network known here."""
    plain = [name.removeprefix("module.") for name in names]
    if any(name.startswith(("cls_head.", "backbone.conv1.conv.")) for name in plain):
        return "mmaction"
    if any(name.startswith(("base_model.", "new_fc.")) or ".net." in name for name in plain):
        return "tsm"
    if any(name.startswith("backbone.") for name in plain):
        return "ours"
    if any(name.startswith(("layer1.", "features.")) for name in plain):
        return "torchvision"
    return None


def load_published(
    network: RgbNetwork,
    tensors: Mapping[str, Tensor],
    *,
    kind: Kind | None = None,
    shift_blocks: int | None = None,
    file: str | Path | None = None,
) -> Loaded:
    """Take over known weights; what the file lacks or has in another size stays as it was.

    All of the backbone has to come from the file. A classifier is taken if its size is the
    network's. What a backbone does not have in any publication, such as STAA, is taken from a file
    of ours, each STAA as a whole or not at all, and keeps its start otherwise.

    Args:
        network: The network to fill in place.
        tensors: Values by name.
        kind: Whose names these are; None looks.
        shift_blocks: Blocks that a file of ours was trained with a shift in, where that is known.
        file: Where they come from, for the error.

    Raises:
        CheckpointError: ``CKPT-004`` for names, shapes or numbers that are not those of the
            backbone; the network is then unchanged.
    """
    looks_like = kind_of(tensors)
    kind = kind or looks_like or "torchvision"
    own = network.state_dict()
    places, shifted = _in_our_names(tensors, kind)
    shift_blocks = shift_blocks if shifted is None else shifted
    left_out = _without_use(places, tensors, own, additions=kind == "ours")
    wanted = {stored: target for stored, target in places.items() if stored not in left_out}
    faults = _faults(wanted, tensors, own)
    if faults:
        raise CheckpointError(
            "CKPT-004",
            f"weights do not fit the backbone ({len(faults)}: {', '.join(faults[:10])})",
            file=file,
            mend=f"read it under the names of {looks_like}, which it has"
            if looks_like not in (None, kind)
            else _mend(wanted.values(), own),
        )
    network.load_state_dict(
        {target: tensors[stored] for stored, target in wanted.items()}, strict=False
    )
    return Loaded(
        kind=kind,
        taken=wanted,
        left_out=left_out,
        kept=_summed_up(own.keys() - set(wanted.values())),
        shift_blocks=shift_blocks,
        notes=_notes(shift_blocks, network),
    )


# --- names ----------------------------------------------------------------------------------------

_WRAPPED = re.compile(
    r"(layer\d+\.\d+\.conv1(?:\.conv)?|(?:features\.\d+|layer\d+\.\d+)\.conv\.0)\.net\.(.+)"
)
"""A shift around the first convolution of a block; one around anything else is no network of ours.

In the order of the alternatives: ResNet (TSM's, mmaction2's) and MobileNetV2 (the same).
"""
_FLAT = re.compile(r"(features\.\d+\.conv)\.(0|1|3|4|6|7)\.(.+)")
_UNIT = re.compile(r"((?:layer\d+\.\d+\.)?)conv(\d)\.(conv|bn)\.(.+)")
_DOWN = re.compile(r"(layer\d+\.\d+\.downsample)\.(conv|bn)\.(.+)")
_INVERTED = re.compile(r"layer(\d)\.(\d+)\.conv\.(\d)\.(conv|bn)\.(.+)")


def _in_our_names(names: Collection[str], kind: Kind) -> tuple[dict[str, str], int | None]:
    """Map each name in a file to ours; with it the number of blocks that shift, if names tell."""
    plain = {name: name.removeprefix("module.") for name in names}
    if kind == "ours":
        return plain, None
    wraps: set[str] = set()
    for name, short in plain.items():
        short = short.removeprefix("base_model." if kind == "tsm" else "")
        short = short.removeprefix("backbone." if kind == "mmaction" else "")
        match = _WRAPPED.fullmatch(short) if kind != "torchvision" else None
        if match is not None:
            wraps.add(match[1])
            short = f"{match[1]}.{match[2]}"
        plain[name] = short
    known = set(plain.values())
    spell = _mmactions if kind == "mmaction" else _nested
    targets: dict[str, str] = {}
    for name, short in plain.items():
        layer, _, leaf = short.rpartition(".")
        targets[name] = f"fc.{leaf}" if layer in CLASSIFIERS else f"backbone.{spell(short, known)}"
    return targets, None if kind == "torchvision" else len(wraps)


def _nested(name: str, names: Collection[str]) -> str:
    """Return today's name of MobileNetV2 for ``name``, which may be an older, flat one.

    The older files, and TSM's, number convolution, normalisation and activation of a block in one
    row: ``conv.3`` and ``conv.4`` are today's ``conv.1.0`` and ``conv.1.1``. The last two, which no
    activation follows, are today's ``conv.2`` and ``conv.3`` (``conv.1`` and ``conv.2`` without
    expansion).
    """
    match = _FLAT.fullmatch(name) if "features.1.conv.3.weight" in names else None
    if match is None:
        return name
    block, number, leaf = match[1], int(match[2]), match[3]
    step, part = divmod(number, 3)
    if f"{block}.{3 * step + 3}.weight" in names:
        return f"{block}.{step}.{part}.{leaf}"
    return f"{block}.{step + part}.{leaf}"


def _mmactions(name: str, names: Collection[str]) -> str:
    """Return torchvision's name for one of mmaction2's, whose convolutions hold their norm."""
    part = {"conv": "0", "bn": "1"}
    # only MobileNetV2 has a second convolution outside its blocks
    if "conv2.conv.weight" in names:
        if match := re.fullmatch(r"conv([12])\.(conv|bn)\.(.+)", name):
            last = sum(depth for _, _, depth, _ in STAGES) + 1
            return f"features.{0 if match[1] == '1' else last}.{part[match[2]]}.{match[3]}"
        if match := _INVERTED.fullmatch(name):
            stage, block, step = (int(number) for number in match.groups()[:3])
            before = [0, *accumulate(depth for _, _, depth, _ in STAGES)]
            head = f"features.{before[min(stage, len(STAGES)) - 1] + block + 1}.conv"
            if f"layer{stage}.{block}.conv.{step + 1}.conv.weight" in names:
                return f"{head}.{step}.{part[match[4]]}.{match[5]}"
            return f"{head}.{step + int(part[match[4]])}.{match[5]}"
        return name
    if match := _UNIT.fullmatch(name):
        return f"{match[1]}{match[3]}{match[2]}.{match[4]}"
    if match := _DOWN.fullmatch(name):
        return f"{match[1]}.{part[match[2]]}.{match[3]}"
    return name


# --- what fits ------------------------------------------------------------------------------------

_BACKBONE = re.compile(
    r"backbone\.(?:conv1|bn1|layer\d+\.\d+\.(?:(?:conv|bn)\d|downsample\.[01])"
    r"|features\.\d+\.(?:\d|conv\.\d(?:\.\d)?))\.[a-z_]+"
)
"""A parameter or buffer that the backbone has in its publication."""


def _addition(name: str) -> str | None:
    """Return the module of ours that ``name`` is a part of, or None for a published one."""
    if not name.startswith("backbone.") or _BACKBONE.fullmatch(name):
        return None
    head, staa, _ = name.partition(".staa.")
    return f"{head}.staa" if staa else ".".join(name.split(".")[:2])


def _without_use(
    places: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    *,
    additions: bool,
) -> dict[str, str]:
    """Return the names in a file that the network can do without, and why they are left out.

    With ``additions`` it can do without modules of ours. In a published file, what the backbone
    does not have changes what the rest computes, such as a non-local block.
    """
    left_out: dict[str, str] = {}
    given = {target: tensors[stored].shape for stored, target in places.items()}
    for stored, target in places.items():
        module = "fc" if target.startswith("fc.") else _addition(target)
        if module is None or not (module == "fc" or additions):
            continue
        theirs = {name: shape for name, shape in given.items() if name.startswith(f"{module}.")}
        ours = {name: own[name].shape for name in own if name.startswith(f"{module}.")}
        if theirs == ours:
            continue
        if module == "fc":
            found, expected = tuple(given[target]), tuple(own[target].shape)
            left_out[stored] = f"a classifier of other size: {found}, not {expected}"
        else:
            left_out[stored] = f"{module} is {'of another make' if ours else 'not in the network'}"
    return left_out


def _faults(
    wanted: Mapping[str, str], tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> list[str]:
    """Say what keeps the wanted values out of the network."""
    faults: list[str] = []
    seen: dict[str, str] = {}
    for stored, target in wanted.items():
        value = tensors[stored]
        if target not in own:
            faults.append(f"unexpected {stored}")
        elif target in seen:
            faults.append(f"{stored} is there twice, as {seen[target]}")
        elif own[target].shape != value.shape:
            faults.append(f"{stored} is {tuple(value.shape)}, not {tuple(own[target].shape)}")
        elif own[target].is_floating_point() and not value.is_floating_point():
            faults.append(f"{stored} holds {value.dtype}")
        seen[target] = stored
    # Old files do not have the counters, which nothing reads at a fixed momentum.
    faults += [
        f"missing {name.removeprefix('backbone.')}"
        for name in own
        if _BACKBONE.fullmatch(name)
        and name not in seen
        and not name.endswith("num_batches_tracked")
    ]
    return faults


def _mend(found: Collection[str], own: Collection[str]) -> str:
    """Say which backbone the names found belong to, where that is another than the network's."""
    backbone = _backbone_of(found)
    if backbone in (None, _backbone_of(own)):
        return "use weights of the same backbone at the same width"
    return f"use them in a network with the backbone {backbone}"


def _backbone_of(names: Collection[str]) -> str | None:
    """Tell a backbone by the blocks that names speak of."""
    if "backbone.features.18.0.weight" in names:
        return "mobilenetv2"
    blocks = {match[0] for name in names if (match := re.match(r"backbone\.layer\d+\.\d+", name))}
    kind = "bottleneck" if "backbone.layer1.0.conv3.weight" in names else "basic"
    for backbone, (block, depths) in RESNETS.items():
        expected = {
            f"backbone.layer{stage}.{number}"
            for stage, depth in enumerate(depths, 1)
            for number in range(depth)
        }
        if (kind, blocks) == (block, expected):
            return backbone
    return None


def _summed_up(names: Iterable[str]) -> tuple[str, ...]:
    """Return names with one entry for each module of ours, and one for all counters."""
    short: set[str] = set()
    for name in names:
        module = _addition(name)
        if module is not None:
            short.add(f"{module}.*")
        elif name.endswith(".num_batches_tracked"):
            short.add("*.num_batches_tracked")
        else:
            short.add(name)
    return tuple(sorted(short))


def _notes(trained: int | None, network: RgbNetwork) -> tuple[str, ...]:
    """Compare the shift that a file was trained with to that of the network."""
    shifts = sum(isinstance(part, TemporalShift) for part in network.modules())
    if trained and shifts and network.causal:
        return ("trained with a shift from both sides; this network shifts from the past alone",)
    if trained is None or trained == shifts:
        return ()
    if not trained:
        return (f"trained without a temporal shift; this network shifts in {shifts} blocks",)
    there = f"in {shifts} blocks" if shifts else "nowhere"
    return (f"trained with a temporal shift in {trained} blocks; this network shifts {there}",)
