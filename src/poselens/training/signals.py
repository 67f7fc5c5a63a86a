"""Turns SIGINT and SIGTERM into a question the loop asks between two steps."""

import signal
import threading
from types import FrameType, TracebackType

from poselens.training.ranks import ALONE, Ranks


class StopRequest:
    """Catches the first SIGINT or SIGTERM and remembers it; a second SIGINT leaves at once.

    Outside the main thread, where Python hears no signals, it never asks to stop. Where several
    ranks train, all of them stop at the question after which one has received a signal.

    Attributes:
        received: The signal, or None while the run may go on.

    Args:
        ranks: Those that stop together; all of them ask the same number of times.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._agreed = False
        self.received: signal.Signals | None = None
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
            highest = self._ranks.highest(0 if self.received is None else int(self.received))
            if highest:
                self.received, self._agreed = signal.Signals(highest), True
        return self._agreed

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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
