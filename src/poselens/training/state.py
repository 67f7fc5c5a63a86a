"""The whole state of a run in one file, so that a resumed run ends as an undisturbed one would.

Held: weights and buffers, the optimiser's momenta, torch's generators, the position (epoch and
step), and the best epoch so far with its weights. Data order and augmentation are functions of
(seed, epoch, index) and learning rates of the position, so neither needs a state.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from poselens.checkpoint import load_weights, read_tensors_and_facts, write_tensors
from poselens.errors import CheckpointError, NumericFault

FORMAT = 1


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
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_top1: float = -1.0
    best_epoch: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def save_state(
    path: Path,
    *,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    best: dict[str, Tensor],
    fingerprint: str,
) -> None:
    """Write everything a resumed run needs, atomically.

    Args:
        path: The file.
        modules: The network, and what is trained or remembered beside it, by name.
        optimizer: Over their parameters.
        progress: Where the run stands.
        best: Weights of the best epoch so far.
        fingerprint: Digest of recipe and data.

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
    facts = {"format": FORMAT, "progress": asdict(progress), "fingerprint": fingerprint}
    write_tensors(path, tensors, facts=facts)


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
            mend="lower training.lr, or set training.amp=off, and go on with --resume",
        )


def saved_fingerprint(path: Path) -> str:
    """Return the fingerprint of the run a state belongs to.

    Raises:
        CheckpointError: ``CKPT-010`` made by another format; damage as ``poselens.checkpoint``.
    """
    return str(_read(path)[1].get("fingerprint"))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, facts = read_tensors_and_facts(path)
    if facts.get("format") != FORMAT:
        raise CheckpointError(
            "CKPT-010",
            f"state format {facts.get('format')}, this is {FORMAT}",
            file=path,
            mend="start anew with another --out",
        )
    return tensors, facts


def load_state(
    path: Path,
    *,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    fingerprint: str,
) -> tuple[Progress, dict[str, Tensor]]:
    """Restore a run; returns its position and the best weights so far.

    Raises:
        CheckpointError: ``CKPT-010`` made by another format, ``CKPT-011`` made from another recipe
            or other data; damage as ``poselens.checkpoint``.
    """
    tensors, facts = _read(path)
    if facts.get("fingerprint") != fingerprint:
        raise CheckpointError(
            "CKPT-011",
            "the recipe, the data or the protocol changed since this run was saved",
            file=path,
            mend="undo the change, or start anew with another --out",
        )
    for kind, module in modules.items():
        load_weights(module, _part(tensors, kind), file=path)
    slots: dict[int, dict[str, Any]] = {}
    for name, tensor in _part(tensors, "optimizer").items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict(
        {"state": slots, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    for parameter, slot in optimizer.state.items():
        for name, value in slot.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # files hold plain strides; the update is quick only in those of the parameter
                slot[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    torch.set_rng_state(tensors["generator.cpu"])
    if torch.cuda.is_available() and "generator.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator.cuda"])
    return Progress(**facts["progress"]), _part(tensors, "best")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    head = prefix + "."
    return {name[len(head) :]: tensor for name, tensor in tensors.items() if name.startswith(head)}
