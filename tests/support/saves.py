"""One save of a small run, with a fault at one of the file-system calls that it makes."""

import contextlib
import errno
import os
import signal
from pathlib import Path

import torch
from tiny_loop import batch, network, optimiser
from torch import nn

from poselens.training.state import Progress
from poselens.training.states import Saving, States

CALLS = (
    "open", "write", "fsync", "close", "chmod", "replace", "rename", "unlink", "mkdir", "rmdir",
    "stat", "lstat", "scandir", "listdir", "link", "truncate", "ftruncate", "fdatasync", "fchmod",
)  # fmt: skip
POSITIONS = (Progress(0, 0), Progress(0, 2), Progress(1, 1))
"""Two that are saved before, and the one whose save is disturbed."""


def trained(steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a network and its optimiser after some steps."""
    model = network()
    optimizer = optimiser(model)
    for step in range(steps):
        given = batch(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(*given["inputs"]), given["label"]).backward()
        optimizer.step()
    return model, optimizer


def states(run: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> States:
    return States(
        run,
        modules={"network": model},
        optimizer=optimizer,
        fingerprint="f",
        settings={"a": 1},
        saving=Saving(keep=2),
    )


def save(run: Path, number: int) -> None:
    """Save one of the positions, of a network that has taken as many steps."""
    model, optimizer = trained(number)
    torch.manual_seed(number)
    states(run, model, optimizer).save(POSITIONS[number], {})


def prepared(run: Path) -> Path:
    """Make a run that has saved twice."""
    run.mkdir()
    for number in range(len(POSITIONS) - 1):
        save(run, number)
    return run


class Faults:
    """Counts calls of ``os``, and spoils one of them.

    Args:
        call: Number of the call to spoil, from 1; 0 spoils none.
        kind: ``kill`` dies before the call, ``half-kill`` and ``half-ENOSPC`` write half of what is
            to be written first; ``EIO`` and ``ENOSPC`` are raised in its place.
    """

    def __init__(self, call: int, kind: str) -> None:
        self.seen: list[str] = []
        self._call = call
        self._kind = kind

    @contextlib.contextmanager
    def injected(self):
        kept = {name: getattr(os, name) for name in CALLS}
        for name, real in kept.items():
            setattr(os, name, self._spoiled(name, real))
        try:
            yield self
        finally:
            for name, real in kept.items():
                setattr(os, name, real)

    def _spoiled(self, name, real):
        def called(*arguments, **options):
            self.seen.append(name)
            if len(self.seen) == self._call:
                self._fault(name, real, arguments)
            return real(*arguments, **options)

        return called

    def _fault(self, name, real, arguments):
        half, _, kind = self._kind.rpartition("-")
        if half and name == "write":
            descriptor, content = arguments
            real(descriptor, content[: len(content) // 2])
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, kind)
        raise OSError(number, os.strerror(number))


def save_with_fault(run: Path, call: int, kind: str) -> list[str]:
    """Save the last position with a fault; returns the calls that were made."""
    model, optimizer = trained(len(POSITIONS) - 1)
    torch.manual_seed(len(POSITIONS) - 1)
    saving = states(run, model, optimizer)
    with Faults(call, kind).injected() as faults:
        saving.save(POSITIONS[-1], {})
    return faults.seen


def restored(run: Path) -> tuple[Progress, dict[str, torch.Tensor], torch.Tensor]:
    """Go on from what is there; returns position, weights and momenta, and what is drawn next."""
    model, optimizer = trained(0)
    found = states(run, model, optimizer).restore(steps=4)
    assert found is not None, "neither the old nor the new state"
    slots = [slot["momentum_buffer"] for slot in optimizer.state.values()]
    content = {**model.state_dict(), **{f"momentum.{i}": slot for i, slot in enumerate(slots)}}
    return found[0], content, torch.rand(2)
