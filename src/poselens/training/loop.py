"""The one training loop of both branches: straight, resumable, stopped between two steps."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from poselens.evaluation.metrics import evaluate
from poselens.training.compiling import CompiledNetwork
from poselens.training.freeze import hold
from poselens.training.gradients import ONE_PASS, Descent, Gradients, Pace
from poselens.training.journal import Journal, Teller
from poselens.training.objectives import Batch, Objective
from poselens.training.optim import set_learning_rate
from poselens.training.signals import StopRequest
from poselens.training.state import Progress, load_state, save_state
from poselens.training.stepping import EagerStep, ReplayedStep, TakeStep
from poselens.training.tensorboard import Board
from poselens.types import Scores

STATE_FILE = "state.safetensors"
SUMS = ("clips", "loss", "correct", "seconds", "waited")
"""What is summed over an epoch; the parts of a loss that has several are summed beside them."""
SKIPPED = "skipped_steps"
"""Counted beside the sums: steps that were not taken because fp16 overflowed."""


@dataclass(frozen=True)
class Plan:
    """What the loop has to know beside network, data and optimiser.

    Attributes:
        folder: The run's folder; state and logs are written there.
        title: Name shown with the progress.
        epochs: Passes over the data.
        steps: Steps in one epoch.
        rate: Learning rate as a function of the epochs done, fractions included.
        amp: Whether to run under bfloat16 autocast.
        replay: Whether to record a step and replay it.
        compiled: Clips per step for which to compile the network, None to run it as written.
        clip_norm: Largest gradient norm, or None.
        ema: Decay of the moving average of weights that is judged and kept; 0 for none.
        select: Keep the weights of the last epoch, or of the best one on validation.
        fingerprint: Digest of recipe and data; a state of another one is refused.
        descent: How the gradient of a step is computed.
        patience: Epochs without a better validation that end the run; None for no such end.
        frozen: Modules of the network that stay as they are, statistics included.
        notes: What to tell at the start.
        board: Where rows go beside the log.
    """

    folder: Path
    title: str
    epochs: int
    steps: int
    rate: Callable[[float], float]
    amp: bool
    replay: bool
    compiled: int | None
    clip_norm: float | None
    ema: float
    select: Literal["last", "best"]
    fingerprint: str
    descent: Descent = ONE_PASS
    patience: int | None = None
    frozen: tuple[nn.Module, ...] = ()
    notes: tuple[str, ...] = ()
    board: Board | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """How training ended.

    Attributes:
        progress: The position reached.
        weights: What to keep: of the last or the best epoch.
        last: Weights of the last epoch, averaged where an average is kept.
        exit_code: 0, or 130/143 when a signal stopped the run; the state is saved either way.
    """

    progress: Progress
    weights: dict[str, Tensor]
    last: dict[str, Tensor]
    exit_code: int


def fit(
    network: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    *,
    batches: Callable[[Progress], Iterable[Batch]],
    validate: Callable[[nn.Module, Progress, Callable[[], bool]], Scores] | None,
    observe: Callable[[int], None],
    plan: Plan,
    resume: bool,
    beside: nn.Module | None = None,
) -> Outcome:
    """Train ``network`` in place, save after every epoch, and stop cleanly on a signal.

    An epoch is done with its validation. One that a signal stops during validation is saved as
    trained, and a resumed run validates it anew.

    Args:
        network: On its device already.
        objective: Batch to losses.
        optimizer: Over the parameters of the network, and of what is trained beside it.
        batches: Yields what remains of the epoch at a position; may note skipped clips there.
        validate: Scores the validation slice with a network, as far as it comes before its last
            argument says to stop; None where there is none. May note skipped clips at the
            position.
        observe: Called with the number of epochs done, before the state is saved.
        plan: Everything else.
        resume: Go on from the folder's state, if there is one.
        beside: What the objective trains or remembers, such as a contrast; saved with the state.
    """
    state_file = plan.folder / STATE_FILE
    progress, best = Progress(), dict[str, Tensor]()
    average = moving_average(network, plan.ema) if plan.ema else None
    judged = network if average is None else average.module
    modules = {"network": network}
    modules |= {} if average is None else {"average": average}
    modules |= {} if beside is None else {"beside": beside}
    pace = Pace(plan.descent.size) if plan.descent.halves or plan.descent.scales else None
    modules |= {} if pace is None else {"pace": pace}
    if resume and state_file.exists():
        progress, best = load_state(
            state_file, modules=modules, optimizer=optimizer, fingerprint=plan.fingerprint
        )
    stepped = network if plan.compiled is None else CompiledNetwork(network, clips=plan.compiled)
    teller = Teller(
        plan.title,
        total=plan.epochs * plan.steps,
        done=progress.epoch * plan.steps + progress.step,
    )
    gradients = Gradients(
        *(stepped, objective, optimizer),
        bf16=plan.amp,
        descent=plan.descent,
        pace=pace,
        beside=beside,
        told=teller.note,
    )
    step = EagerStep(
        *(stepped, objective, optimizer),
        amp=plan.amp,
        clip_norm=plan.clip_norm,
        gradients=gradients,
    )
    take = ReplayedStep(step) if plan.replay else step
    journal = Journal(plan.folder, epochs_done=progress.epoch)

    def save() -> None:
        save_state(
            state_file,
            modules=modules,
            optimizer=optimizer,
            progress=progress,
            best=best,
            fingerprint=plan.fingerprint,
        )

    with StopRequest() as stop, teller.shown():
        for note in plan.notes:
            teller.note(note)
        while progress.epoch < plan.epochs and not out_of_patience(progress, plan.patience):
            _epoch(take, network, average, optimizer, batches, progress, plan, teller, stop)
            scores = None
            if validate is not None and not stop.asked():
                scores = validate(judged, progress, stop.asked)
            if stop.asked():
                save()
                break
            told = _record(scores, judged, progress, best, plan, journal)
            if plan.board is not None:
                plan.board.follow(journal.read(), told=teller.note)
            observe(progress.epoch)
            teller.epoch(progress.epoch, plan.epochs, told)
            save()
    last = judged.state_dict()
    kept = best if plan.select == "best" and best else last
    return Outcome(progress, kept, last, stop.exit_code)


def out_of_patience(progress: Progress, patience: int | None) -> bool:
    """Return whether the best validation lies so many epochs back; one without any never was.

    A function of the position, so that a resumed run ends where an undisturbed one does.
    """
    return patience is not None and progress.epoch - progress.best_epoch >= patience


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a network that follows it: weights and running statistics."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def _record(
    scores: Scores | None,
    network: nn.Module,
    progress: Progress,
    best: dict[str, Tensor],
    plan: Plan,
    journal: Journal,
) -> dict[str, str]:
    """Close an epoch: log it, move on, and keep its weights in ``best`` if they are."""
    # the rate of the last step; an optimiser resumed after it has not heard of it
    row = _summary(progress, plan.rate(progress.epoch + 1 - 1 / plan.steps))
    told = {
        "loss": f"{row['loss']:.3f}",
        "top1": f"{row['top1']:.3f}",
        "clips/s": f"{row['clips_per_second']:.0f}",
        "wait": f"{row['data_wait']:.0%}",
    }
    progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
    journal.write({"epoch": progress.epoch, "split": "train", **row})
    if scores is not None:
        top1 = _judge(scores, progress.epoch, journal)
        told["val"] = f"{top1:.3f}"
        if top1 > progress.best_top1:
            progress.best_top1, progress.best_epoch = top1, progress.epoch
            if plan.select == "best":
                best |= {k: v.detach().clone() for k, v in network.state_dict().items()}
    return told


def _epoch(
    take: TakeStep,
    network: nn.Module,
    average: AveragedModel | None,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[Progress], Iterable[Batch]],
    progress: Progress,
    plan: Plan,
    teller: Teller,
    stop: StopRequest,
) -> None:
    """Do the rest of one epoch, or what a signal leaves of it."""
    network.train()
    hold(plan.frozen)
    sums = progress.sums or dict.fromkeys(SUMS, 0.0)
    progress.sums = sums
    remaining = iter(batches(progress))
    began = time.perf_counter()
    batch = next(remaining, None)
    waited = time.perf_counter() - began
    while batch is not None:
        sums["waited"] += waited
        set_learning_rate(optimizer, plan.rate(progress.epoch + progress.step / plan.steps))
        losses, label = take(batch), batch["label"]
        # the next batch is made ready while the device is at this one
        asked = time.perf_counter()
        batch = None if stop.received else next(remaining, None)
        waited = time.perf_counter() - asked
        take.settle()
        if average is not None:
            average.update_parameters(network)
        if not losses.taken:
            sums[SKIPPED] = sums.get(SKIPPED, 0) + 1
        sums["clips"] += len(label)
        sums["loss"] += losses.total.item() * len(label)
        if len(losses.parts) > 1:
            for name, part in losses.parts.items():
                sums[name] = sums.get(name, 0.0) + part.item() * len(label)
        sums["correct"] += int((losses.logits.argmax(1) == label).sum())
        sums["seconds"] += time.perf_counter() - began
        began = time.perf_counter()
        progress.step += 1
        teller.step(f"epoch {progress.epoch + 1}  loss {sums['loss'] / sums['clips']:.3f}")


def _summary(progress: Progress, lr: float) -> dict[str, float]:
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


def _judge(scores: Scores, epoch: int, journal: Journal) -> float:
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
