"""Kernels that add up in one order, where a run is to be repeated bit for bit on a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from poselens.errors import UsageError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_SIZES = ":4096:8"
"""Eight buffers of 4 MiB: what torch asks for before it lets cuBLAS run in this mode."""
_REFUSALS = ("deterministic implementation", "Deterministic behavior was enabled")


@contextmanager
def deterministic(*, wanted: bool) -> Iterator[None]:
    """Let torch take only algorithms that give the same bits each time, while the block runs.

    cuDNN chooses without a race, cuBLAS has buffers of its own, and scattered additions are sorted
    first. The kernels of ``skeleton/quick`` add up in one order anyway. On a CPU nothing changes,
    for nothing there depends on chance.

    Source: PyTorch's documentation, "Reproducibility" and ``torch.use_deterministic_algorithms``.

    Args:
        wanted: Nothing is done without.

    Raises:
        UsageError: ``TRAIN-001`` for an operation that torch has no such algorithm of.
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    flags = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    # read when cuBLAS is first used; a value of the user's own is theirs
    os.environ.setdefault(WORKSPACE, _SIZES)
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as fault:
        if not any(word in str(fault) for word in _REFUSALS):
            raise
        raise UsageError(
            "TRAIN-001",
            f"training.deterministic=true, and {str(fault).partition('. ')[0]}",
            mend="leave the setting out; or start the run in a process of its own, where it was "
            "not the first",
        ) from fault
    finally:
        torch.use_deterministic_algorithms(flags[0])
        cudnn.deterministic, cudnn.benchmark = flags[1:]
