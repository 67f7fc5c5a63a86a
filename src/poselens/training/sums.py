"""What an epoch adds up to, for its row of the log."""

import math

from torch import Tensor

from poselens.evaluation.metrics import evaluate
from poselens.training.journal import Journal
from poselens.training.objectives import Losses
from poselens.training.state import Progress
from poselens.types import Scores

SUMS = ("clips", "loss", "correct", "seconds", "waited")
"""What is summed over an epoch; the parts of a loss that has several are summed beside them."""
SKIPPED = "skipped_steps"
"""Counted beside the sums: steps that were not taken because fp16 overflowed."""


def add(sums: dict[str, float], losses: Losses, label: Tensor, clips: int) -> None:
    """Add a step to the sums of its epoch; ``clips`` are those of all ranks."""
    sums["clips"] += clips
    sums["loss"] += losses.total.item() * clips
    if len(losses.parts) > 1:
        for name, part in losses.parts.items():
            sums[name] = sums.get(name, 0.0) + part.item() * clips
    sums["correct"] += losses.recognised(label)


def summary(progress: Progress, lr: float) -> dict[str, float]:
    """Return the row of an epoch.

    Args:
        progress: Holds its sums.
        lr: The rate of its last step.
    """
    sums = progress.sums
    clips, seconds = max(sums["clips"], 1.0), max(sums["seconds"], 1e-9)
    return {
        "loss": sums["loss"] / clips,
        **{name: total / clips for name, total in sums.items() if name not in (*SUMS, SKIPPED)},
        "top1": sums["correct"] / clips,
        "clips": sums["clips"],
        "lr": lr,
        "seconds": round(seconds, 3),
        "clips_per_second": round(sums["clips"] / seconds, 2),
        "data_wait": round(sums["waited"] / seconds, 4),
        **({SKIPPED: sums[SKIPPED]} if SKIPPED in sums else {}),
    }


def judge(scores: Scores, epoch: int, journal: Journal) -> float:
    """Log how an epoch's network did on the validation slice; return its Top-1, or NaN."""
    # the log has no intervals, and two thousand resamples an epoch would be in vain
    result = evaluate(scores, resamples=1)
    journal.write(
        {
            "epoch": epoch,
            "split": "val",
            "loss": result.nll,
            "top1": result.top1,
            "mean_class": result.mean_class,
            "clips": result.n,
        }
    )
    # scores that are not numbers are nobody's best
    return result.top1 if math.isfinite(result.nll) else math.nan
