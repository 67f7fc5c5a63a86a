"""Pretrained weights for the RGB branch: by name, or from a file."""

from pathlib import Path
from typing import Any

import torch

from poselens.checkpoint import read_tensors
from poselens.errors import CheckpointError
from poselens.pose.weights import WEIGHTS, locate
from poselens.rgb.network import RgbNetwork, load_imagenet


def load_initial_weights(network: RgbNetwork, choice: str) -> dict[str, Any]:
    """Load ``choice``, a name of ``poselens weights`` or a file, and report what was taken.

    Raises:
        CheckpointError: ``CKPT-013`` for a file that is not a plain table of tensors; ``CKPT-004``
            for weights of another network.
    """
    path = locate(choice) if choice in WEIGHTS else Path(choice)
    report = load_imagenet(network, read_state(path), file=path)
    return {"source": choice, "taken": len(report.taken), "left_out": list(report.left_out)}


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
