"""The whole state of a run in one file, so that a resumed run ends as an undisturbed one would.

Held: weights and buffers, the optimiser's momenta, torch's generators, the position (epoch and
step), the best epoch so far with its weights, and the settings the run was made with. Data order
and augmentation are functions of (seed, epoch, index) and learning rates of the position, so
neither needs a state.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import poselens
from poselens.checkpoint import (
    load_weights,
    read_facts,
    read_tensors_and_facts,
    require_fit,
    write_tensors,
)
from poselens.errors import CheckpointError, NumericFault

FORMAT = 2


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        epoch: Epochs completed.
        step: Steps completed in the epoch that follows.
        sums: Running sums of that epoch: ``clips``, ``loss``, ``correct``, ``seconds``, ``waited``,
            and the parts of a loss that has several.
        best_top1: Best validation Top-1 so far, -1 before the first.
        best_epoch: Epoch that gave it, counted from 1; ties keep the earlier.
        skipped: Clip id to the reason it was left out.
        refused: Steps refused in a row, up to here.
        left_out: Clips that were known to be unreadable before the first epoch and are no part of
            its order; None where that was not known.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_top1: float = -1.0
    best_epoch: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    left_out: list[str] | None = None


def save_state(
    path: Path,
    *,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    best: dict[str, Tensor],
    fingerprint: str,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write everything a resumed run needs, atomically.

    Args:
        path: The file.
        modules: The network, and what is trained or remembered beside it, by name.
        optimizer: Over their parameters.
        progress: Where the run stands.
        best: Weights of the best epoch so far.
        fingerprint: Digest of the data.
        settings: Of the run, for the one that goes on with it to compare.

    Raises:
        NumericFault: ``NUM-002`` when a weight or a running statistic is not finite; the state
            saved before is kept.
    """
    tensors: dict[str, Tensor] = {}
    for kind, module in modules.items():
        require_finite(module, path)
        tensors |= {f"{kind}.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{slot}"] = value
    tensors["generator.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["generator.cuda"] = torch.cuda.get_rng_state()
    facts = {
        "format": FORMAT,
        "progress": asdict(progress),
        "fingerprint": fingerprint,
        "settings": dict(settings or {}),
        "made_with": made_with(),
    }
    write_tensors(path, tensors, facts=facts)


def made_with() -> dict[str, str]:
    """Return the versions on which results may depend."""
    return {"poselens": poselens.__version__, "torch": str(torch.__version__)}


def require_finite(network: nn.Module, path: Path) -> None:
    """Refuse weights and buffers that nothing can be predicted with.

    Raises:
        NumericFault: ``NUM-002`` naming the tensors.
    """
    broken = [
        name
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if broken:
        raise NumericFault(
            "NUM-002",
            f"{len(broken)} weights are not finite: {', '.join(broken[:5])}; not saved",
            file=path,
            mend="go on with --resume from the state before, or train anew with a lower "
            "training.lr or training.amp=off",
        )


def saved_facts(path: Path) -> dict[str, Any]:
    """Return what a state says beside its tensors, which are not looked at.

    Raises:
        CheckpointError: ``CKPT-010`` made by another format, ``CKPT-023`` it contradicts itself;
            damage as ``poselens.checkpoint``.
    """
    return _checked(read_facts(path), path)


def _checked(facts: dict[str, Any], path: Path) -> dict[str, Any]:
    found = facts.get("format")
    if found != FORMAT:
        known = facts.get("made_with")
        by = f" by poselens {known.get('poselens')}" if isinstance(known, dict) else ""
        raise CheckpointError(
            "CKPT-010",
            f"state format {found}{by}, this is {FORMAT}",
            file=path,
            mend="go on with the version of poselens that wrote it, or start anew with another "
            "--out",
        )
    try:
        _progress(facts)
        dict(facts["settings"]), str(facts["fingerprint"])
    except (KeyError, TypeError, ValueError) as fault:
        raise _contradicts(f"its facts are incomplete ({fault!r})", path) from fault
    return facts


def _progress(facts: Mapping[str, Any]) -> Progress:
    said = dict(facts["progress"])
    fields = {each.name: each for each in dataclasses.fields(Progress)}
    if unknown := said.keys() - fields.keys():
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    progress = Progress(**said)
    if not (
        type(progress.epoch) is type(progress.step) is int
        and min(progress.epoch, progress.step) >= 0
        and isinstance(progress.sums, dict)
        and isinstance(progress.skipped, dict)
        and isinstance(progress.left_out, list | None)
    ):
        raise ValueError("no position")
    return progress


def _contradicts(message: str, path: Path) -> CheckpointError:
    return CheckpointError(
        "CKPT-023", f"the state contradicts itself: {message}", file=path, mend="remove it"
    )


def load_state(
    path: Path,
    *,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    fingerprint: str,
) -> tuple[Progress, dict[str, Tensor], list[str]]:
    """Restore a run; returns its position, the best weights so far, and what to tell about it.

    Nothing is changed by a file that is refused.

    Raises:
        CheckpointError: ``CKPT-010`` made by another format, ``CKPT-011`` made from other data,
            ``CKPT-004`` of another network, ``CKPT-023`` it contradicts itself; damage as
            ``poselens.checkpoint``.
    """
    tensors, facts = read_tensors_and_facts(path)
    progress = _progress(_checked(facts, path))
    if facts["fingerprint"] != fingerprint:
        raise CheckpointError(
            "CKPT-011",
            "the recipe, the data or the protocol changed since this run was saved",
            file=path,
            mend="undo the change, or start anew with another --out",
        )
    slots = _momenta(tensors, optimizer, path)
    for kind, module in modules.items():
        require_fit(module.state_dict(), _part(tensors, kind), file=path)
    for kind, module in modules.items():
        load_weights(module, _part(tensors, kind), file=path)
    optimizer.load_state_dict(
        {"state": slots, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    for parameter, slot in optimizer.state.items():
        for name, value in slot.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # files hold plain strides; the update is quick only in those of the parameter
                slot[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    told = _set_generators(tensors)
    before, now = facts.get("made_with"), made_with()
    if isinstance(before, dict) and before != now:
        differing = (f"{name} {before.get(name)} -> {now[name]}" for name in sorted(now))
        told.append(f"other versions than before: {', '.join(differing)}; numbers may differ")
    return progress, _part(tensors, "best"), told


def _momenta(
    tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, path: Path
) -> dict[int, dict[str, Any]]:
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    slots: dict[int, dict[str, Any]] = {}
    for name, tensor in _part(tensors, "optimizer").items():
        index, _, slot = name.partition(".")
        if not (index.isdecimal() and int(index) < len(parameters) and slot):
            raise _contradicts(f"optimizer.{name} belongs to no parameter", path)
        shape = parameters[int(index)].shape
        if tensor.ndim and tensor.shape != shape:
            raise _contradicts(
                f"optimizer.{name} is {tuple(tensor.shape)} for {tuple(shape)}", path
            )
        slots.setdefault(int(index), {})[slot] = tensor
    return slots


def _set_generators(tensors: Mapping[str, Tensor]) -> list[str]:
    """Set torch's generators where they fit this torch and this machine; tell where not."""
    told = []
    wanted = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for name in wanted:
        kept = tensors.get(f"generator.{name}")
        try:
            if kept is None:
                raise RuntimeError("none was saved")
            if name == "cpu":
                torch.set_rng_state(kept)
            else:
                torch.cuda.set_rng_state(kept)
        except (RuntimeError, TypeError) as fault:
            text = str(fault).splitlines()[0]
            told.append(f"the {name} generator begins anew ({text}): dropout differs from here on")
    if "generator.cuda" in tensors and not torch.cuda.is_available():
        told.append("saved beside a GPU: dropout that was drawn there differs from here on")
    return told


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    head = prefix + "."
    return {name[len(head) :]: tensor for name, tensor in tensors.items() if name.startswith(head)}
