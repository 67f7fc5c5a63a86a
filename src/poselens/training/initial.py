"""Weights to start from: for the RGB branch by name or file, for the skeleton branch by file."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from poselens.checkpoint import load_weights, read_tensors_and_facts
from poselens.errors import CheckpointError
from poselens.pose.weights import WEIGHTS, locate
from poselens.rgb.network import RgbNetwork
from poselens.rgb.published import Kind, Loaded, load_published
from poselens.skeleton.network import CtrGcn
from poselens.skeleton.published import CLASSIFIER, from_published, is_published

LARGEST = 4 << 30
"""Bytes; far above a ResNet-50 with the state of its optimiser, 200 MB."""


@dataclass(frozen=True)
class Stored:
    """What a file of weights holds.

    Attributes:
        tensors: Its weights by name, on the CPU.
        beside: Names of what else it holds, and what that is.
        facts: What :func:`poselens.checkpoint.write_tensors` wrote with them; empty for others.
    """

    tensors: dict[str, torch.Tensor]
    beside: dict[str, str]
    facts: dict[str, Any]


def load_initial_weights(network: RgbNetwork, choice: str) -> dict[str, Any]:
    """Load ``choice``, a name of ``poselens weights`` or a file, and report what was taken.

    A file is torchvision's, TSM's, mmaction2's, or one of ours: the ``weights.safetensors`` of a
    run, or what ``poselens weights import`` wrote (:mod:`poselens.rgb.published`).

    Raises:
        CheckpointError: ``CKPT-001`` missing; ``CKPT-003``, ``CKPT-013`` damaged, too large, or no
            plain table of tensors; ``CKPT-004`` weights of another network.
    """
    path = locate(choice) if choice in WEIGHTS else Path(choice)
    stored = read_stored(path)
    return {"source": choice, **told(fill(network, stored, file=path), stored)}


def fill(
    network: RgbNetwork, stored: Stored, *, kind: Kind | None = None, file: Path | None = None
) -> Loaded:
    """Load what a file holds into an RGB network.

    Args:
        network: The network to fill in place.
        stored: What the file holds.
        kind: Whose names it has; None looks.
        file: Where it comes from, for the error.

    Raises:
        CheckpointError: ``CKPT-004`` weights of another network; it is then unchanged.
    """
    shifts = stored.facts.get("shift_blocks")
    return load_published(
        network,
        stored.tensors,
        kind=kind,
        shift_blocks=shifts if isinstance(shifts, int) else None,
        file=file,
    )


def told(loaded: Loaded, stored: Stored) -> dict[str, Any]:
    """Return what was and was not taken, for JSON."""
    return {
        "kind": loaded.kind,
        "taken": len(loaded.taken),
        "left_out": {**loaded.left_out, **stored.beside},
        "kept": list(loaded.kept),
        "shift_blocks": loaded.shift_blocks,
        "notes": list(loaded.notes),
    }


def load_initial_skeleton_weights(network: CtrGcn, choice: str) -> dict[str, Any]:
    """Load a file of ours, or a published CTR-GCN checkpoint, and report what was taken.

    Ours is the ``weights.safetensors`` of a run, or what ``poselens weights import`` wrote. Where
    the file has no classifier, or one of other classes, the network keeps its own; the report
    names it under ``left_out``.

    Raises:
        CheckpointError: ``CKPT-001`` missing; ``CKPT-003``, ``CKPT-013`` damaged, too large, or no
            plain table of tensors; ``CKPT-004`` weights of another network; ``CKPT-016`` a
            published checkpoint for other joints, people or coordinates.
    """
    path = Path(choice)
    tensors = read_state(path)
    if is_published(tensors):
        state, converted = from_published(tensors, network, file=path)
        network.load_state_dict(state)
        return {"source": choice, "taken": converted.taken, "left_out": list(converted.left_out)}
    own = network.state_dict()
    bias = CLASSIFIER[-1]
    same_classes = bias in tensors and tensors[bias].shape == own[bias].shape
    left_out = () if same_classes else CLASSIFIER
    load_weights(network, {**tensors, **{name: own[name] for name in left_out}}, file=path)
    return {"source": choice, "taken": len(own) - len(left_out), "left_out": list(left_out)}


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a file, as :func:`read_stored`."""
    return read_stored(path).tensors


def read_stored(path: Path) -> Stored:
    """Read a ``.safetensors``, or a torch file of plain values only; nothing in it is run.

    A torch file holds a table of tensors, or one under ``state_dict`` beside other things.

    Raises:
        CheckpointError: ``CKPT-001`` missing; ``CKPT-003`` damaged safetensors; ``CKPT-013`` too
            large, or a torch file that is no plain table of tensors.
    """
    _require_small(path)
    if path.suffix == ".safetensors":
        tensors, facts = read_tensors_and_facts(path)
        return Stored(tensors, {}, facts)
    if not path.is_file():
        raise CheckpointError("CKPT-001", "file is missing", file=path)
    try:
        with torch.serialization.safe_globals(_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:
        # a damaged file makes torch raise almost anything: IndexError, TypeError, ...
        raise CheckpointError(
            "CKPT-013", "not a torch file of plain tensors; it was not run", file=path
        ) from fault
    wrapped = isinstance(content, dict) and "state_dict" in content
    table = content["state_dict"] if wrapped else content
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table):
        raise CheckpointError("CKPT-013", "expected a table of tensors", file=path)
    tensors = {name: value for name, value in table.items() if _is_plain(value)}
    if not tensors:
        raise CheckpointError("CKPT-013", "expected a table of tensors", file=path)
    beside = {name: "not a tensor of numbers in memory" for name in table if name not in tensors}
    return Stored(tensors, {**beside, **(_beside(content) if wrapped else {})}, {})


def _beside(content: Mapping[Any, Any]) -> dict[str, str]:
    return {
        str(name): "state of an optimiser" if name == "optimizer" else "not among the weights"
        for name in content
        if name != "state_dict"
    }


def _is_plain(value: object) -> bool:
    """Say whether a value is a tensor of numbers laid out in memory."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _numbers() -> list[Any]:
    """Return what a file may make besides tensors: numpy's numbers, such as a best accuracy.

    Files of numpy 1 call the same function by another name.
    """
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [*((scalar, name) for name in names), np.dtype, *kinds]


def _require_small(path: Path) -> None:
    """Refuse what would fill the memory, as it lies there or unpacked."""
    if not path.is_file():
        return
    size = path.stat().st_size
    if path.suffix != ".safetensors" and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(entry.file_size for entry in archive.infolist()))
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return  # torch says what is wrong with it
    if size > LARGEST:
        raise CheckpointError(
            "CKPT-013",
            f"{size:,} bytes, expected at most {LARGEST:,}; it was not read",
            file=path,
            mend="save the tensors of the network alone",
        )


def start_from(network: nn.Module, choice: str | None) -> dict[str, Any] | None:
    """Load the weights that a recipe starts from; returns what was taken."""
    if choice is None:
        return None
    if isinstance(network, RgbNetwork):
        return load_initial_weights(network, choice)
    assert isinstance(network, CtrGcn)
    return load_initial_skeleton_weights(network, choice)
