"""Progress on stderr; a bar is silent where stderr is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

if TYPE_CHECKING:
    from poselens.recipes.sweeping import Standing


@contextmanager
def bar(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show a bar; the function given moves it by its first argument, or by one."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=total)

        def advance(step: int = 1, *_rest: object, total: int | None = None) -> None:
            if total is not None:
                shown.update(task, total=total)
            shown.advance(task, step)

        yield advance


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; the function given moves it to so many, of so many."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=None)

        def reached(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield reached


class Board:
    """Shows how far a sweep has come: a bar, a line per worker, and a line per run that ended.

    Args:
        title: What the bar is called.
        workers: How many lines to keep for workers.
    """

    def __init__(self, title: str, workers: int) -> None:
        self._console = Console(stderr=True)
        self._shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar = self._shown.add_task(title, total=None)
        self._lines = Progress(TextColumn("  {task.description}"), console=self._console)
        self._workers = [self._lines.add_task("", total=None) for _ in range(workers)]

    @contextmanager
    def shown(self) -> Iterator["Board"]:
        """Show the board while the block runs."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(Group(self._shown, self._lines), console=self._console, refresh_per_second=4):
            yield self

    def tell(self, standing: "Standing") -> None:
        """Bring the board up to date."""
        before = standing.done - len(standing.ended)
        for position, line in enumerate(standing.ended, start=before + 1):
            self._console.print(
                f"[{position}/{standing.total}] {line}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        self._shown.update(self._bar, completed=standing.done, total=standing.total)
        for task, line in zip(self._workers, standing.at, strict=False):
            self._lines.update(task, description=escape(line), visible=bool(line))
