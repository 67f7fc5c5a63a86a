"""Turns SIGINT, SIGTERM and SIGUSR1 into questions the loop asks between two steps."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from poselens.training.ranks import ALONE, Ranks


class StopRequest:
    """Catches SIGINT, SIGTERM and SIGUSR1 and remembers them; a second SIGINT leaves at once.

    Outside the main thread, where Python hears no signals, it never asks for anything. Where
    several ranks train, all of them stop or save once one of them has received a signal.

    Attributes:
        received: The signal to stop at, or None while the run may go on.

    Args:
        ranks: Those that stop together; all of them ask the same number of times.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._agreed = False
        self._saves = False
        self.received: signal.Signals | None = None
        self._save = False
        self._holds = False
        self._leaves = False
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 0 while nothing was received."""
        return 0 if self.received is None else 128 + int(self.received)

    def asked(self) -> bool:
        """Return whether to stop."""
        if self._ranks.size == 1:
            return self.received is not None
        if not self._agreed:
            save, self._save = self._save, False
            own = 0 if self.received is None else int(self.received)
            number, saves = divmod(self._ranks.highest(2 * own + save), 2)
            self._saves = self._saves or bool(saves)
            if number:
                self.received, self._agreed = signal.Signals(number), True
        return self._agreed

    def asked_to_save(self) -> bool:
        """Return whether SIGUSR1 came since this was last asked.

        Several ranks tell each other of it where they ask whether to stop.
        """
        if self._ranks.size > 1:
            asked, self._saves = self._saves, False
        else:
            asked, self._save = self._save, False
        return asked

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block end before a second SIGINT leaves; a third one does not wait."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        if self._leaves:
            raise KeyboardInterrupt

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self._save = True
        elif self.received is None or number != signal.SIGINT:
            self.received = signal.Signals(number)
        elif self._holds and not self._leaves:
            self._leaves = True
        else:
            raise KeyboardInterrupt

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                self._previous[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Leave with 143 at SIGTERM while there is nothing to save.

    For what comes before the first step and after the last; every ``finally`` is heeded, which
    the system's own way of ending a process does not do.
    """
    with _handled(signal.SIGTERM, _leave):
        yield


@contextmanager
def saving_is_no_end() -> Iterator[None]:
    """Be deaf to SIGUSR1, which ends a process that does not hear it."""
    with _handled(signal.SIGUSR1, signal.SIG_IGN):
        yield


@contextmanager
def _handled(number: signal.Signals, handler: "signal._HANDLER") -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, previous)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def requeue_hint() -> str:
    """Return how to go on with a run elsewhere."""
    job = os.environ.get("SLURM_JOB_ID")
    queued = f"; scontrol requeue {job} puts the job back in the queue" if job else ""
    return f"the same command with --resume goes on from here{queued}"
