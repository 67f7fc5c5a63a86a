"""The one training loop of both branches: straight, resumable, stopped between two steps."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from poselens.errors import EnvironmentFault
from poselens.training.compiling import CompiledNetwork
from poselens.training.freeze import hold
from poselens.training.gradients import Gradients, Pace
from poselens.training.journal import Journal, Teller
from poselens.training.objectives import Batch, Objective
from poselens.training.optim import set_learning_rate
from poselens.training.plan import Outcome, Plan
from poselens.training.ranks import ALONE, Ranks
from poselens.training.refused import Refusals, RefusedStep
from poselens.training.signals import StopRequest, requeue_hint
from poselens.training.state import Progress
from poselens.training.states import States
from poselens.training.stepping import EagerStep, ReplayedStep, TakeStep
from poselens.training.sums import SKIPPED, SUMS, add, judge, summary
from poselens.types import Scores


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
    ranks: Ranks = ALONE,
) -> Outcome:
    """Train ``network`` in place, save after every epoch, and stop cleanly on a signal.

    The first state is saved before the first step, so that a disk that cannot take it is found
    then. An epoch is done with its validation. One that a signal stops during validation is saved
    as trained, and a resumed run validates it anew.

    Args:
        network: On its device already.
        objective: Batch to losses.
        optimizer: Over the parameters of the network, and of what is trained beside it.
        batches: Yields what remains of the epoch at a position; may note skipped clips there.
        validate: Scores the validation slice with a network, as far as it comes before its last
            argument says to stop; None where there is none. May note skipped clips too.
        observe: Called with the number of epochs done, before the state is saved; a record that is
            not written ends no run.
        plan: Everything else.
        resume: Go on from the folder's state, if there is one.
        beside: What the objective trains or remembers, such as a contrast; saved with the state.
        ranks: Those that train together; rank 0 writes.
    """
    parts = _parts(network, plan, beside)
    states = States(
        plan.folder,
        modules=parts.modules,
        optimizer=optimizer,
        fingerprint=plan.fingerprint,
        settings=plan.settings,
        saving=plan.saving,
    )
    start = _start(states, parts, plan, ranks, resume=resume)
    done = start.progress.epoch * plan.steps + start.progress.step
    teller = Teller(plan.title, total=plan.epochs * plan.steps, done=done, shows=ranks.leads)
    take = _steps(network, objective, optimizer, plan, parts.pace, beside, ranks, teller)
    watch = _watch(states, start, plan, teller, ranks)
    through = partial(_epoch, take, network, parts.average, optimizer, batches, plan, watch)
    with watch.stop, teller.shown():
        watch.begin(start)
        # every rank has all validation scores, so all run out of patience at the same epoch
        while watch.goes_on(plan):
            if not _whole_epoch(through, validate, observe, parts.judged, plan, watch):
                break
    last = parts.judged.state_dict()
    kept = start.best if plan.select == "best" and start.best else last
    return Outcome(start.progress, kept, last, watch.stop.exit_code)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a state is made of, by name; its average and pace, where there are; who is judged."""

    modules: dict[str, nn.Module]
    average: AveragedModel | None
    judged: nn.Module
    pace: Pace | None


def _parts(network: nn.Module, plan: Plan, beside: nn.Module | None) -> _Parts:
    average = moving_average(network, plan.ema) if plan.ema else None
    pace = Pace(plan.descent.size) if plan.descent.halves or plan.descent.scales else None
    every = {"network": network, "average": average, "beside": beside, "pace": pace}
    modules = {name: module for name, module in every.items() if module is not None}
    return _Parts(modules, average, network if average is None else average.module, pace)


@dataclass(frozen=True, eq=False)
class _Start:
    """Where a run begins or goes on."""

    progress: Progress
    best: dict[str, Tensor]
    notes: list[str]
    goes_on: bool


def _start(states: States, parts: _Parts, plan: Plan, ranks: Ranks, *, resume: bool) -> _Start:
    """Find the place to go on from, and let all ranks be there with the same numbers."""
    with ranks.in_turn("states"):
        if ranks.leads:
            states.require_space()
        # rank 0 sets aside what is damaged, and the others find what is left
        restored = states.restore(steps=plan.steps) if resume else None
    progress, best, told = restored or (Progress(), {}, [])
    ranks.agree("place to go on from", f"{progress.epoch} {progress.step}")
    for module in parts.modules.values():
        ranks.follow(module)
    return _Start(progress, best, [*plan.notes, *told], restored is not None)


def out_of_patience(progress: Progress, patience: int | None) -> bool:
    """Return whether the best validation lies so many epochs back; one without any never was.

    A function of the position, so that a resumed run ends where an undisturbed one does.
    """
    return patience is not None and progress.epoch - progress.best_epoch >= patience


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a network that follows it: weights and running statistics."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def _steps(
    network: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    pace: Pace | None,
    beside: nn.Module | None,
    ranks: Ranks,
    teller: Teller,
) -> TakeStep:
    """Return what takes the steps of a run."""
    stepped = network if plan.compiled is None else CompiledNetwork(network, clips=plan.compiled)
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
        beside=beside,
        ranks=ranks,
    )
    return ReplayedStep(step) if plan.replay else step


