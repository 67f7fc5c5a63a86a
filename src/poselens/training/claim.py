"""A run's folder belongs to one process at a time, and never to anything but one run."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poselens.checkpoint import TEMPORARY_PREFIX
from poselens.errors import UsageError, disk_fault

CONFIG_FILE = "config.yaml"
RUN_FILE = "run.json"
LOCK_FILE = ".lock"


@contextmanager
def claimed(out: Path, *, resume: bool) -> Iterator[None]:
    """Make a run's folder, or go on with one, and hold it while the block runs.

    Temporary files that a killed process left there are removed.

    Raises:
        UsageError: ``RUN-001`` the folder holds something and ``resume`` is off, ``RUN-002`` a file
            is in the way, ``RUN-004`` what it holds is no run, ``RUN-008`` another process trains
            there.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` the folder cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")]
        _require_fit(out, held, resume=resume)
        descriptor = os.open(out / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except (FileExistsError, NotADirectoryError) as fault:
        raise UsageError(
            "RUN-002", "a file is in the way", file=out, mend="choose another --out"
        ) from fault
    except OSError as fault:
        raise disk_fault(fault, out) from fault
    try:
        _lock(descriptor, out)
        for pattern in (f"{TEMPORARY_PREFIX}*", f"*/{TEMPORARY_PREFIX}*"):
            for remainder in out.glob(pattern):
                remainder.unlink()
        yield
    finally:
        os.close(descriptor)


def _require_fit(out: Path, held: list[str], *, resume: bool) -> None:
    if held and not resume:
        raise UsageError(
            "RUN-001",
            "the output exists already",
            file=out,
            mend="add --resume to go on with it, or choose another --out",
        )
    if held and CONFIG_FILE not in held:
        raise UsageError(
            "RUN-004",
            f"the folder holds no run, but {len(held)} other files ({sorted(held)[0]})",
            file=out,
            mend="choose another --out",
        )


def _lock(descriptor: int, out: Path) -> None:
    try:
        # lockf, not flock: data processes, which may outlive a killed run for seconds, must not
        # inherit the lock
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as fault:
        raise UsageError(
            "RUN-008",
            "another process is training in this folder",
            file=out,
            mend="wait for it, or choose another --out",
        ) from fault
    except OSError:
        # some network file systems have no locks
        return
