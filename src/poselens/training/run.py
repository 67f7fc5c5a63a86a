"""A run: one stream trained on one data set under one protocol, in one folder.

The folder holds ``config.yaml`` (the resolved settings), ``run.json`` (what the stream is, what it
was trained on, how it was chosen), ``weights.safetensors``, ``last.safetensors`` where another
epoch was chosen, ``scores_val.npz``, ``log.jsonl``, ``log.csv``, ``skipped.jsonl`` and
``state.safetensors``.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import poselens
from poselens.checkpoint import write_bytes, write_json, write_tensors
from poselens.clips.assemble import (
    EpochBatches,
    RgbClips,
    SkeletonClips,
    make_loader,
    to_device,
)
from poselens.clips.cache import FrameCache
from poselens.clips.device import choose_device, use_bf16
from poselens.clips.regions import cached_regions
from poselens.clips.stream import RgbStream, SkeletonStream, build_network
from poselens.data.folder import ClipFolder
from poselens.errors import AnnotationError, CheckpointError, InputError, UsageError
from poselens.evaluation.collect import collect_scores
from poselens.fusion.scores import write_scores
from poselens.rgb.network import RgbNetwork
from poselens.training.config import RgbSection, SkeletonSection, to_yaml
from poselens.training.initial import load_initial_weights
from poselens.training.loop import Outcome, Plan, fit
from poselens.training.objectives import Batch, cross_entropy
from poselens.training.optim import build_optimizer, learning_rate
from poselens.training.state import Progress
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
    """

    root: Path
    protocol: str
    recipe: str
    out: Path
    device: str
    resume: bool


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
        UsageError: ``RUN-001`` the folder holds another run, ``CFG-004`` unknown protocol.
        AnnotationError: ``DATA-023`` the data set lacks the skeletons the recipe reads.
        InputError: ``DATA-024`` more unreadable clips than ``training.max_bad``.
        CheckpointError: ``CKPT-011`` resumed with another recipe or data.
    """
    settings = section.training
    device = choose_device(request.device)
    stream = _describe(folder, section)
    parts = _split(folder, request.protocol, held_out=settings.validation == "hold-out")
    names = {"recipe": request.recipe, "branch": stream.branch, "protocol": request.protocol}
    config = {**names, **section.model_dump(mode="json")}
    digest = _digest(config, folder)
    _claim(request)
    finished = _already_finished(request, digest)
    if finished is not None:
        return finished
    torch.manual_seed(settings.seed)
    network = build_network(stream)
    taken = None
    if isinstance(section, RgbSection) and section.weights and isinstance(network, RgbNetwork):
        taken = load_initial_weights(network, section.weights)
    network.to(device)
    write_bytes(request.out / "config.yaml", to_yaml(config))
    samples = _Samples(folder, section, stream, parts)
    outcome = _fit(network, section, samples, device, request, digest)
    _require_readable(samples, outcome.progress, settings.max_bad)
    if outcome.exit_code:
        return Finished(outcome.exit_code, {})
    facts = {
        "format": RUN_FORMAT,
        "poselens": poselens.__version__,
        "stream": stream.model_dump(mode="json"),
        "recipe": request.recipe,
        "digest": digest,
        "data": {
            "name": folder.info.name,
            "protocol": request.protocol,
            "fingerprint": folder.fingerprint(),
            "train": len(parts["train"]),
            "val": len(parts["val"]),
            "skipped": len(outcome.progress.skipped),
        },
        "selection": _selection(section, outcome.progress, len(parts["val"])),
        "epochs": outcome.progress.epoch,
        "seed": settings.seed,
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "initial_weights": taken,
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else _processor(),
        "torch": torch.__version__,
        "complete": True,
    }
    _write_result(request.out, network, outcome, samples, device, use_bf16(settings.amp, device))
    write_json(request.out / "run.json", facts)
    return Finished(0, facts)


def _claim(request: Request) -> None:
    """Make the folder, prove that it can be written, and refuse one that is in use."""
    out = request.out
    used = out.exists() and any(out.iterdir()) if out.is_dir() else out.exists()
    if used and not request.resume:
        raise UsageError(
            "RUN-001",
            "the output exists already",
            file=out,
            mend="add --resume to go on with it, or choose another --out",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(
            "RUN-002", f"cannot make the folder: {fault.strerror}", file=out
        ) from fault
    write_bytes(out / ".writable", b"")
    os.unlink(out / ".writable")


def _already_finished(request: Request, digest: str) -> Finished | None:
    """Return what a finished run said of itself, if it is the run that is asked for."""
    try:
        facts = json.loads((request.out / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if not facts.get("complete"):
        return None
    if facts.get("digest", digest) != digest:
        raise CheckpointError(
            "CKPT-011",
            "the recipe, the data or the protocol changed since this run was finished",
            file=request.out,
            mend="undo the change, or start anew with another --out",
        )
    return Finished(0, facts)


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


class _Samples:
    """The training and validation samples of a run, and how to load them."""

    def __init__(
        self,
        folder: ClipFolder,
        section: RgbSection | SkeletonSection,
        stream: RgbStream | SkeletonStream,
        parts: dict[str, NDArray[np.int64]],
    ) -> None:
        self.stream = stream
        self._settings = section.training
        self._workers = self._settings.workers
        if self._workers is None:
            self._workers = min(len(os.sched_getaffinity(0)), 16)
        self._parts = parts
        self.clips: RgbClips | SkeletonClips
        self._still: RgbClips | SkeletonClips
        seed = self._settings.seed
        if isinstance(section, RgbSection):
            cache: FrameCache | None = None
            if self._settings.cache == "disk":
                wanted = np.concatenate([parts["train"], parts["val"]])
                cache = cached_regions(folder, wanted, section.input, workers=self._workers)
                self._workers = min(self._workers, 2)
            self.clips = RgbClips(
                folder, settings=section.input, augment=section.augment, seed=seed, cache=cache
            )
            self._still = RgbClips(
                folder, settings=section.input, augment=None, seed=seed, cache=cache
            )
        else:
            self.clips = SkeletonClips(
                folder, settings=section.input, augment=section.augment, seed=seed
            )
            self._still = SkeletonClips(folder, settings=section.input, augment=None, seed=seed)
        self.batches = EpochBatches(
            parts["train"],
            batch_size=self._settings.batch_size,
            seed=seed,
            repeats=self._settings.repeats,
        )
        self._train_loader = make_loader(self.clips, self.batches, workers=self._workers)
        self._val_loader = make_loader(
            self._still,
            EpochBatches(parts["val"], batch_size=self._settings.batch_size, shuffle=False),
            workers=min(self._workers, 2),
        )
        self.total = sum(len(part) for part in parts.values())

    @property
    def has_validation(self) -> bool:
        return len(self._parts["val"]) > 0

    def train_batches(self, progress: Progress, device: torch.device) -> Iterable[Batch]:
        """Yield what remains of an epoch; unreadable clips are noted at the position."""
        self.batches.epoch, self.batches.first_step = progress.epoch, progress.step
        for batch in self._train_loader:
            for skipped in batch["skipped"]:
                progress.skipped[skipped.id] = skipped.reason
            if batch["id"]:
                yield to_device(batch, device)

    def validate(self, network: nn.Module, device: torch.device, *, amp: bool) -> Scores:
        """Score the validation slice."""
        return collect_scores(
            network,
            (to_device(batch, device) for batch in self._val_loader if batch["id"]),
            classes=self.stream.classes,
            stream=self.stream.name,
            device=device,
            amp=amp,
        )


def _fit(
    network: nn.Module,
    section: RgbSection | SkeletonSection,
    samples: _Samples,
    device: torch.device,
    request: Request,
    digest: str,
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

    plan = Plan(
        folder=request.out,
        title=samples.stream.name,
        epochs=settings.epochs,
        steps=len(samples.batches),
        rate=rate,
        amp=amp,
        clip_norm=settings.clip_norm,
        select=settings.select,
        fingerprint=digest,
    )
    return fit(
        network,
        cross_entropy(label_smoothing=settings.label_smoothing),
        optimizer,
        batches=lambda progress: samples.train_batches(progress, device),
        validate=(lambda: samples.validate(network, device, amp=amp))
        if samples.has_validation
        else None,
        plan=plan,
        resume=request.resume,
    )


def _require_readable(samples: _Samples, progress: Progress, max_bad: float) -> None:
    if len(progress.skipped) > max_bad * samples.total:
        shown = "; ".join(f"{clip}: {text}" for clip, text in list(progress.skipped.items())[:5])
        raise InputError(
            "DATA-024",
            f"{len(progress.skipped)} of {samples.total} clips cannot be read ({shown})",
            mend="mend or remove them, or raise training.max_bad",
        )


def _write_result(
    out: Path,
    network: nn.Module,
    outcome: Outcome,
    samples: _Samples,
    device: torch.device,
    amp: bool,
) -> None:
    last: dict[str, Tensor] = network.state_dict()
    if outcome.weights is not last and outcome.progress.best_epoch != outcome.progress.epoch:
        write_tensors(out / "last.safetensors", last)
    network.load_state_dict(outcome.weights)
    if samples.has_validation:
        write_scores(out / "scores_val.npz", samples.validate(network, device, amp=amp))
    lines = (
        json.dumps({"id": clip, "reason": reason})
        for clip, reason in outcome.progress.skipped.items()
    )
    write_bytes(out / "skipped.jsonl", "".join(line + "\n" for line in lines).encode())
    write_tensors(out / "weights.safetensors", network.state_dict())


def _selection(
    section: RgbSection | SkeletonSection, progress: Progress, validation_clips: int
) -> str:
    if section.training.select == "best" and validation_clips:
        return f"best of {progress.epoch} epochs on {validation_clips} validation clips"
    data = "train" if section.training.validation == "hold-out" else "train and validation"
    return f"last of {progress.epoch} epochs, trained on {data}"


def _digest(config: dict[str, Any], folder: ClipFolder) -> str:
    """Return what a resumed run must agree on; the number of workers is free to change."""
    settings = {k: v for k, v in config["training"].items() if k not in ("workers", "max_bad")}
    content = {**config, "training": settings, "data": folder.fingerprint()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
