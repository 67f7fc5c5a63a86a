"""Every error poselens raises on purpose, as one tree.

::

    PoselensError                 exit code
    |-- UsageError                2    wrong option, key or value
    |-- InputError                3    a file that cannot be used
    |   |-- VideoError
    |   |-- SkeletonError
    |   `-- AnnotationError
    |-- CheckpointError           4    weights, run or bundle that cannot be used
    |-- EnvironmentFault          5    disk, permission, memory, device
    `-- NumericFault              1    numbers that are no longer finite

A message says what is wrong (found and expected), ``where`` says in which file and place,
``mend`` says what to do. Codes such as ``VID-002`` are stable (``docs/reference/errors.md``).
"""

import errno
from pathlib import Path


class PoselensError(Exception):
    """A fault the user can act on: a stable code, what is wrong, where, and the mend.

    Args:
        code: Stable identifier such as ``"VID-002"``.
        message: What is wrong: the value found, and the one expected.
        file: The user's own path, as they gave it.
        where: Place inside the file: line, frame, joint or key.
        mend: One sentence that says what to do.
    """

    exit_code = 70

    def __init__(
        self,
        code: str,
        message: str,
        *,
        file: str | Path | None = None,
        where: str | None = None,
        mend: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.file = None if file is None else str(file)
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        place = ":".join(part for part in (self.file, self.where) if part)
        head = f"{place}: {self.message}" if place else self.message
        return f"{head}. Mend: {self.mend}" if self.mend else head

    def __reduce__(self) -> tuple[object, ...]:
        # The keyword-only constructor would not survive the trip out of a data worker otherwise.
        return (_rebuild, (type(self), self.as_dict()))

    def as_dict(self) -> dict[str, str | None]:
        """Return the same facts for ``--json``."""
        return {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "where": self.where,
            "mend": self.mend,
        }


def _rebuild(kind: type[PoselensError], facts: dict[str, str | None]) -> PoselensError:
    return kind(
        facts["code"] or "",
        facts["message"] or "",
        file=facts["file"],
        where=facts["where"],
        mend=facts["mend"],
    )


class UsageError(PoselensError):
    """A wrong option, configuration key or value."""

    exit_code = 2


class InputError(PoselensError):
    """A file of the user's that cannot be used."""

    exit_code = 3


class VideoError(InputError):
    """A video that cannot be decoded, or not far enough."""


class SkeletonError(InputError):
    """A skeleton that does not fit its layout, its video or any body."""


class AnnotationError(InputError):
    """A data set folder or annotation file that contradicts itself."""


class CheckpointError(PoselensError):
    """Weights, a run or a bundle that cannot be used."""

    exit_code = 4


class EnvironmentFault(PoselensError):
    """Disk, permission, memory or device: the machine, not the data."""

    exit_code = 5


class NumericFault(PoselensError):
    """A loss, gradient, weight or score that is not finite; what was saved before is sound."""

    exit_code = 1


def disk_fault(fault: OSError, path: Path) -> EnvironmentFault:
    """Return what an ``OSError`` met while writing ``path`` means to the user.

    ``ENV-001`` not permitted, ``ENV-002`` disk full, ``ENV-003`` otherwise.
    """
    if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EnvironmentFault(
            "ENV-001", "no permission to write", file=path, mend="choose another --out"
        )
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentFault(
            "ENV-002", "the disk is full; the previous file is intact", file=path, mend="free space"
        )
    return EnvironmentFault("ENV-003", f"cannot write: {fault.strerror}", file=path)
