"""Rows of the log for TensorBoard, where a run wants it; nothing leaves the machine."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from poselens.errors import UsageError
from poselens.types import Facts

FOLDER = "tensorboard"
_NO_NUMBERS = ("epoch", "split")


def require_tensorboard() -> None:
    """Refuse to write for a program whose package is missing, before anything is trained.

    Raises:
        UsageError: ``CFG-050`` naming the extra.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "CFG-050",
            "training.tensorboard=true needs the package tensorboard, which is not installed",
            mend="pip install 'poselens[tensorboard]', or leave the setting out",
        )


class Board:
    """Writes each row of the log as scalars named ``split/column`` at their epoch.

    The first call removes what is there and writes all rows: a resumed run has one curve. A fault
    of the writer is told once, and training goes on without it.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._written = 0
        self._writer: Any = None
        self._broken = False

    def follow(self, rows: Sequence[Facts], *, told: Callable[[str], None]) -> None:
        """Write the rows that are new.

        Args:
            rows: All rows of the log so far.
            told: Hears of a fault.
        """
        if self._broken:
            return
        try:
            if self._writer is None:
                self._writer = _writer(self._folder)
            for row in rows[self._written :]:
                for name, value in row.items():
                    if name not in _NO_NUMBERS and isinstance(value, int | float):
                        epoch = int(row["epoch"] or 0)
                        self._writer.add_scalar(f"{row['split']}/{name}", value, epoch)
            self._writer.flush()
            self._written = len(rows)
        except Exception as fault:
            # whatever another package's writer meets: the log has the same rows
            self._broken = True
            told(f"TensorBoard gets no more rows, training goes on: {fault!r}")


def _writer(folder: Path) -> Any:
    for before in folder.glob("events.out.tfevents.*"):
        before.unlink()
    # half a second to import
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
