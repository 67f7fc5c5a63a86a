"""Run a network over batches of clips and keep what it says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from poselens.errors import NumericFault, UsageError
from poselens.types import Scores


def collect_scores(
    network: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    *,
    classes: Sequence[str],
    stream: str,
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> Scores:
    """Score every clip of ``batches`` in evaluation mode, without gradients.

    The network is left in the mode it came in.

    Args:
        network: Called as ``network(*inputs)``; gives logits ``(n, k)``.
        batches: Each has ``inputs``, a tuple of tensors, ``label``, a tensor ``(n,)`` with -1 for
            unknown, and ``id``, a list of clip ids.
        classes: Class names, one per column of logits.
        stream: Name of the stream.
        device: Where the network lives.
        amp: Compute in bfloat16 where torch deems it safe.

    Raises:
        UsageError: ``EVAL-004`` without a clip, ``EVAL-007`` when the network has another number
            of classes.
        NumericFault: ``EVAL-005`` for logits that are not finite, naming the clips.
    """
    place = torch.device(device)
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    ids: list[str] = []
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), torch.autocast(place.type, dtype=torch.bfloat16, enabled=amp):
            for batch in batches:
                inputs = (part.to(place, non_blocking=True) for part in batch["inputs"])
                scored = network(*inputs).float().cpu()
                _require_sound(scored, batch["id"], classes, stream)
                logits.append(scored)
                labels.append(batch["label"].cpu())
                ids.extend(batch["id"])
    finally:
        network.train(was_training)
    if not ids:
        raise UsageError(
            "EVAL-004", f"no clip to score with stream {stream!r}", mend="check the split"
        )
    return Scores(
        torch.cat(logits).numpy().astype(np.float32),
        ids,
        torch.cat(labels).numpy().astype(np.int64),
        list(classes),
        stream,
    )


def _require_sound(logits: Tensor, ids: Sequence[str], classes: Sequence[str], stream: str) -> None:
    if logits.shape != (len(ids), len(classes)):
        raise UsageError(
            "EVAL-007",
            f"stream {stream!r} gives scores of shape {tuple(logits.shape)}, "
            f"expected {(len(ids), len(classes))}",
            mend="use the run with the data set it was trained on",
        )
    broken = ~logits.isfinite().all(dim=1)
    if broken.any():
        named = [ids[row] for row in broken.nonzero().flatten().tolist()]
        shown = ", ".join(named[:8]) + (", ..." if len(named) > 8 else "")
        raise NumericFault(
            "EVAL-005",
            f"stream {stream!r} gives scores that are not finite for {len(named)} clips: {shown}",
            mend="look at these clips and at the training log; try training.amp=off",
        )
