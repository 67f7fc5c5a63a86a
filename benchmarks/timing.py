"""How long a call takes, for the benchmarks of both branches."""

import statistics
import time
from collections.abc import Callable

import torch


def milliseconds(
    work: Callable[[], object], device: torch.device, *, repeats: int, warm: int | None = None
) -> float:
    """Return the median time of a call, in ms.

    Args:
        work: The call.
        device: Waited for before and after it.
        repeats: Timed calls.
        warm: Calls before those; None for a quarter of them, and none for a single one.
    """
    if warm is None:
        warm = 0 if repeats == 1 else max(3, repeats // 4)
    times = []
    for turn in range(warm + repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn >= warm:
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3
