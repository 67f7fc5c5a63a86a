"""What a run tells: one JSON line and one CSV row an epoch and split, and progress on stderr."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from poselens.checkpoint import write_bytes
from poselens.errors import disk_fault
from poselens.types import Facts

COLUMNS = (
    "epoch",
    "split",
    "loss",
    "ce",
    "contrast",
    "top1",
    "mean_class",
    "clips",
    "lr",
    "seconds",
    "clips_per_second",
    "data_wait",
)


class Journal:
    """Appends rows to ``log.jsonl`` and keeps ``log.csv`` beside it.

    A resumed run drops the rows of epochs it is about to do again.

    Args:
        folder: The run's folder.
        epochs_done: Rows of later epochs are removed.
        writes: Whether this rank writes; the others' rows go nowhere.
        told: Hears of rows that cannot be written.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when a file cannot be written at the start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        epochs_done: int,
        told: Callable[[str], None] = lambda _text: None,
        writes: bool = True,
    ) -> None:
        self._told = told
        self._writes = writes
        self._jsonl = folder / "log.jsonl"
        self._csv = folder / "log.csv"
        if not writes:
            return
        kept = [row for row in read_rows(self._jsonl) if int(row.get("epoch") or 0) <= epochs_done]
        write_bytes(self._jsonl, "".join(json.dumps(row) + "\n" for row in kept).encode())
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_bytes(self._csv, table.getvalue().encode())

    def write(self, row: Facts) -> None:
        """Append one row to both files; a run does not end because its log cannot be written."""
        if not self._writes:
            return
        try:
            with self._jsonl.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(row)) + "\n")
            with self._csv.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
                writer.writerow(dict(row))
        except OSError as fault:
            self._told(f"rows of the log are lost: {disk_fault(fault, self._jsonl)}")

    def read(self) -> list[dict[str, str | float | None]]:
        """Return all rows so far."""
        return read_rows(self._jsonl)


def read_rows(path: Path) -> list[dict[str, str | float | None]]:
    """Return the rows of a ``log.jsonl``; a last line cut short by a crash is left out."""
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = []
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


class Teller:
    """Shows one bar for a run on a terminal, and one line an epoch elsewhere.

    Args:
        title: What the bar is called.
        total: Steps in the whole run.
        done: Steps done already.
        shows: Whether this rank speaks; the others are silent.
    """

    def __init__(self, title: str, *, total: int, done: int, shows: bool = True) -> None:
        self._shows = shows
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
            console=self._console,
            disable=not (shows and self._console.is_terminal),
        )
        self._task = self._bar.add_task(title, total=total, completed=done, facts="")
        self._title = title
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Say something beside the progress, once."""
        if text not in self._warned:
            self._warned.add(text)
            self.note(text)

    def note(self, text: str) -> None:
        """Say something beside the progress."""
        if not self._shows:
            return
        with suppress(OSError):
            self._console.print(
                f"{self._title}  {text}", highlight=False, markup=False, soft_wrap=True
            )

    @contextmanager
    def shown(self) -> Iterator["Teller"]:
        """Show the bar while the block runs."""
        with self._bar:
            yield self

    def step(self, facts: str) -> None:
        """Move the bar by one step."""
        self._bar.update(self._task, advance=1, facts=facts)

    def epoch(self, number: int, epochs: int, facts: Mapping[str, str]) -> None:
        """Say how an epoch went, where there is no bar to look at."""
        if not self._console.is_terminal:
            self.note(
                "  ".join(
                    (
                        f"epoch {number}/{epochs}",
                        *(f"{name} {value}" for name, value in facts.items()),
                    )
                )
            )
