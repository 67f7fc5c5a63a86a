"""Runs trainings in forks of one process that has imported torch already, for tests that kill them.

As a program it reads tasks, one JSON object a line, and forks for each; it answers with the number
of the process and, when that has ended, with its exit code. :class:`ForkServer` is its other end.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class ForkServer:
    """Starts the program and gives it tasks, one at a time; leaves with it."""

    def __init__(self, log: Path) -> None:
        here = Path(__file__).resolve()
        paths = [str(here.parents[2] / "src"), str(here.parent)]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(here)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
                text=True,
                bufsize=1,
            )

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_fault: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def start(self, **task: object) -> int:
        """Begin a task; returns the number of its process, which listens to signals."""
        self._process.stdin.write(json.dumps(task, default=str) + "\n")
        return int(self._process.stdout.readline())

    def ended(self) -> int:
        """Wait for the task; returns its exit code, negative for a signal it died of."""
        self._process.stdin.write("\n")
        return int(self._process.stdout.readline())

    def run(self, **task: object) -> int:
        """Do a task from beginning to end."""
        self.start(**task)
        return self.ended()

    def disturb(self, delay: float, number: int, **task: object) -> int:
        """Do a task and send it a signal after a while; returns its exit code."""
        child = self.start(**task)
        time.sleep(delay)
        # where it has ended, it is not yet waited for: its number is still its own
        os.kill(child, number)
        return self.ended()


def _train(task: dict) -> int:
    from poselens.data.folder import open_folder
    from poselens.training.config import RgbSection, SkeletonSection
    from poselens.training.run import Request, train
    from poselens.training.stepping import EagerStep

    settle, steps = EagerStep.settle, os.open(task["steps"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(step):
        settle(step)
        os.write(steps, b"step\n")

    EagerStep.settle = noted
    kind = RgbSection if task["branch"] == "rgb" else SkeletonSection
    root = Path(task["root"])
    request = Request(root, "p", "r", Path(task["out"]), "cpu", resume=True)
    return train(open_folder(root), kind.model_validate(task["section"]), request).exit_code


def _save(task: dict) -> int:
    from saves import save_with_fault

    save_with_fault(Path(task["out"]), task["call"], task["kind"])
    return 0


def _child(task: dict) -> int:
    # until the run hears it, and after it has, a signal is answered as a shell would tell it
    signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
    try:
        return {"train": _train, "save": _save}[task["task"]](task)
    except SystemExit as leave:
        return int(leave.code)
    except KeyboardInterrupt:
        return 130


def _serve() -> None:
    import torch
    from saves import trained

    import poselens.training.run  # noqa: F401

    torch.set_num_threads(1)
    # the first optimiser imports for seconds what every fork then has
    trained(1)
    answers = os.dup(1)
    os.dup2(2, 1)
    while line := sys.stdin.readline():
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = _child(task)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(code)
        os.write(answers, f"{child}\n".encode())
        sys.stdin.readline()
        os.write(answers, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())


if __name__ == "__main__":
    _serve()