def _watch(states: States, start: _Start, plan: Plan, teller: Teller, ranks: Ranks) -> "_Watch":
    done, leads = start.progress.epoch, ranks.leads
    journal = Journal(plan.folder, epochs_done=done, told=teller.warn, writes=leads)
    refusals = Refusals(plan.folder, limit=plan.max_nan, told=teller.note, ranks=ranks)
    stop = StopRequest(ranks)
    return _Watch(stop, teller, journal, refusals, states, start.progress, start.best, ranks)


@dataclass(frozen=True, eq=False)
class _Watch:
    """What happens between two steps: who saves, who is told, and whether to stop."""

    stop: StopRequest
    teller: Teller
    journal: Journal
    refusals: Refusals
    states: States
    progress: Progress
    best: dict[str, Tensor]
    ranks: Ranks

    def begin(self, start: _Start) -> None:
        """Tell what there is to tell, and save where nothing is saved yet."""
        for note in start.notes:
            self.teller.note(note)
        if not start.goes_on:
            self.save()

    def goes_on(self, plan: Plan) -> bool:
        """Return whether another epoch follows."""
        more = self.progress.epoch < plan.epochs
        return more and not out_of_patience(self.progress, plan.patience)

    def save(self) -> None:
        """Save, where this rank leads, and wait for it; so does a second Ctrl-C."""
        with self.stop.held():
            if self.ranks.leads:
                self.states.save(self.progress, self.best)
            self.ranks.wait()

    def between(self) -> bool:
        """Save within an epoch where that is due; return whether to stop."""
        self.save_if_due()
        return self.stop.asked()

    def save_if_due(self) -> None:
        """Save within an epoch where that is due."""
        asked = self.stop.asked_to_save()
        # rank 0 says when it is due: it is its clock
        due = self.states.within and self.ranks.highest(
            int(self.ranks.leads and self.states.due(self.progress))
        )
        if asked or due:
            self.save()
        if asked:
            where = f"epoch {self.progress.epoch + 1}, step {self.progress.step}"
            self.teller.note(f"saved at {where}, training goes on; {requeue_hint()}")

    def observed(self, observe: Callable[[int], None]) -> None:
        """Let an epoch be observed; a record that cannot be written does not end the run."""
        try:
            observe(self.progress.epoch)
        except EnvironmentFault as fault:
            self.teller.warn(f"what was observed is lost: {fault}")


def _whole_epoch(
    train_epoch: Callable[[], None],
    validate: Callable[[nn.Module, Progress, Callable[[], bool]], Scores] | None,
    observe: Callable[[int], None],
    judged: nn.Module,
    plan: Plan,
    watch: _Watch,
) -> bool:
    """Train and validate an epoch and save; return False once a signal has come."""
    try:
        train_epoch()
    except RefusedStep:
        watch.save()
        raise
    scores = None
    if validate is not None and not watch.stop.asked():
        scores = validate(judged, watch.progress, watch.between)
    if watch.stop.asked():
        watch.save()
        return False
    told = _record(scores, judged, watch.progress, watch.best, plan, watch.journal)
    if plan.board is not None:
        plan.board.follow(watch.journal.read(), told=watch.teller.note)
    watch.observed(observe)
    watch.teller.epoch(watch.progress.epoch, plan.epochs, told)
    watch.save()
    return True


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
    row = summary(progress, plan.rate(progress.epoch + 1 - 1 / plan.steps))
    told = {
        "loss": f"{row['loss']:.3f}",
        "top1": f"{row['top1']:.3f}",
        "clips/s": f"{row['clips_per_second']:.0f}",
        "wait": f"{row['data_wait']:.0%}",
    }
    progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
    journal.write({"epoch": progress.epoch, "split": "train", **row})
    if scores is not None:
        top1 = judge(scores, progress.epoch, journal)
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
    plan: Plan,
    watch: _Watch,
) -> None:
    """Do the rest of one epoch, or what a signal leaves of it."""
    progress = watch.progress
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
        clips = sum(batch.get("counts", (len(label),)))
        # the next batch is made ready while the device is at this one
        asked = time.perf_counter()
        following = None if watch.stop.asked() else next(remaining, None)
        waited = time.perf_counter() - asked
        refused = _settled(take)
        progress.step += 1
        if refused is None:
            progress.refused = 0
            if not losses.taken:
                sums[SKIPPED] = sums.get(SKIPPED, 0) + 1
            elif average is not None:
                average.update_parameters(network)
            add(sums, losses, label, clips)
        else:
            watch.refusals.note(refused, progress)
        sums["seconds"] += time.perf_counter() - began
        began = time.perf_counter()
        mean = sums["loss"] / max(sums["clips"], 1)
        watch.teller.step(f"epoch {progress.epoch + 1}  loss {mean:.3f}")
        watch.save_if_due()
        batch = following


def _settled(take: TakeStep) -> RefusedStep | None:
    """Wait for a step; return what was wrong where it was refused."""
    try:
        take.settle()
    except RefusedStep as refused:
        return refused
    return None
