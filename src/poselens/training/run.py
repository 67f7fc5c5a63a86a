"""A run: one stream trained on one data set under one protocol, in one folder.

The folder holds ``config.yaml`` (the resolved settings), ``run.json`` (what the stream is, what it
was trained on, how it was chosen), ``contrast/`` where there is one, ``weights.safetensors``,
``last.safetensors`` where another epoch was chosen, ``scores_val.npz``, ``log.jsonl``, ``log.csv``,
``skipped.jsonl``, ``states/`` and, after steps that were refused, ``nan_report.json``.
"""

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import poselens
from poselens.checkpoint import write_bytes, write_json, write_tensors
from poselens.clips.batches import memory_faults_named, share_of
from poselens.clips.device import choose_device, use_bf16
from poselens.clips.stream import RgbStream, SkeletonStream, build_network
from poselens.contrast.record import write_contrasted
from poselens.data.audit import leak_facts, refuse_leaks
from poselens.data.folder import ClipFolder
from poselens.errors import AnnotationError
from poselens.fusion.scores import write_scores
from poselens.pose.layouts import get_layout
from poselens.training.claim import CONFIG_FILE, RUN_FILE, claimed
from poselens.training.compiling import compiles, replays
from poselens.training.config import RgbSection, SkeletonSection, to_yaml
from poselens.training.contrastive import Contrast, build_contrast, contrastive
from poselens.training.initial import start_from
from poselens.training.loop import Outcome, Plan, fit
from poselens.training.objectives import Objective, cross_entropy
from poselens.training.optim import build_optimizer, learning_rate
from poselens.training.ranks import Ranks, described, joined, require_clips, restarted
from poselens.training.resuming import find_run
from poselens.training.samples import Samples
from poselens.training.shared_norm import share_statistics
from poselens.training.signals import leaving_at_once, saving_is_no_end
from poselens.training.state import Progress
from poselens.training.states import Saving
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
        leads: Whether this process speaks for all that trained together.
    """

    exit_code: int
    facts: dict[str, Any]
    leads: bool = True


def train(folder: ClipFolder, section: RgbSection | SkeletonSection, request: Request) -> Finished:
    """Train one stream and write its run folder.

    Raises:
        UsageError: ``RUN-001`` the folder holds a run, ``RUN-004`` it holds something else,
            ``RUN-008`` another process is at it, ``CFG-004`` unknown protocol.
        AnnotationError: ``DATA-023`` the data set lacks the skeletons the recipe reads,
            ``DATA-060`` train or validation share something with test.
        InputError: ``DATA-024`` more unreadable clips than ``training.max_bad``.
        CheckpointError: ``CKPT-011``, ``CKPT-021`` resumed with another recipe or data,
            ``CKPT-020`` no state can be read, ``CKPT-022`` other clips can be read.
        EnvironmentFault: ``DIST-002`` to ``DIST-007`` several ranks that cannot train together;
            ``ENV-001`` to ``ENV-003`` the folder cannot be written or has no space, ``ENV-011``,
            ``ENV-012`` no memory, ``ENV-013`` no compiler.
        NumericFault: ``NUM-001``, ``NUM-002`` numbers that are no longer finite.
        SystemExit: 143 at SIGTERM before the first step or after the last.
    """
    batch_size = section.training.batch_size
    request = replace(request, resume=request.resume or restarted())
    device = choose_device(request.device)
    with (
        saving_is_no_end(),
        joined(device, share_gpu=section.training.share_gpu) as ranks,
        _claimed_by_first(request, ranks),
        memory_faults_named(batch_size),
    ):
        require_clips(ranks, batch_size)
        return _train(folder, section, request, device, ranks)


@contextmanager
def _claimed_by_first(request: Request, ranks: Ranks) -> Iterator[None]:
    """Let rank 0 claim the folder before another one looks into it."""
    with claimed(request.out, resume=request.resume) if ranks.leads else nullcontext():
        ranks.wait()
        yield


def _train(
    folder: ClipFolder,
    section: RgbSection | SkeletonSection,
    request: Request,
    device: torch.device,
    ranks: Ranks,
) -> Finished:
    settings = section.training
    with leaving_at_once():
        stream = _describe(folder, section)
        config = {
            "recipe": request.recipe,
            "branch": stream.branch,
            "protocol": request.protocol,
            **section.model_dump(mode="json"),
        }
        layout = getattr(stream, "layout", None)
        said = {**config, "classes": len(stream.classes), "layout": layout}
        ranks.agree("settings or data", json.dumps([said, folder.fingerprint()], sort_keys=True))
        # rank 0 brings an old run up to date, and the others find it so
        with ranks.in_turn("run"):
            found = find_run(request.out, said, section, folder.fingerprint())
        if found.complete is not None:
            return Finished(0, dict(found.complete), ranks.leads)
        leaks = refuse_leaks(folder, request.protocol, allowed=request.allow_leakage).leaks
        parts = _split(folder, request.protocol, held_out=settings.validation == "hold-out")
        torch.manual_seed(settings.seed)
        network = build_network(stream)
        taken = start_from(network, section.weights)
        network.to(device)
        if settings.sync_batchnorm and ranks.size > 1:
            share_statistics(network)
        ranks.wait()
        if ranks.leads:
            # a run that goes on for more epochs is no longer a finished one
            (request.out / RUN_FILE).unlink(missing_ok=True)
            write_bytes(request.out / CONFIG_FILE, to_yaml(config))
        samples = Samples(folder, section, stream, parts, request.out, device, ranks)
        contrast = _contrast(section, samples, folder, stream, device)
    made = _Made(said, folder.fingerprint(), found.changed, ranks)
    outcome = _fit(network, contrast, section, samples, device, request, made)
    if outcome.exit_code:
        return Finished(outcome.exit_code, {}, ranks.leads)
    with leaving_at_once():
        _write_result(request.out, network, outcome, section, samples, device, ranks)
    facts = {
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
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "initial_weights": taken,
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else _processor(),
        "ranks": described(ranks, settings.batch_size, sync_batchnorm=settings.sync_batchnorm),
        "torch": torch.__version__,
        "complete": True,
    }
    if ranks.leads:
        write_json(request.out / RUN_FILE, facts)
    return Finished(0, facts, ranks.leads)


@dataclass(frozen=True)
class _Made:
    """What a run is made with: settings, digest of the data, what changed since it began, ranks."""

    config: dict[str, Any]
    data: str
    changed: tuple[str, ...]
    ranks: Ranks


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


def _objective(section: RgbSection | SkeletonSection, contrast: Contrast | None) -> Objective:
    smoothing = section.training.label_smoothing
    if contrast is None or isinstance(section, RgbSection) or section.contrast is None:
        return cross_entropy(label_smoothing=smoothing)
    return contrastive(contrast, weight=section.contrast.weight, label_smoothing=smoothing)


def _fit(
    network: nn.Module,
    contrast: Contrast | None,
    section: RgbSection | SkeletonSection,
    samples: Samples,
    device: torch.device,
    request: Request,
    made: _Made,
) -> Outcome:
    settings = section.training
    optimizer = build_optimizer(
        network,
        lr=settings.lr,
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
            lr=settings.lr,
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
            seen = contrast.tally.read()
            contrast.tally.reset()
            if made.ranks.leads:
                write_contrasted(request.out, epoch, seen)

    compiled = compiles(section, device, steps=settings.epochs * len(samples.batches))
    own = len(range(settings.batch_size)[share_of(settings.batch_size, made.ranks.share)])
    plan = Plan(
        folder=request.out,
        title="rgb" if isinstance(section, RgbSection) else section.input.stream,
        epochs=settings.epochs,
        steps=len(samples.batches),
        rate=rate,
        amp=amp,
        # gloo goes through the host, which no recording does
        replay=replays(section, device) and made.ranks.backend != "gloo",
        compiled=own if compiled else None,
        clip_norm=settings.clip_norm,
        ema=settings.ema,
        select=settings.select,
        fingerprint=made.data,
        settings=made.config,
        saving=Saving(settings.keep_states, settings.save_every, settings.save_minutes),
        max_nan=settings.max_nan,
        notes=made.changed,
    )
    return fit(
        network,
        _objective(section, contrast),
        optimizer,
        batches=lambda progress: samples.train_batches(progress, device),
        validate=validate if samples.validation_clips else None,
        observe=observe,
        plan=plan,
        resume=request.resume,
        beside=contrast,
        ranks=made.ranks,
    )


def _write_result(
    out: Path,
    network: nn.Module,
    outcome: Outcome,
    section: RgbSection | SkeletonSection,
    samples: Samples,
    device: torch.device,
    ranks: Ranks,
) -> None:
    """Write weights and validation scores, and the last epoch's weights where another was chosen.

    Only weights that a saved state holds come here, and those are finite.
    """
    settings, progress = section.training, outcome.progress
    if (
        settings.select == "best"
        and samples.validation_clips
        and (progress.best_epoch != progress.epoch)
        and ranks.leads
    ):
        write_tensors(out / "last.safetensors", outcome.last)
    network.load_state_dict(outcome.weights)
    if samples.validation_clips:
        amp = use_bf16(settings.amp, device)
        scores = samples.validate(network, device, progress, lambda: False, amp=amp)
        if ranks.leads:
            write_scores(out / "scores_val.npz", scores)
    samples.write_skipped(progress)
    if not ranks.leads:
        return
    write_tensors(out / "weights.safetensors", network.state_dict())


def _selection(
    section: RgbSection | SkeletonSection, progress: Progress, validation_clips: int
) -> str:
    if section.training.select == "best" and validation_clips:
        return f"best of {progress.epoch} epochs on {validation_clips} validation clips"
    data = "train" if section.training.validation == "hold-out" else "train and validation"
    return f"last of {progress.epoch} epochs, trained on {data}"


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
