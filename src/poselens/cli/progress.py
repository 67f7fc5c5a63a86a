"""A progress bar on stderr, silent where stderr is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def bar(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show a bar; the function given moves it by its first argument, or by one."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=total)

        def advance(step: int = 1, *_rest: object) -> None:
            shown.advance(task, step)

        yield advance
