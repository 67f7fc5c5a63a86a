"""Work on files that nobody has vouched for, in child processes that may crash, hang or swell.

A decoder is native code. A file that makes it crash, loop or take all memory ends a child, not the
run: the file is named with a ``VID-09x`` error, another child takes the place, and work goes on.
"""

import os
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from poselens.errors import EnvironmentFault, PoselensError, VideoError

Item = TypeVar("Item")
Result = TypeVar("Result")

GIBIBYTE = 1024**3
_CONTEXT = get_context("forkserver")
# what most work needs, read once by the server from which every child is forked
_CONTEXT.set_forkserver_preload(["poselens.data.video"])


@dataclass(frozen=True)
class Limits:
    """What one file may cost.

    Attributes:
        seconds: Wall time of one item, counted from its start in the child.
        memory: Bytes of address space that a child may take beyond what it starts with.
    """

    seconds: float = 60.0
    memory: int = 2 * GIBIBYTE


def in_children(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    file_of: Callable[[Item], Path],
    workers: int | None = None,
    limits: Limits = Limits(),
) -> Iterator[tuple[Item, Result | PoselensError]]:
    """Call ``work`` for every item in child processes; yield each outcome as it comes.

    Outcomes come in no order. Children are started on the first ``next`` and end with the iterator,
    or with the process that started them.

    Args:
        work: A function of a module, so that a child can import it. An error of ours that it raises
            is an outcome; any other exception is a fault of poselens and is raised here.
        items: What to work on, each able to be pickled.
        file_of: The file that an error about an item names.
        workers: Child processes; None for one a core.
        limits: Of one item.

    Yields:
        The item, and what ``work`` returned or the error: its own, ``VID-090`` when the child
        crashed, ``VID-091`` when it ran out of time, ``VID-092`` out of the memory it may take.

    Raises:
        RuntimeError: With the child's traceback, when ``work`` has a fault.
    """
    pool = _Pool(work, file_of, workers or len(os.sched_getaffinity(0)), limits)
    try:
        yield from pool.run(items)
    finally:
        pool.close()


class _Child(Generic[Item]):
    """One process and the item it is at."""

    def __init__(self, work: Callable[[Item], Any], memory: int) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(work, theirs, memory), daemon=True)
        self.process.start()
        theirs.close()
        # the clock of the first item starts when the child has imported what it needs
        self.pipe.recv()
        self.item: Item | None = None
        self.since = 0.0

    def give(self, item: Item) -> None:
        self.item, self.since = item, time.monotonic()
        self.pipe.send(item)

    def end(self) -> int:
        """Stop the process and return its exit code."""
        self.pipe.close()
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        return code


class _Pool(Generic[Item, Result]):
    def __init__(
        self,
        work: Callable[[Item], Result],
        file_of: Callable[[Item], Path],
        workers: int,
        limits: Limits,
    ) -> None:
        self._work, self._file_of, self._workers, self._limits = work, file_of, workers, limits
        self._children: list[_Child[Item]] = []

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Result | PoselensError]]:
        for item in items:
            child = self._free_child()
            if child is None:
                yield from self._finished()
                child = self._free_child()
            assert child is not None
            child.give(item)
        while any(child.item is not None for child in self._children):
            yield from self._finished()

    def _free_child(self) -> _Child[Item] | None:
        """Return a child without work, starting one where there may be more."""
        for child in list(self._children):
            if child.item is None:
                if child.process.is_alive():
                    return child
                self._children.remove(child)
                child.end()
        if len(self._children) == self._workers:
            return None
        child = _Child(self._work, self._limits.memory)
        self._children.append(child)
        return child

    def _finished(self) -> Iterator[tuple[Item, Result | PoselensError]]:
        """Wait until at least one child is free; yield what came of its item."""
        busy = [child for child in self._children if child.item is not None]
        found: list[tuple[_Child[Item], Result | PoselensError]] = []
        while not found:
            found = list(self._outcomes(busy))
        for child, outcome in found:
            item, child.item = child.item, None
            assert item is not None
            yield item, outcome

    def _outcomes(
        self, busy: list[_Child[Item]]
    ) -> Iterator[tuple[_Child[Item], Result | PoselensError]]:
        oldest = min(child.since for child in busy)
        left = max(oldest + self._limits.seconds - time.monotonic(), 0)
        ready = set(wait([child.pipe for child in busy], timeout=left))
        for child in busy:
            if child.pipe in ready:
                yield child, self._received(child)
            elif time.monotonic() - child.since >= self._limits.seconds:
                yield child, self._timed_out(child)

    def _received(self, child: _Child[Item]) -> Result | PoselensError:
        item = child.item
        assert item is not None
        try:
            kind, outcome = child.pipe.recv()
        except (EOFError, OSError):
            return self._crashed(child)
        if kind == "fault":
            raise RuntimeError(f"{self._file_of(item)}: a fault in a child process\n{outcome}")
        if kind == "memory":
            return VideoError(
                "VID-092",
                f"takes more than {self._limits.memory / GIBIBYTE:.1f} GiB of memory to decode",
                file=self._file_of(item),
                mend="make the pictures smaller first",
            )
        result: Result | PoselensError = outcome
        return result

    def _crashed(self, child: _Child[Item]) -> PoselensError:
        assert child.item is not None
        file = self._file_of(child.item)
        self._children.remove(child)
        child.process.join()
        code = child.end()
        if code == -signal.SIGKILL:
            return VideoError(
                "VID-090", "the process that decoded it was killed, likely because memory ran out",
                file=file, mend="decode it with fewer --workers",
            )  # fmt: skip
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return VideoError(
            "VID-090", f"the decoder crashed ({ended})", file=file,
            mend="convert it first: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4",
        )  # fmt: skip

    def _timed_out(self, child: _Child[Item]) -> PoselensError:
        assert child.item is not None
        self._children.remove(child)
        child.end()
        return VideoError(
            "VID-091",
            f"not decoded within {self._limits.seconds:g} s",
            file=self._file_of(child.item),
            mend="cut or shrink it first, or raise the limit",
        )

    def close(self) -> None:
        while self._children:
            self._children.pop().end()


def live_with_the_parent() -> None:
    """Leave Ctrl-C to the parent of this process, and end when the parent does."""
    # Ctrl-C reaches the whole group and is the parent's to answer. A parent that is killed can tell
    # nobody: its children would wait for work, or hang in a decoder, for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _serve(work: Callable[[Any], Any], pipe: Connection, memory: int) -> None:
    """Take items and send outcomes until the other end of the pipe is gone."""
    live_with_the_parent()
    _limit_memory(memory)
    pipe.send("ready")
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(_outcome(work, item))
        except OSError:
            return


def _outcome(work: Callable[[Any], Any], item: Any) -> tuple[str, Any]:
    try:
        return "done", work(item)
    except MemoryError:
        return "memory", None
    except PoselensError as fault:
        lacks_memory = isinstance(fault, EnvironmentFault) and fault.code == "ENV-007"
        return ("memory", None) if lacks_memory else ("done", fault)
    except Exception:
        return "fault", traceback.format_exc()


def _limit_memory(memory: int) -> None:
    """Bound what this process may take beyond what it has now."""
    with Path("/proc/self/statm").open() as file:
        held = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
