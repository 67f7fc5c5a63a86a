"""Processes that train one run after another, and what a sweep asks of them."""

import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch

from poselens.clips.device import choose_device, data_processes
from poselens.data.folder import open_folder
from poselens.errors import EnvironmentFault, PoselensError
from poselens.recipes.combinations import Section
from poselens.recipes.scoring import score_run
from poselens.training.run import Request, train

ASK_AGAIN_S = 0.5
"""Training hears a signal only once it has begun, so it is sent until the process ends."""


@dataclass(frozen=True, eq=False)
class Task:
    """One run.

    Attributes:
        section: Its resolved settings.
        request: Data, protocol and folder.
        score: Part to score with the finished weights, or None.
    """

    section: Section
    request: Request
    score: str | None


@dataclass(frozen=True, eq=False)
class Ended:
    """What came of a run.

    Attributes:
        outcome: ``complete``, ``stopped`` by a signal, or ``failed``.
        error: What went wrong, as ``PoselensError.as_dict`` says it.
        selection: How the weights were chosen, of a complete run.
        seconds: Time it took in this process.
        leaves: Whether the process ends now: after a signal, and after faults of the machine or of
            poselens, of which memory or GPU may bear traces.
    """

    outcome: Literal["complete", "stopped", "failed"]
    error: Mapping[str, Any] | None = None
    selection: str | None = None
    seconds: float = 0.0
    leaves: bool = False


@dataclass(frozen=True)
class Place:
    """Where a worker stands among others.

    Attributes:
        number: Counted from 0; it chooses a GPU where there are several.
        jobs: How many workers share the machine.
        log: File for what training says on stderr.
    """

    number: int
    jobs: int
    log: Path


def work(place: Place, tasks: Connection, life: Connection) -> None:
    """Train what comes through ``tasks`` until nothing does; answer each with :class:`Ended`.

    When the other end of ``life`` is closed, on purpose or because the sweep's own process died,
    the run at hand is saved and the process ends.
    """
    descriptor = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, sys.stderr.fileno())
    os.close(descriptor)
    asked = threading.Event()

    def hear(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    # a Ctrl-C reaches every process of the terminal; the sweep's own decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, hear)
    threading.Thread(target=_end_with, args=(life,), daemon=True).start()
    torch.set_num_threads(_threads(place.jobs, torch.get_num_threads()))
    if torch.cuda.is_available():
        torch.cuda.set_device(place.number % torch.cuda.device_count())
    try:
        while not asked.is_set():
            task: Task | None = tasks.recv()
            if task is None:
                return
            ended = _run(task, place.jobs)
            tasks.send(ended)
            if ended.leaves:
                return
            gc.collect()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        # the sweep is gone, or left at a second Ctrl-C
        return


def _end_with(life: Connection) -> None:
    try:
        life.recv()
    except (EOFError, OSError):
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(ASK_AGAIN_S)


def _threads(jobs: int, allowed: int) -> int:
    """Return the threads of one of ``jobs`` workers: its share of the cores."""
    return max(1, min(allowed, len(os.sched_getaffinity(0)) // jobs))


def _run(task: Task, jobs: int) -> Ended:
    begun = time.monotonic()
    request = task.request
    sys.stderr.write(f"-- {request.out.name}\n")
    try:
        section = _sharing(task.section, request.device, jobs)
        folder = open_folder(request.root)
        finished = train(folder, section, request)
        if finished.exit_code:
            return Ended("stopped", seconds=_since(begun), leaves=True)
        if task.score is not None:
            score_run(
                request.out,
                folder,
                request.protocol,
                task.score,
                device=request.device,
                workers=section.training.workers,
            )
    except PoselensError as fault:
        machine = isinstance(fault, EnvironmentFault)
        return Ended("failed", fault.as_dict(), seconds=_since(begun), leaves=machine)
    except Exception as fault:
        traceback.print_exc()
        told = PoselensError("BUG-001", f"this is a fault of poselens: {fault!r}", file=request.out)
        return Ended("failed", told.as_dict(), seconds=_since(begun), leaves=True)
    return Ended("complete", selection=str(finished.facts["selection"]), seconds=_since(begun))


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 2)


def _sharing(section: Section, device: str, jobs: int) -> Section:
    """Return the settings with this worker's share of the data processes; they change no number."""
    if section.training.workers is not None or jobs == 1:
        return section
    share = data_processes(choose_device(device)) // jobs
    return section.model_copy(
        update={"training": section.training.model_copy(update={"workers": share})}
    )
