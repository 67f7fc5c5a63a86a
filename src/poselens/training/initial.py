"""Weights to start from: for the RGB branch by name or file, for the skeleton branch by file."""

from pathlib import Path
from typing import Any

import torch

from poselens.checkpoint import load_weights, read_tensors
from poselens.errors import CheckpointError
from poselens.pose.weights import WEIGHTS, locate
from poselens.rgb.network import RgbNetwork, load_imagenet
from poselens.skeleton.network import CtrGcn
from poselens.skeleton.published import CLASSIFIER, from_published, is_published


def load_initial_weights(network: RgbNetwork, choice: str) -> dict[str, Any]:
    """Load ``choice``, a name of ``poselens weights`` or a file, and report what was taken.

    Raises:
        CheckpointError: ``CKPT-013`` for a file that is not a plain table of tensors; ``CKPT-004``
            for weights of another network.
    """
    path = locate(choice) if choice in WEIGHTS else Path(choice)
    report = load_imagenet(network, read_state(path), file=path)
    return {"source": choice, "taken": len(report.taken), "left_out": list(report.left_out)}


def load_initial_skeleton_weights(network: CtrGcn, choice: str) -> dict[str, Any]:
    """Load a file of ours, or a published CTR-GCN checkpoint, and report what was taken.

    Ours is the ``weights.safetensors`` of a run, or what ``poselens weights import`` wrote. Where
    the file has no classifier, or one of other classes, the network keeps its own; the report
    names it under ``left_out``.

    Raises:
        CheckpointError: ``CKPT-001`` missing; ``CKPT-003``, ``CKPT-013`` damaged, or no plain
            table of tensors; ``CKPT-004`` weights of another network; ``CKPT-016`` a published
            checkpoint for other joints, people or coordinates.
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
    """Read a ``.safetensors``, or a ``.pt``/``.pth`` of tensors only, onto the CPU."""
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if not path.is_file():
        raise CheckpointError("CKPT-001", "file is missing", file=path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:
        # a damaged file makes torch raise almost anything: IndexError, TypeError, ...
        raise CheckpointError(
            "CKPT-013", "not a torch file of plain tensors; it was not run", file=path
        ) from fault
    tensors = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in tensors.items()
    ):
        raise CheckpointError("CKPT-013", "expected a table of tensors", file=path)
    return tensors
