"""Writing a whole folder so that it appears complete or not at all."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from poselens.errors import UsageError, disk_fault

PREFIX = ".poselens-"


class StagingFolder:
    """A folder beside its final place, renamed there by ``commit`` and removed by ``discard``.

    The folder is locked while its writer lives, so that the next writer of the same target can tell
    a remainder of a killed process from work in progress, and sweep it.

    Raises:
        UsageError: ``DATA-020`` when ``target`` is a file, or a folder that is not empty.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        require_free(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            prefix = f"{PREFIX}{target.name}-"
            _sweep(target.parent, prefix)
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
            self.path.chmod(0o755)
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as fault:
            raise disk_fault(fault, target) from fault

    def commit(self) -> None:
        """Give the folder its final name and flush the name to the disk."""
        try:
            os.rename(self.path, self.target)
            _flush(self.target.parent)
        except OSError as fault:
            self.discard()
            raise disk_fault(fault, self.target) from fault
        os.close(self._lock)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def require_free(target: Path) -> None:
    """Refuse an output that would overwrite something.

    Raises:
        UsageError: ``DATA-020`` when ``target`` is a file, or a folder that is not empty.
    """
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise UsageError(
            "DATA-020",
            "the output exists already",
            file=target,
            mend="choose another --out, or remove it first",
        )


def _sweep(folder: Path, prefix: str) -> None:
    for remainder in [entry for entry in folder.iterdir() if entry.name.startswith(prefix)]:
        descriptor = os.open(remainder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(remainder, ignore_errors=True)
        finally:
            os.close(descriptor)


def write_flushed(path: Path, content: bytes) -> None:
    """Write ``content`` and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_replacing(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, flush it and rename it there.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
        os.close(descriptor)
        write_flushed(Path(temporary), content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as fault:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise disk_fault(fault, path) from fault


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
