"""Several ranks of one command, forked from the test so that torch is imported once.

With an agent, ``torchrun``'s own machinery starts them anew after one has failed.
"""

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from poselens.cli import _run

Before = Callable[[int], None]
"""Called in each rank before its command, with the rank."""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _become(words: Sequence[str], log: Path, before: Before | None) -> None:
    """Run the command as a process of its own would, and end."""
    os._exit(_as_process(words, log, before))


def _as_rank(words: Sequence[str], log: Path, before: Before | None) -> None:
    """Run the command as a rank of an agent, which wants to be told of a good end."""
    code = _as_process(words, log, before)
    if code:
        os._exit(code)


def _as_process(words: Sequence[str], log: Path, before: Before | None) -> int:
    code = 70
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
        if before is not None:
            before(int(os.environ.get("RANK", 0)))
        code = _run(list(words))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
    return code


class Ranks:
    """Processes that run one command together.

    Args:
        folder: For what they say.
        size: How many.
        words: The command.
        before: What each does first.
        environment: What they find in it beside the names of ranks.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        words: Sequence[object],
        *,
        before: Before | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.logs = [folder / f"rank-{rank}.txt" for rank in range(size)]
        port = str(free_port())
        self.pids = []
        for rank, log in enumerate(self.logs):
            log.unlink(missing_ok=True)
            pid = os.fork()
            if pid == 0:
                os.environ |= {
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
                    "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                    "OMP_NUM_THREADS": "1", **(environment or {}),
                }  # fmt: skip
                _become([str(word) for word in words], log, before)
            self.pids.append(pid)

    def end(self, timeout: float = 60) -> list[int]:
        """Return the exit codes; what runs on after the timeout is killed, and the test fails."""
        codes: dict[int, int] = {}
        until = time.monotonic() + timeout
        while len(codes) < len(self.pids):
            for pid in self.pids:
                if pid not in codes:
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if ended:
                        codes[pid] = os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                for pid in set(self.pids) - set(codes):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                raise AssertionError(f"still there: {self.told()}")
            time.sleep(0.01)
        return [codes[pid] for pid in self.pids]

    def told(self) -> list[str]:
        """Return what each has said."""
        return [log.read_text() if log.exists() else "" for log in self.logs]


class Agent:
    """What ``torchrun`` is: starts the ranks, and starts all of them anew when one has failed.

    Its ranks end as processes do that ``torchrun`` starts; here they are forked.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        words: Sequence[object],
        *,
        before: Before | None = None,
        restarts: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "ranks.txt"
        self.log.unlink(missing_ok=True)
        self.pid = os.fork()
        if self.pid == 0:
            _lead(folder, size, [str(word) for word in words], self.log, before, restarts)

    def end(self, timeout: float = 120) -> tuple[int, str]:
        """Return the exit code and what the ranks said."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status), self.log.read_text()
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"still there: {self.log.read_text()}")


def _lead(
    folder: Path,
    size: int,
    words: Sequence[str],
    log: Path,
    before: Before | None,
    restarts: int,
) -> None:
    code = 1
    try:
        file = os.open(folder / "agent.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        os.environ["OMP_NUM_THREADS"] = "1"
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=size,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=restarts,
            monitor_interval=0.1,
            start_method="fork",
        )
        elastic_launch(settings, _as_rank)(words, log, before)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
