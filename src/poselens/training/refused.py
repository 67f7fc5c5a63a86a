"""Steps whose numbers are not finite: what was seen is written, and the run goes on without them.

``nan_report.json`` in the run's folder holds the last :data:`REPORTED` of them, each with the
place, the clips, the rate, the parts of the loss and where in the backward pass it began.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poselens.checkpoint import read_json, write_json
from poselens.errors import CheckpointError, EnvironmentFault, NumericFault
from poselens.training.objectives import Batch, Losses
from poselens.training.state import Progress

REPORT_FILE = "nan_report.json"
REPORTED = 100


class RefusedStep(NumericFault):
    """A step that was not taken, because its loss or a gradient is not finite.

    Attributes:
        facts: What was seen, for the report.
    """

    facts: Mapping[str, Any]


def refused_step(
    losses: Losses, norm: Tensor, batch: Batch, gradients: Mapping[str, Tensor | None], *, lr: float
) -> RefusedStep:
    """Return what is wrong with a step.

    Args:
        losses: As the objective gave them.
        norm: Norm of all gradients.
        batch: The clips.
        gradients: Name of a parameter to its gradient, in the order of the forward pass.
        lr: The rate.
    """
    found = [name for name, gradient in gradients.items() if not _finite(gradient)]
    loss, length = losses.total.item(), norm.item()
    refused = RefusedStep(
        "NUM-001",
        f"the loss is {loss:.4g} and the gradient norm {length:.4g} at lr {lr:.4g}; "
        "the step was refused",
        where=f"clips {', '.join(batch['id'][:8])}",
        mend="look at these clips (nan_report.json), or train anew with a lower training.lr or "
        "training.amp=off",
    )
    refused.facts = {
        "clips": list(batch["id"]),
        "lr": lr,
        "loss": str(loss),
        "parts": {name: str(part.item()) for name, part in losses.parts.items()},
        "gradient_norm": str(length),
        "inputs_finite": all(map(_finite, batch["inputs"])),
        # the backward pass meets the last parameter first
        "first_parameter": found[-1] if found else None,
        "parameters": f"{len(found)} of {len(gradients)}",
    }
    return refused


def _finite(tensor: Tensor | None) -> bool:
    if tensor is None or not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor).all())


class Refusals:
    """Counts refused steps, and ends the run after too many in a row.

    Args:
        folder: The run's folder.
        limit: Refused steps in a row that end the run.
        told: Hears of each.
        writes: Whether this rank writes the report.
    """

    def __init__(
        self, folder: Path, *, limit: int, told: Callable[[str], None], writes: bool = True
    ) -> None:
        self._writes = writes
        self._file = folder / REPORT_FILE
        self._limit = limit
        self._told = told

    def note(self, refused: RefusedStep, progress: Progress) -> None:
        """Write what was seen.

        Args:
            refused: The step.
            progress: The position after it.

        Raises:
            RefusedStep: ``NUM-001`` when it is one too many.
        """
        progress.refused += 1
        if self._writes:
            self._write({"epoch": progress.epoch + 1, "step": progress.step, **refused.facts})
        if progress.refused >= self._limit:
            # whoever resumes may try as often again
            progress.refused = 0
            raise refused
        self._told(f"epoch {progress.epoch + 1}, step {progress.step}: {refused}")

    def _write(self, seen: Mapping[str, Any]) -> None:
        try:
            before = read_json(self._file).get("refused", []) if self._file.exists() else []
            kept = [*before, seen] if isinstance(before, list) else [seen]
            write_json(self._file, {"refused": kept[-REPORTED:]})
        except (CheckpointError, EnvironmentFault) as fault:
            self._told(f"the report of a refused step is not kept: {fault}")
