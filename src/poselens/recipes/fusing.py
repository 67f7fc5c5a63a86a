"""From runs to a bundle: choose the weights of Eq. (14)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from poselens.data.folder import ClipFolder
from poselens.data.info import nearest
from poselens.errors import UsageError
from poselens.fusion.weights import FusionWeights, fit_weights, fixed_weights
from poselens.recipes.abstaining import held_out_scores, unknown_threshold
from poselens.recognition.bundle import require_fusible, require_unused, write_bundle
from poselens.recognition.score import score_folder
from poselens.recognition.streams import TrainedStream, load_run


def fuse_runs(
    runs: Sequence[Path],
    folder: ClipFolder,
    protocol: str,
    out: Path,
    *,
    weights: str | dict[str, float],
    device: torch.device,
    unknown: float | None = None,
) -> dict[str, Any]:
    """Load finished runs, choose their weights and write a bundle.

    Args:
        runs: Folders made by training, one stream each.
        folder: The data set whose validation slice fitted weights are fitted on.
        protocol: The split that slice belongs to.
        out: Bundle to write.
        weights: ``paper``, ``equal``, ``fitted``, ``stream=number,...``, or a table.
        device: Where to score the validation slice.
        unknown: Share of clips of known classes that may be called unknown: the bundle keeps the
            threshold, chosen on the validation slice. None for none.

    Raises:
        UsageError: ``RUN-001`` ``out`` holds something, ``CFG-004`` unknown protocol, ``FUS-001``,
            ``FUS-002`` streams that cannot be fused, ``FUS-005``, ``FUS-011`` weights that cannot
            be read, ``FUS-010`` when weights are to be fitted but a run was trained on the
            validation slice, or under another protocol; ``EVAL-022``, ``EVAL-023``, ``EVAL-025``,
            ``EVAL-028`` where no threshold can be chosen.
        CheckpointError: As ``poselens.recognition.streams``.
    """
    require_unused(out)
    folder.indices(protocol, "train+val")
    streams = [load_run(run, device=device) for run in runs]
    require_fusible(streams)
    names = [trained.stream.name for trained in streams]
    if weights == "fitted":
        fusion = _fitted(streams, folder, protocol)
    elif isinstance(weights, str):
        fusion = fixed_weights(names, _parsed(weights, names) if "=" in weights else weights)
    else:
        fusion = fixed_weights(names, weights)
    threshold = None
    if unknown is not None:
        threshold = unknown_threshold(held_out_scores(streams, folder, protocol), fusion, unknown)
    return write_bundle(out, streams, fusion, unknown=threshold)


def _fitted(streams: Sequence[TrainedStream], folder: ClipFolder, protocol: str) -> FusionWeights:
    for trained in streams:
        data = trained.facts.get("data", {})
        if data.get("val", 0) == 0:
            raise UsageError(
                "FUS-010",
                f"{trained.stream.name} was trained on the validation slice too, so weights "
                "cannot be fitted on it",
                mend="train with training.validation=hold-out, or use --weights paper",
            )
        if data.get("protocol") != protocol:
            raise UsageError(
                "FUS-010",
                f"{trained.stream.name} was trained under the protocol {data.get('protocol')!r}, "
                f"so it may have seen validation clips of {protocol!r}",
                mend="train it under this protocol, or use --weights paper",
            )
    clips = folder.indices(protocol, "val")
    return fit_weights([score_folder(trained, folder, clips).scores for trained in streams])


def _parsed(text: str, names: Sequence[str]) -> dict[str, float]:
    table: dict[str, float] = {}
    for entry in text.split(","):
        name, _, number = (part.strip() for part in entry.partition("="))
        if name not in names:
            raise UsageError(
                "FUS-011",
                f"found a weight for {name!r}{nearest(name, names)}",
                mend=f"give one for each of {', '.join(names)}",
            )
        try:
            table[name] = float(number)
        except ValueError as fault:
            raise UsageError(
                "FUS-011", f"found weight {entry!r}, expected stream=number"
            ) from fault
    return table
