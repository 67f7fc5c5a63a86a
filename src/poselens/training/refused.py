"""Steps whose numbers are not finite: what was seen is written, and the run goes on without them.

``nan_report.json`` in the run's folder holds the last :data:`REPORTED` of them, each with the
place, the clips (of the ranks that saw it), the rate, the parts of the loss and where in the
backward pass it began.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poselens.checkpoint import read_json, write_json
from poselens.errors import CheckpointError, EnvironmentFault, NumericFault
from poselens.training.objectives import Batch, Losses
from poselens.training.ranks import ALONE, Ranks
from poselens.training.state import Progress

REPORT_FILE = "nan_report.json"
REPORTED = 100


class RefusedStep(NumericFault):
    """A step that was not taken, because its loss or a gradient is not finite.

    Attributes:
        facts: What was seen, for the report.
        sound: Whether this rank's own numbers were finite, where there are several.
    """

    facts: Mapping[str, Any]
    sound: bool = False


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
        where=_clips(batch["id"]),
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
    refused.sound = losses.sound is not None and bool(losses.sound)
    return refused


def _clips(ids: Sequence[str]) -> str:
    return f"clips {', '.join(ids[:8])}"


def of_all(refused: RefusedStep, ranks: Ranks) -> RefusedStep:
    """Return a step as all ranks saw it: with the clips of those whose own numbers broke.

    Where each rank's were finite, and their sum is not, with the clips of all.
    """
    if ranks.size == 1:
        return refused
    own = {name: refused.facts[name] for name in ("clips", "inputs_finite")}
    told = ranks.texts(json.dumps({**own, "sound": refused.sound}))
    seen = [json.loads(text) for text in told]
    broken = [rank for rank, each in enumerate(seen) if not each["sound"]]
    named = broken or range(ranks.size)
    clips = [clip for rank in named for clip in seen[rank]["clips"]]
    whole = RefusedStep(refused.code, refused.message, where=_clips(clips), mend=refused.mend)
    finite = all(each["inputs_finite"] for each in seen)
    whole.facts = {**refused.facts, "clips": clips, "ranks": broken, "inputs_finite": finite}
    return whole


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
        ranks: Those that refuse together; rank 0 writes the report.
    """

    def __init__(
        self, folder: Path, *, limit: int, told: Callable[[str], None], ranks: Ranks = ALONE
    ) -> None:
        self._ranks = ranks
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
        refused = of_all(refused, self._ranks)
        if self._ranks.leads:
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
