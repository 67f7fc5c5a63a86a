"""Many trainings side by side: a run for every combination of settings, shared by processes."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from poselens.errors import EnvironmentFault
from poselens.recipes.combinations import Combination, Section, combinations
from poselens.recipes.scoring import require_part
from poselens.recipes.sweep_file import Record, Sweep, kept_order, opened
from poselens.recipes.workers import Ended, Place, Task, work
from poselens.training.claim import RUN_FILE
from poselens.training.journal import read_rows
from poselens.training.signals import StopRequest

LOOK_S = 0.5
"""How often the workers' logs are looked at."""


@dataclass(frozen=True)
class Standing:
    """How far a sweep has come.

    Attributes:
        done: Runs that have ended.
        total: Runs asked for.
        ended: A line for each run that ended since the last time.
        at: What each worker is at; empty for one that is at nothing.
    """

    done: int
    total: int
    ended: tuple[str, ...]
    at: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Swept:
    """What came of a sweep.

    Attributes:
        exit_code: 0; 1 when a run failed; 130 or 143 after a signal, when all is saved.
        facts: The content of ``sweep.json``.
    """

    exit_code: int
    facts: dict[str, Any]


def run_sweep(section: Section, sweep: Sweep, *, told: Callable[[Standing], None]) -> Swept:
    """Train every combination into a folder of its own, several at a time.

    Each of ``jobs`` processes takes the next combination as soon as it has finished one. Complete
    runs are kept, stopped ones go on where ``request.resume`` is given. A run that fails is noted
    and the others go on. Axes may grow from call to call; ``sweep.json`` keeps all runs.

    Raises:
        UsageError: ``CFG-009`` unknown part, ``SWP-003`` the folder holds another sweep,
            ``SWP-004`` it holds something else, ``RUN-001`` stopped runs without
            ``request.resume``; else as :func:`poselens.recipes.combinations.combinations`.
        CheckpointError: ``CKPT-002``, ``SWP-006`` when ``sweep.json`` is damaged.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    if sweep.score is not None:
        require_part(sweep.score)
    sweep = replace(sweep, axes=kept_order(sweep))
    wanted = combinations(section, sweep.axes, sweep.settings)
    record, wanted = opened(sweep, wanted)
    record.write()
    with StopRequest() as stop:
        _train_all(wanted, sweep, record, told, stop)
    facts = record.facts()
    failed = any(record.runs[each.name]["outcome"] == "failed" for each in wanted)
    return Swept(stop.exit_code or int(failed), facts)


@dataclass(eq=False)
class _Worker:
    """A process, the two pipes to it, and what it is at."""

    process: SpawnProcess
    tasks: Connection
    life: Connection
    at: Combination | None = None


def _train_all(
    wanted: Sequence[Combination],
    sweep: Sweep,
    record: Record,
    told: Callable[[Standing], None],
    stop: StopRequest,
) -> None:
    waiting, done = deque(wanted), 0
    workers: dict[int, _Worker] = {}
    jobs = min(sweep.jobs, len(wanted))
    try:
        while waiting or workers:
            if stop.asked():
                waiting.clear()
                _ask_to_stop(workers.values())
            if stop.asked_to_save():
                _ask_to_save(workers.values())
            while waiting and len(workers) < jobs:
                number = min(set(range(jobs)) - set(workers))
                workers[number] = _started(Place(number, jobs, _log(sweep, number)))
                _give_next(workers[number], waiting, sweep)
            wait([worker.tasks for worker in workers.values()], timeout=LOOK_S)
            ended: list[str] = []
            for number, worker in list(workers.items()):
                if worker.tasks.poll():
                    ended += _answered(worker, waiting, sweep, record, stop)
                if worker.at is None:
                    _let_go(workers.pop(number))
            done += len(ended)
            at = tuple(_at(workers.get(number), sweep) for number in range(jobs))
            told(Standing(done, len(wanted), tuple(ended), at))
    finally:
        for worker in workers.values():
            worker.process.kill()
            _let_go(worker)


def _started(place: Place) -> _Worker:
    context = multiprocessing.get_context("spawn")
    tasks, far_tasks = context.Pipe()
    life, far_life = context.Pipe()
    process = context.Process(target=work, args=(place, far_tasks, far_life))
    if threading.current_thread() is threading.main_thread():
        # a Ctrl-C while it imports would end it with a traceback, and SIGUSR1 without one; it
        # inherits being deaf to both
        deaf = (signal.SIGINT, signal.SIGUSR1)
        hearing = [signal.signal(number, signal.SIG_IGN) for number in deaf]
        process.start()
        for number, handler in zip(deaf, hearing, strict=True):
            signal.signal(number, handler)
    else:
        process.start()
    far_tasks.close()
    far_life.close()
    return _Worker(process, tasks, life)


def _log(sweep: Sweep, number: int) -> Path:
    return sweep.request.out / f"worker-{number + 1}.log"


def _give_next(worker: _Worker, waiting: deque[Combination], sweep: Sweep) -> None:
    """Send the next run to a worker, or nothing where none is left."""
    worker.at = waiting.popleft() if waiting else None
    if worker.at is None:
        return
    # a run that is complete is recognised as such only by one that may resume
    out = sweep.request.out / worker.at.name
    resume = sweep.request.resume or (out / RUN_FILE).exists()
    request = replace(sweep.request, out=out, resume=resume)
    try:
        worker.tasks.send(Task(worker.at.section, request, sweep.score))
    except (BrokenPipeError, ConnectionResetError):
        # it died before it could listen: reading from it says so
        return


def _answered(
    worker: _Worker,
    waiting: deque[Combination],
    sweep: Sweep,
    record: Record,
    stop: StopRequest,
) -> list[str]:
    """Note what came of a worker's run and give it the next; return a line about it."""
    run = worker.at
    if run is None:
        return []
    try:
        ended: Ended = worker.tasks.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        ended = _killed(worker.process.exitcode, sweep.request.out / run.name)
        worker.at = None
        if stop.asked():
            # asked to end before its run had begun
            return []
    else:
        worker.at = None
        if not ended.leaves:
            _give_next(worker, waiting, sweep)
    record.note(run.name, ended)
    return [f"{run.name}: {_in_words(ended)}"]


