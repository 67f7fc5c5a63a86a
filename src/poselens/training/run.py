"""A run: one stream trained on one data set under one protocol, in one folder.

The folder holds ``config.yaml`` (the resolved settings), ``run.json`` (what the stream is, what it
was trained on, how it was chosen), ``contrast/`` where there is one, ``weights.safetensors``,
``last.safetensors`` where another epoch was chosen, ``scores_val.npz``, ``log.jsonl``, ``log.csv``,
``skipped.jsonl`` and ``state.safetensors``.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import poselens
from poselens.checkpoint import read_json, write_bytes, write_json, write_tensors
from poselens.clips.device import choose_device, use_bf16
from poselens.clips.stream import RgbStream, SkeletonStream, build_network
from poselens.contrast.record import write_contrasted
from poselens.data.audit import leak_facts, refuse_leaks
from poselens.data.folder import ClipFolder
from poselens.errors import AnnotationError, CheckpointError
from poselens.fusion.scores import write_scores
from poselens.pose.layouts import get_layout
from poselens.training.claim import CONFIG_FILE, RUN_FILE, claimed
from poselens.training.compiling import compiles, replays
from poselens.training.config import (
    RgbSection,
    SkeletonSection,
    differences,
    identity,
    to_yaml,
)
from poselens.training.contrastive import Contrast, build_contrast, contrastive
from poselens.training.explain import environment, explain, mean_data_wait, now, told_at_start
from poselens.training.freeze import counted, freeze
from poselens.training.gradients import descent_of
from poselens.training.initial import start_from
from poselens.training.loop import STATE_FILE, Outcome, Plan, fit
from poselens.training.memory import memory_faults_told
from poselens.training.objectives import Balance, Objective, cross_entropy
from poselens.training.optim import build_optimizer, learning_rate
from poselens.training.samples import Samples
from poselens.training.state import Progress, saved_fingerprint
from poselens.training.tensorboard import Board, require_tensorboard
from poselens.types import Scores

RUN_FORMAT = 1


@dataclass(frozen=True)
class Request:
    """What to train, on what, where.

    Attributes:
        root: Data set folder as the user gave it.
        protocol: Name of the split.
        recipe: Name of the recipe the section came from.
        out: Folder of the run.
        device: ``cpu``, ``cuda`` or ``auto``.
        resume: Go on with a run that was stopped.
        allow_leakage: Train although train or validation share something with test.
    """

    root: Path
    protocol: str
    recipe: str
    out: Path
    device: str
    resume: bool
    allow_leakage: bool = False


@dataclass(frozen=True, eq=False)
class Finished:
    """What came of a run.

    Attributes:
        exit_code: 0, or 130/143 after a signal; the state is saved.
        facts: The content of ``run.json``.
    """

    exit_code: int
    facts: dict[str, Any]


def train(folder: ClipFolder, section: RgbSection | SkeletonSection, request: Request) -> Finished:
    """Train one stream and write its run folder.

    Raises:
        UsageError: ``RUN-001`` the folder holds a run, ``RUN-004`` it holds something else,
            ``RUN-008`` another process is at it, ``CFG-004`` unknown protocol, ``CFG-050`` no
            TensorBoard, ``CFG-051`` more frozen stages than there are.
        AnnotationError: ``DATA-023`` the data set lacks the skeletons the recipe reads,
            ``DATA-060`` train or validation share something with test.
        InputError: ``DATA-024`` more unreadable clips than ``training.max_bad``.
        CheckpointError: ``CKPT-011`` resumed with another recipe or data.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` the folder cannot be written, ``ENV-011``,
            ``ENV-012`` no memory, ``ENV-013`` no compiler.
        NumericFault: ``NUM-001``, ``NUM-002`` numbers that are no longer finite.
    """
    if section.training.tensorboard:
        require_tensorboard()
    with claimed(request.out, resume=request.resume), memory_faults_told(section):
        return _train(folder, section, request)


def _train(folder: ClipFolder, section: RgbSection | SkeletonSection, request: Request) -> Finished:
    settings = section.training
    stream = _describe(folder, section)
    config = {
        "recipe": request.recipe,
        "branch": stream.branch,
        "protocol": request.protocol,
        **section.model_dump(mode="json"),
    }
    digest = _digest(config, folder)
    _require_same(request.out, config, digest)
    finished = _already_finished(request.out)
    if finished is not None:
        return finished
    leaks = refuse_leaks(folder, request.protocol, allowed=request.allow_leakage).leaks
    device = choose_device(request.device)
    parts = _split(folder, request.protocol, held_out=settings.validation == "hold-out")
    torch.manual_seed(settings.seed)
    network = build_network(stream)
    taken = start_from(network, section.weights)
    network.to(device)
    frozen = freeze(network, section)
    write_bytes(request.out / CONFIG_FILE, to_yaml(config))
    made = environment(device)
    explain(request.out, request.root, config, {"environment": made})
    samples = Samples(folder, section, stream, parts, request.out, device)
    contrast = _contrast(section, samples, folder, stream, device)
    try:
        outcome = _fit(network, contrast, section, samples, device, request, digest, frozen)
    except BaseException:
        samples.close()
        raise
    if outcome.exit_code:
        return Finished(outcome.exit_code, {})
    _write_result(request.out, network, outcome, section, samples, device)
    facts: dict[str, Any] = {
        "format": RUN_FORMAT,
        "poselens": poselens.__version__,
        "stream": stream.model_dump(mode="json"),
        "recipe": request.recipe,
        "data": {
            "name": folder.info.name,
            "protocol": request.protocol,
            "fingerprint": folder.fingerprint(),
            "train": len(parts["train"]),
            "val": len(parts["val"]),
            "skipped": len(outcome.progress.skipped),
            "leakage": leak_facts(leaks),
        },
        "selection": _selection(section, outcome.progress, len(parts["val"])),
        "epochs": outcome.progress.epoch,
        "seed": settings.seed,
        "stopped_early": outcome.progress.epoch < settings.epochs,
        "lr": settings.base_rate,
        "trained_params": counted(network)[0],
        "params": counted(network)[1],
        "initial_weights": taken,
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else _processor(),
        "torch": torch.__version__,
        "settings": digest,
        "environment": {**made, "ended": now(), "data_wait": mean_data_wait(request.out)},
        "complete": True,
    }
    explain(request.out, request.root, config, facts)
    write_json(request.out / RUN_FILE, facts)
    return Finished(0, facts)


def _require_same(out: Path, config: Mapping[str, Any], digest: str) -> None:
    """Refuse to go on with, or to pass off as this one, a run of other settings or data.

    Raises:
        CheckpointError: ``CKPT-011`` with the settings that differ; damage as
            ``poselens.checkpoint``.
    """
    if (out / RUN_FILE).exists():
        kept = read_json(out / RUN_FILE).get("settings", digest)
    elif (out / STATE_FILE).exists():
        kept = saved_fingerprint(out / STATE_FILE)
    else:
        return
    if kept != digest:
        differing = differences(out / CONFIG_FILE, config) or "the data or its protocol differ"
        raise CheckpointError(
            "CKPT-011",
            f"this run was made with other settings or data ({differing})",
            file=out,
            mend="undo the change, or start anew with another --out",
        )


def _already_finished(out: Path) -> Finished | None:
    if not (out / RUN_FILE).exists():
        return None
    facts = read_json(out / RUN_FILE)
    return Finished(0, facts) if facts.get("complete") else None


def _describe(
    folder: ClipFolder, section: RgbSection | SkeletonSection
) -> RgbStream | SkeletonStream:
    classes = tuple(folder.info.classes)
    if isinstance(section, RgbSection):
        return RgbStream(classes=classes, input=section.input, network=section.network)
    stored = folder.info.skeletons.get(section.input.space)
    if stored is None:
        raise AnnotationError(
            "DATA-023",
            f"the data set has no skeletons in {section.input.space}",
            file=folder.root,
            mend=f"--set input.space={next(iter(folder.info.skeletons), 'pixels')}",
        )
    section.input.pairs_of(get_layout(stored.layout))
    return SkeletonStream(
        classes=classes,
        input=section.input,
        network=section.network,
        layout=stored.layout,
        dimensions=stored.dimensions,
    )


def _split(folder: ClipFolder, protocol: str, *, held_out: bool) -> dict[str, NDArray[np.int64]]:
    if held_out:
        return {
            "train": folder.indices(protocol, "train"),
            "val": folder.indices(protocol, "val"),
        }
    return {"train": folder.indices(protocol, "train+val"), "val": np.zeros(0, np.int64)}


def _contrast(
    section: RgbSection | SkeletonSection,
    samples: Samples,
    folder: ClipFolder,
    stream: RgbStream | SkeletonStream,
    device: torch.device,
) -> Contrast | None:
    """Return what compares graphs, where the recipe wants it."""
    if isinstance(section, RgbSection) or section.contrast is None:
        return None
    assert isinstance(stream, SkeletonStream)
    clips = samples.training_clips
    return build_contrast(
        section.contrast,
        labels=folder.labels[clips],
        clips=clips,
        num_classes=len(stream.classes),
        joints=len(get_layout(stream.layout)),
        seed=section.training.seed,
    ).to(device)


def _objective(
    section: RgbSection | SkeletonSection, contrast: Contrast | None, balance: Balance
) -> Objective:
    smoothing = section.training.label_smoothing
    if contrast is None or isinstance(section, RgbSection) or section.contrast is None:
        return cross_entropy(label_smoothing=smoothing, balance=balance)
    weight = section.contrast.weight
    return contrastive(contrast, weight=weight, label_smoothing=smoothing, balance=balance)


def _fit(
    network: nn.Module,
    contrast: Contrast | None,
    section: RgbSection | SkeletonSection,
    samples: Samples,
    device: torch.device,
    request: Request,
    digest: str,
    frozen: tuple[nn.Module, ...],
) -> Outcome:
    settings = section.training
    optimizer = build_optimizer(
        network,
        lr=settings.base_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        decay_all=settings.decay_all,
        head_lr_factor=settings.head_lr_factor,
        beside=contrast,
    )
    amp = use_bf16(settings.amp, device)

    def rate(progress: float) -> float:
        return learning_rate(
            progress,
            lr=settings.base_rate,
            epochs=settings.epochs,
            schedule=settings.schedule,
            milestones=settings.milestones,
            gamma=settings.gamma,
            warmup_epochs=settings.warmup_epochs,
        )

    def validate(judged: nn.Module, progress: Progress, stopped: Callable[[], bool]) -> Scores:
        return samples.validate(judged, device, progress, stopped, amp=amp)

    def observe(epoch: int) -> None:
        if contrast is not None:
            write_contrasted(request.out, epoch, contrast.tally.read())
            contrast.tally.reset()

    compiled = compiles(section, device, steps=settings.epochs * len(samples.batches))
    plan = Plan(
        folder=request.out,
        title="rgb" if isinstance(section, RgbSection) else section.input.stream,
        epochs=settings.epochs,
        steps=len(samples.batches),
        rate=rate,
        amp=amp,
        replay=replays(section, device),
        compiled=-(-settings.batch_size // settings.accumulate) if compiled else None,
        clip_norm=settings.clip_norm,
        ema=settings.ema,
        select=settings.select,
        fingerprint=digest,
        descent=descent_of(settings, contrast),
        patience=settings.patience,
        frozen=frozen,
        notes=told_at_start(network, settings),
        board=Board(request.out) if settings.tensorboard else None,
    )
    return fit(
        network,
        _objective(section, contrast, samples.balance(device)),
        optimizer,
        batches=lambda progress: samples.train_batches(progress, device),
        validate=validate if samples.validation_clips else None,
        observe=observe,
        plan=plan,
        resume=request.resume,
        beside=contrast,
    )


def _write_result(
    out: Path,
    network: nn.Module,
    outcome: Outcome,
    section: RgbSection | SkeletonSection,
    samples: Samples,
    device: torch.device,
) -> None:
    """Write weights and validation scores, and the last epoch's weights where another was chosen.

    Only weights that a saved state holds come here, and those are finite.
    """
    settings, progress = section.training, outcome.progress
    if (
        settings.select == "best"
        and samples.validation_clips
        and (progress.best_epoch != progress.epoch)
    ):
        write_tensors(out / "last.safetensors", outcome.last)
    network.load_state_dict(outcome.weights)
    if samples.validation_clips:
        amp = use_bf16(settings.amp, device)
        scores = samples.validate(network, device, progress, lambda: False, amp=amp)
        write_scores(out / "scores_val.npz", scores)
    samples.write_skipped(progress)
    write_tensors(out / "weights.safetensors", network.state_dict())


def _selection(
    section: RgbSection | SkeletonSection, progress: Progress, validation_clips: int
) -> str:
    if section.training.select == "best" and validation_clips:
        return f"best of {progress.epoch} epochs on {validation_clips} validation clips"
    data = "train" if section.training.validation == "hold-out" else "train and validation"
    return f"last of {progress.epoch} epochs, trained on {data}"


def _digest(config: dict[str, Any], folder: ClipFolder) -> str:
    """Return what a resumed run must agree on; how it is carried out is free to change."""
    settings = identity(config["training"])
    content = {**config, "training": settings, "data": folder.fingerprint()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
