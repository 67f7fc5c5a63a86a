"""Where networks run, and in which precision."""

import os
from typing import Literal

import torch

from poselens.errors import EnvironmentFault, UsageError


def choose_device(name: str) -> torch.device:
    """Return the device called ``cpu``, ``cuda`` or ``auto``; matrix products on GPUs use TF32.

    Raises:
        UsageError: ``CFG-007`` for another name.
        EnvironmentFault: ``ENV-010`` when a GPU is asked for and none can be used.
    """
    if name not in ("cpu", "cuda", "auto"):
        raise UsageError("CFG-007", f"found device {name!r}, expected cpu, cuda or auto")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise EnvironmentFault(
            "ENV-010", "no usable GPU", mend="use --device auto or cpu, or install a CUDA torch"
        )
    if not found or name == "cpu":
        return torch.device("cpu")
    # one clip size per run, so the search for the fastest convolution pays; TF32 keeps 10 bits
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda")


def data_processes(device: torch.device, *, ranks: int = 1) -> int:
    """Return how many processes prepare clips: as many as cores for a GPU, half for a CPU network.

    On a CPU the network's own threads need the cores; more processes than that slow both down.

    Args:
        device: Where the network is.
        ranks: Processes of this machine that train, and share its cores.
    """
    cores = max(1, len(os.sched_getaffinity(0)) // ranks)
    return min(cores, 16) if device.type == "cuda" else max(1, cores // 2)


def use_bf16(choice: Literal["auto", "off", "bf16", "fp16"], device: torch.device) -> bool:
    """Return whether to autocast to bfloat16; ``auto`` does on GPUs that compute in it."""
    if choice == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return choice == "bf16"
