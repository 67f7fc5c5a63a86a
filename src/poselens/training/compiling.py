"""A network compiled for the step that is taken most often; and where that, or recording, pays."""

import shutil
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from poselens.errors import EnvironmentFault
from poselens.training.config import RgbSection, SkeletonSection

STEPS_THAT_PAY = 4000
"""Steps after which compiling TSM-ResNet50 has saved more than the minute it takes."""


class CompiledNetwork(nn.Module):
    """Run a network through ``torch.compile`` for batches of one size, and as written for others.

    The last batch of an epoch, and one with unreadable clips, would each cost another minute.

    Args:
        network: In training; it keeps its parameters and is what a state is saved of.
        clips: Clips in the batches to compile for.
    """

    def __init__(self, network: nn.Module, *, clips: int) -> None:
        super().__init__()
        self.network = network
        self._clips = clips
        # not a submodule: its parameters are those of ``network``
        self._compiled = (torch.compile(network, dynamic=False),)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return what the network returns."""
        full = inputs[0].shape[0] == self._clips
        outputs: Tensor = (self._compiled[0] if full else self.network)(*inputs)
        return outputs


def missing_for_compiling(device: torch.device) -> str | None:
    """Name what ``torch.compile`` needs on a device and this machine lacks, None if nothing."""
    if device.type == "cuda" and find_spec("triton") is None:
        return "Triton is not installed"
    names = ("cc", "gcc", "clang") if device.type == "cuda" else ("c++", "g++", "clang++")
    if not any(shutil.which(name) for name in names):
        return f"no compiler is on the path ({', '.join(names)})"
    return None


def require_compiler(device: torch.device) -> None:
    """Refuse to compile where that cannot work.

    Raises:
        EnvironmentFault: ``ENV-013`` naming what is missing.
    """
    missing = missing_for_compiling(device)
    if missing is not None:
        raise EnvironmentFault(
            "ENV-013",
            f"the network cannot be compiled: {missing}",
            mend="use --set training.compile=off, or install it",
        )


def compiles(section: RgbSection | SkeletonSection, device: torch.device, *, steps: int) -> bool:
    """Return whether to compile the network; of itself where it pays.

    Raises:
        EnvironmentFault: ``ENV-013`` when it is wanted and something it needs is missing.
    """
    wanted = section.training.compile
    if wanted == "on":
        require_compiler(device)
        return True
    return (
        wanted == "auto"
        and not section.training.deterministic
        and device.type == "cuda"
        and isinstance(section, RgbSection)
        and steps >= STEPS_THAT_PAY
        and missing_for_compiling(device) is None
    )


def replays(section: RgbSection | SkeletonSection, device: torch.device) -> bool:
    """Return whether to record steps; of itself where the host is the slower side."""
    # torch's sorted additions copy from the host, which no recording can hold
    if section.training.in_parts or section.training.deterministic:
        return False
    wanted = section.training.replay
    if wanted == "auto":
        return device.type == "cuda" and isinstance(section, SkeletonSection)
    return wanted == "on" and device.type == "cuda"