def _killed(exit_code: int | None, out: Path) -> Ended:
    fault = EnvironmentFault(
        "SWP-005",
        f"the process that trained this run died with exit code {exit_code}",
        file=out,
        mend="fewer --jobs where memory ran out, and --resume",
    )
    return Ended("failed", error=fault.as_dict())


def _in_words(ended: Ended) -> str:
    if ended.error is not None:
        mend = f". Mend: {ended.error['mend']}" if ended.error.get("mend") else ""
        return f"failed: {ended.error['code']} {ended.error['message']}{mend}"
    if ended.outcome == "stopped":
        return "stopped and saved"
    return f"{ended.selection}, {ended.seconds:.0f} s"


def _at(worker: _Worker | None, sweep: Sweep) -> str:
    """Return what a worker is at, from the log that its run writes."""
    if worker is None or worker.at is None:
        return ""
    rows = [
        row
        for row in read_rows(sweep.request.out / worker.at.name / "log.jsonl")
        if row["split"] == "train"
    ]
    epochs = worker.at.section.training.epochs
    if not rows:
        return f"{worker.at.name}  epoch 1/{epochs}"
    last = rows[-1]
    return (
        f"{worker.at.name}  epoch {min(len(rows) + 1, epochs)}/{epochs}  "
        f"loss {last['loss']:.3f}  top1 {last['top1']:.3f}"
    )


def _ask_to_stop(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        worker.life.close()


def _ask_to_save(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        if worker.process.pid is not None:
            # one that has ended is not yet waited for, so that its number is still its own
            os.kill(worker.process.pid, signal.SIGUSR1)


def _let_go(worker: _Worker) -> None:
    """End a worker that has nothing to do, and wait for it."""
    worker.tasks.close()
    worker.process.join()
    worker.life.close()
