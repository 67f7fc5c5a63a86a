"""Where networks run, and in which precision."""

from typing import Literal

import torch

from poselens.errors import EnvironmentFault, UsageError


def choose_device(name: str) -> torch.device:
    """Return the device called ``cpu``, ``cuda`` or ``auto``.

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
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def use_bf16(choice: Literal["auto", "off", "bf16"], device: torch.device) -> bool:
    """Return whether to autocast to bfloat16; ``auto`` does on GPUs that compute in it."""
    if choice == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return choice == "bf16"
