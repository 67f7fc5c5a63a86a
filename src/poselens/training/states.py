"""The states of a run: ``states/EPOCH-STEP.safetensors``, of which the newest ones are kept.

Each position has a file of its own, so that no save touches what an earlier one wrote, and the
name of one that cannot be read still says how far it had come.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from poselens.checkpoint import DAMAGE, make_folder, require_space
from poselens.errors import CheckpointError
from poselens.training.state import Progress, load_state, save_state, saved_facts

STATES_FOLDER = "states"
_DAMAGE = (*DAMAGE, "CKPT-023")


@dataclass(frozen=True)
class Saving:
    """When a run saves within an epoch, and how much it keeps.

    Attributes:
        keep: States kept, the newest ones.
        every: Steps between saves within an epoch; None for none.
        minutes: Minutes between saves within an epoch; None for none.
    """

    keep: int = 2
    every: int | None = None
    minutes: float | None = None


def state_files(run: Path) -> list[Path]:
    """Return the states in a run's folder, the newest first.

    Raises:
        CheckpointError: ``CKPT-001`` the folder cannot be listed.
    """
    folder = run / STATES_FOLDER
    try:
        found = [folder / name for name in os.listdir(folder) if name.endswith(".safetensors")]
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise CheckpointError(
            "CKPT-001", f"cannot read: {fault.strerror}", file=folder, mend="check the disk"
        ) from fault
    return sorted((path for path in found if _position(path)), key=_position, reverse=True)


def _position(path: Path) -> tuple[int, ...]:
    epoch, _, step = path.stem.partition("-")
    return (int(epoch), int(step)) if epoch.isdecimal() and step.isdecimal() else ()


def state_file(run: Path, progress: Progress) -> Path:
    """Return where the state of a position is kept."""
    return run / STATES_FOLDER / f"{progress.epoch:06}-{progress.step:08}.safetensors"


def newest_facts(run: Path) -> dict[str, Any] | None:
    """Return what the newest readable state says beside its tensors; None where there is none.

    Raises:
        CheckpointError: ``CKPT-020`` none of them can be read, ``CKPT-010`` another format.
    """
    refused: list[CheckpointError] = []
    for path in state_files(run):
        try:
            return saved_facts(path)
        except CheckpointError as fault:
            if fault.code not in _DAMAGE:
                raise
            refused.append(fault)
    if refused:
        raise _none_left(refused, run)
    return None


def _none_left(refused: list[CheckpointError], run: Path) -> CheckpointError:
    each = "; ".join(f"{Path(fault.file or '').name}: {fault.message}" for fault in refused)
    return CheckpointError(
        "CKPT-020",
        f"none of the {len(refused)} states of this run can be read ({each})",
        file=run / STATES_FOLDER,
        mend="put back a copy of one, or start anew with another --out",
    )


class States:
    """Saves a run, and goes on from the newest state that is whole.

    Args:
        run: The run's folder.
        modules: The network, and what is trained or remembered beside it, by name.
        optimizer: Over their parameters.
        fingerprint: Digest of the data; the state of other data is refused.
        settings: Of the run, saved for the one that goes on with it to compare.
        saving: When to save, and how much to keep.
    """

    def __init__(
        self,
        run: Path,
        *,
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        fingerprint: str,
        settings: Mapping[str, Any],
        saving: Saving,
    ) -> None:
        self._run = run
        self._modules = modules
        self._optimizer = optimizer
        self._fingerprint = fingerprint
        self._settings = settings
        self._saving = saving
        self._saved_at = monotonic()
        self._saved: Path | None = None

    def save(self, progress: Progress, best: dict[str, Tensor]) -> Path:
        """Write the state, then remove those that are older than the ones to keep.

        Raises:
            NumericFault: ``NUM-002`` a weight or a running statistic is not finite.
            EnvironmentFault: ``ENV-001`` to ``ENV-003``; earlier states are as before.
        """
        path = state_file(self._run, progress)
        make_folder(path.parent)
        save_state(
            path,
            modules=self._modules,
            optimizer=self._optimizer,
            progress=progress,
            best=best,
            fingerprint=self._fingerprint,
            settings=self._settings,
        )
        # what cannot be removed is tried again after the next save
        with suppress(OSError, CheckpointError):
            for old in state_files(self._run)[self._saving.keep :]:
                old.unlink()
        self._saved_at, self._saved = monotonic(), path
        return path

    @property
    def within(self) -> bool:
        """Return whether a save may be due within an epoch."""
        return self._saving.every is not None or self._saving.minutes is not None

    def due(self, progress: Progress) -> bool:
        """Return whether to save at a position within an epoch."""
        every, minutes = self._saving.every, self._saving.minutes
        if state_file(self._run, progress) == self._saved:
            # asked again while validation looks at the same weights
            return False
        if every is not None and progress.step % every == 0:
            return True
        return minutes is not None and monotonic() - self._saved_at >= 60 * minutes

    def restore(self, *, steps: int) -> tuple[Progress, dict[str, Tensor], list[str]] | None:
        """Go on from the newest state that is whole; None where there is none at all.

        What is newer and damaged is set aside under the ending ``.broken``.

        Args:
            steps: Steps in one epoch, to say how many are lost.

        Returns:
            The position, the best weights so far, and what to tell.

        Raises:
            CheckpointError: ``CKPT-020`` none of them can be read; else as ``load_state``.
        """
        refused: list[CheckpointError] = []
        newest: Path | None = None
        for path in state_files(self._run):
            newest = newest or path
            try:
                progress, best, told = load_state(
                    path,
                    modules=self._modules,
                    optimizer=self._optimizer,
                    fingerprint=self._fingerprint,
                )
            except CheckpointError as fault:
                if fault.code not in _DAMAGE:
                    raise
                refused.append(fault)
                continue
            return progress, best, [*_set_aside(refused, newest, path, steps), *told]
        if refused:
            raise _none_left(refused, self._run)
        return None

    def require_space(self) -> None:
        """Refuse to begin where the disk has no room for the states that will be kept.

        Raises:
            EnvironmentFault: ``ENV-002`` with needed and free bytes.
        """
        there = sum(path.stat().st_size for path in state_files(self._run))
        # one more than is kept, for an old one goes after the new one is whole
        needed = (self._saving.keep + 1) * sum(_bytes(each) for each in self._tensors())
        require_space(self._run, max(needed - there, 0))

    def _tensors(self) -> Iterator[Tensor]:
        for kind, module in self._modules.items():
            yield from module.state_dict().values()
            if kind == "network":
                # the best epoch's, or those that the run leaves at its end
                yield from module.state_dict().values()
        for group in self._optimizer.param_groups:
            if group.get("momentum") or "betas" in group:
                yield from group["params"]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _set_aside(refused: list[CheckpointError], newest: Path, good: Path, steps: int) -> list[str]:
    told = []
    for fault in refused:
        path = Path(fault.file or "")
        with suppress(OSError):
            path.rename(path.with_name(f"{path.name}.broken"))
        told.append(f"{path.name} is set aside: {fault.message}")
    if refused:
        lost = _steps(newest, steps) - _steps(good, steps)
        told.append(f"going on from {good.name}: {lost} steps are lost")
    return told


def _steps(path: Path, steps: int) -> int:
    epoch, step = _position(path)
    return epoch * steps + step
