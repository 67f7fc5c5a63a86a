"""The work of ``data.children`` on the machines of a Ray cluster; an optional engine.

A task takes a few clips and does each in a child of its own, so that a clip which crashes, hangs or
swells costs itself alone, as on one machine. A task whose machine is lost is done again by Ray;
what it wrote before is replaced, so that this does no harm. All machines must see the videos and
the output under the same paths.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from poselens.data.children import Limits, in_children
from poselens.errors import EnvironmentFault, PoselensError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 16
"""Clips of a task: enough to pay for starting a child, few enough to share out evenly."""

_AHEAD = 2  # tasks handed over for each that can run
_TRIES = 3


def in_ray(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    file_of: Callable[[Item], Path],
    workers: int | None,
    limits: Limits,
) -> Iterator[tuple[Item, Result | PoselensError]]:
    """Call ``work`` for every item in Ray tasks; yield each outcome as it comes.

    Connects to the cluster that ``RAY_ADDRESS`` names, else starts Ray on this machine.

    Args:
        work: A function that can be pickled, as ``file_of``.
        items: What to work on.
        file_of: The file that an error about an item names.
        workers: Cores of this machine to use where Ray is started; None for all.
        limits: Of one item.

    Raises:
        EnvironmentFault: ``ENV-005`` when Ray is not installed, ``POSE-016`` when a task's machine
            was lost again and again.
        RuntimeError: With the task's traceback, when ``work`` has a fault.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as fault:
        raise EnvironmentFault(
            "ENV-005", "--engine ray needs the package ray", mend="pip install 'poselens[ray]'"
        ) from fault
    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=workers, log_to_driver=False, include_dashboard=False)
    try:
        yield from _outcomes(ray, work, iter(items), file_of, limits)
    finally:
        if started:
            ray.shutdown()


def _outcomes(
    ray: Any,
    work: Callable[[Item], Result],
    items: Iterator[Item],
    file_of: Callable[[Item], Path],
    limits: Limits,
) -> Iterator[tuple[Item, Result | PoselensError]]:
    task = ray.remote(num_cpus=1, max_retries=_TRIES)(do_chunk)
    ahead = _AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    running: list[Any] = []
    while True:
        while len(running) < ahead and (chunk := list(islice(items, CHUNK))):
            running.append(task.remote(work, chunk, file_of, limits))
        if not running:
            return
        (done,), running = ray.wait(running, num_returns=1)
        try:
            yield from ray.get(done)
        except ray.exceptions.WorkerCrashedError as fault:
            raise EnvironmentFault(
                "POSE-016",
                f"Ray lost the worker of a task {_TRIES + 1} times",
                mend="look at the cluster; the same command goes on",
            ) from fault


def do_chunk(
    work: Callable[[Item], Result],
    chunk: list[Item],
    file_of: Callable[[Item], Path],
    limits: Limits,
) -> list[tuple[Item, Result | PoselensError]]:
    """Do a few items in a child of this process, one after another."""
    return list(in_children(work, chunk, file_of=file_of, workers=1, limits=limits))
