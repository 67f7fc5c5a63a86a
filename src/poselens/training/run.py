"""A run: one stream trained on one data set under one protocol, in one folder.

The folder holds ``config.yaml`` (the resolved settings), ``run.json`` (what the stream is, what it
was trained on, how it was chosen), ``contrast/`` where there is one, ``weights.safetensors``,
``last.safetensors`` where another epoch was chosen, ``scores_val.npz``, ``log.jsonl``, ``log.csv``,
``skipped.jsonl``, ``states/`` and, after steps that were refused, ``nan_report.json``.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from poselens.checkpoint import write_bytes, write_json
from poselens.clips.batches import share_of
from poselens.clips.device import choose_device, use_bf16
from poselens.clips.stream import build_network
from poselens.contrast.record import write_contrasted
from poselens.data.audit import refuse_leaks
from poselens.data.folder import ClipFolder
from poselens.training.claim import CONFIG_FILE, RUN_FILE, claimed
from poselens.training.compiling import compiles, replays
from poselens.training.config import RgbSection, SkeletonSection, to_yaml
from poselens.training.deterministic import deterministic
from poselens.training.explain import environment, explain, told_at_start
from poselens.training.freeze import freeze
from poselens.training.gradients import descent_of
from poselens.training.initial import start_from
from poselens.training.loop import fit
from poselens.training.memory import memory_faults_told
from poselens.training.optim import build_optimizer, learning_rate
from poselens.training.plan import Outcome, Plan
from poselens.training.rank_rules import require_apart, require_clips
from poselens.training.ranks import (
    Ranks,
    joined,
    restarted,
)
from poselens.training.result import Made, facts_of, write_result
from poselens.training.resuming import find_run
from poselens.training.samples import Samples
from poselens.training.shared_norm import share_statistics
from poselens.training.signals import leaving_at_once, saving_is_no_end
from poselens.training.state import Progress
from poselens.training.states import Saving
from poselens.training.tensorboard import Board, require_tensorboard
from poselens.training.wiring import contrast_of, describe, objective_of, split
from poselens.types import Scores


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
            ``RUN-008`` another process is at it, ``CFG-004`` unknown protocol, ``CFG-050`` no
            TensorBoard, ``CFG-051`` more frozen stages than there are, ``TRAIN-001`` an operation
            that is not deterministic.
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
    settings = section.training
    request = replace(request, resume=request.resume or restarted())
    if settings.tensorboard:
        require_tensorboard()
    device = choose_device(request.device)
    with (
        saving_is_no_end(),
        joined(device, share_gpu=settings.share_gpu) as ranks,
        _claimed_by_first(request, ranks),
        memory_faults_told(section),
        deterministic(wanted=settings.deterministic),
    ):
        require_clips(ranks, settings.batch_size)
        together = settings.sync_batchnorm or getattr(section, "contrast", None) is not None
        require_apart(ranks, halves=settings.micro_batch == "auto", together=together)
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
    with leaving_at_once():
        made = _prepared(folder, section, request, device, ranks)
    if not isinstance(made, Made):
        return Finished(0, made, ranks.leads)
    try:
        outcome = _fit(made)
    except BaseException:
        made.samples.close()
        raise
    if outcome.exit_code:
        return Finished(outcome.exit_code, {}, ranks.leads)
    with leaving_at_once():
        write_result(made, outcome)
    facts = facts_of(made, outcome)
    if ranks.leads:
        explain(request.out, request.root, made.config, facts)
        write_json(request.out / RUN_FILE, facts)
    return Finished(0, facts, ranks.leads)


def _prepared(
    folder: ClipFolder,
    section: RgbSection | SkeletonSection,
    request: Request,
    device: torch.device,
    ranks: Ranks,
) -> Made | dict[str, Any]:
    """Return all that a run is made with, or what a complete one says of itself."""
    settings, stream = section.training, describe(folder, section)
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
        return dict(found.complete)
    leaks = refuse_leaks(folder, request.protocol, allowed=request.allow_leakage).leaks
    parts = split(folder, request.protocol, held_out=settings.validation == "hold-out")
    torch.manual_seed(settings.seed)
    network = build_network(stream)
    taken = start_from(network, section.weights)
    network.to(device)
    if settings.sync_batchnorm and ranks.size > 1:
        share_statistics(network)
    frozen = freeze(network, section)
    ranks.wait()
    run_with = environment(device)
    if ranks.leads:
        _begin(request, config, run_with)
    samples = Samples(folder, section, stream, parts, request.out, device, ranks)
    contrast = contrast_of(section, samples, folder, stream, device)
    return Made(
        *(folder, section, request, device, ranks, stream, config, said, found.changed),
        *(leaks, parts, network, taken, frozen, run_with, samples, contrast),
    )


def _begin(request: Request, config: dict[str, Any], run_with: dict[str, Any]) -> None:
    """Write what a run is, before it is anything."""
    # a run that goes on for more epochs is no longer a finished one
    (request.out / RUN_FILE).unlink(missing_ok=True)
    write_bytes(request.out / CONFIG_FILE, to_yaml(config))
    explain(request.out, request.root, config, {"environment": run_with})


def _fit(made: Made) -> Outcome:
    section, samples, device, contrast = made.section, made.samples, made.device, made.contrast
    settings = section.training
    optimizer = build_optimizer(
        made.network,
        lr=settings.base_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        decay_all=settings.decay_all,
        head_lr_factor=settings.head_lr_factor,
        beside=contrast,
    )
    amp = use_bf16(settings.amp, device)

    def validate(judged: nn.Module, progress: Progress, stopped: Callable[[], bool]) -> Scores:
        return samples.validate(judged, device, progress, stopped, amp=amp)

    def observe(epoch: int) -> None:
        if contrast is not None:
            seen = contrast.tally.read()
            contrast.tally.reset()
            if made.ranks.leads:
                write_contrasted(made.request.out, epoch, seen)

    return fit(
        made.network,
        objective_of(section, contrast, samples.balance(device)),
        optimizer,
        batches=lambda progress: samples.train_batches(progress, device),
        validate=validate if samples.validation_clips else None,
        observe=observe,
        plan=_plan(made),
        resume=made.request.resume,
        beside=contrast,
        ranks=made.ranks,
    )


def _plan(made: Made) -> Plan:
    section, samples, device = made.section, made.samples, made.device
    settings, out = section.training, made.request.out

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

    compiled = compiles(section, device, steps=settings.epochs * len(samples.batches))
    own = len(range(settings.batch_size)[share_of(settings.batch_size, made.ranks.share)])
    return Plan(
        folder=out,
        title="rgb" if isinstance(section, RgbSection) else section.input.stream,
        epochs=settings.epochs,
        steps=len(samples.batches),
        rate=rate,
        amp=use_bf16(settings.amp, device),
        # gloo goes through the host, which no recording does
        replay=replays(section, device) and made.ranks.backend != "gloo",
        compiled=-(-own // settings.accumulate) if compiled else None,
        clip_norm=settings.clip_norm,
        ema=settings.ema,
        select=settings.select,
        fingerprint=made.folder.fingerprint(),
        settings=made.said,
        saving=Saving(settings.keep_states, settings.save_every, settings.save_minutes),
        max_nan=settings.max_nan,
        descent=descent_of(settings, made.contrast),
        patience=settings.patience,
        frozen=made.frozen,
        notes=(*made.changed, *told_at_start(made.network, settings)),
        board=Board(out) if settings.tensorboard and made.ranks.leads else None,
    )
