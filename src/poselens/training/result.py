"""What a finished run leaves: weights, scores, and what ``run.json`` says of it."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import poselens
from poselens.checkpoint import write_tensors
from poselens.clips.device import use_bf16
from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.data.audit import leak_facts
from poselens.data.folder import ClipFolder
from poselens.data.leakage import Leak
from poselens.fusion.scores import write_scores
from poselens.training.config import RgbSection, SkeletonSection
from poselens.training.contrastive import Contrast
from poselens.training.explain import mean_data_wait, now
from poselens.training.freeze import counted
from poselens.training.plan import Outcome
from poselens.training.ranks import Ranks, described
from poselens.training.samples import Samples
from poselens.training.state import Progress

if TYPE_CHECKING:
    from poselens.training.run import Request

RUN_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Made:
    """What a run is made with.

    Attributes:
        folder: The data set.
        section: The resolved recipe.
        request: What was asked for.
        device: Where the network is.
        ranks: Those that train together.
        stream: What the network reads and says.
        config: The content of ``config.yaml``.
        said: The same, and what of the data is named where another set is given.
        changed: What goes on otherwise than it was, to be told.
        leaks: What train or validation share with test.
        parts: Clips of ``train`` and ``val``.
        network: The network.
        taken: The weights it started from.
        frozen: Modules that are not trained.
        run_with: Versions, device, command line.
        samples: Of both parts.
        contrast: What compares graphs, where the recipe wants it.
    """

    folder: ClipFolder
    section: RgbSection | SkeletonSection
    request: "Request"
    device: torch.device
    ranks: Ranks
    stream: RgbStream | SkeletonStream
    config: dict[str, Any]
    said: dict[str, Any]
    changed: tuple[str, ...]
    leaks: Sequence[Leak]
    parts: dict[str, NDArray[np.int64]]
    network: nn.Module
    taken: Any
    frozen: tuple[nn.Module, ...]
    run_with: dict[str, Any]
    samples: Samples
    contrast: Contrast | None


def write_result(made: Made, outcome: Outcome) -> None:
    """Write weights and validation scores, and the last epoch's weights where another was chosen.

    Only weights that a saved state holds come here, and those are finite.
    """
    settings, progress, ranks = made.section.training, outcome.progress, made.ranks
    samples, network, out = made.samples, made.network, made.request.out
    if (
        settings.select == "best"
        and samples.validation_clips
        and (progress.best_epoch != progress.epoch)
        and ranks.leads
    ):
        write_tensors(out / "last.safetensors", outcome.last)
    network.load_state_dict(outcome.weights)
    if samples.validation_clips:
        amp = use_bf16(settings.amp, made.device)
        scores = samples.validate(network, made.device, progress, lambda: False, amp=amp)
        if ranks.leads:
            write_scores(out / "scores_val.npz", scores)
    samples.write_skipped(progress)
    if not ranks.leads:
        return
    write_tensors(out / "weights.safetensors", network.state_dict())


def facts_of(made: Made, outcome: Outcome) -> dict[str, Any]:
    """Return the content of ``run.json``."""
    settings, request, folder = made.section.training, made.request, made.folder
    network, parts, device = made.network, made.parts, made.device
    return {
        "format": RUN_FORMAT,
        "poselens": poselens.__version__,
        "stream": made.stream.model_dump(mode="json"),
        "recipe": request.recipe,
        "data": {
            "name": folder.info.name,
            "protocol": request.protocol,
            "fingerprint": folder.fingerprint(),
            "train": len(parts["train"]),
            "val": len(parts["val"]),
            "skipped": len(outcome.progress.skipped),
            "leakage": leak_facts(made.leaks),
        },
        "selection": _selection(made.section, outcome.progress, len(parts["val"])),
        "epochs": outcome.progress.epoch,
        "seed": settings.seed,
        "stopped_early": outcome.progress.epoch < settings.epochs,
        "lr": settings.base_rate,
        "trained_params": counted(network)[0],
        "params": counted(network)[1],
        "initial_weights": made.taken,
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else _processor(),
        "ranks": described(made.ranks, settings.batch_size, sync_batchnorm=settings.sync_batchnorm),
        "torch": torch.__version__,
        "environment": {**made.run_with, "ended": now(), "data_wait": mean_data_wait(request.out)},
        "complete": True,
    }


def _selection(
    section: RgbSection | SkeletonSection, progress: Progress, validation_clips: int
) -> str:
    if section.training.select == "best" and validation_clips:
        return f"best of {progress.epoch} epochs on {validation_clips} validation clips"
    data = "train" if section.training.validation == "hold-out" else "train and validation"
    return f"last of {progress.epoch} epochs, trained on {data}"


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
