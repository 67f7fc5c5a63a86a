"""One ONNX network in onnxruntime, and which device really runs it."""

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from poselens.errors import CheckpointError, EnvironmentFault

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A loaded network with one input of pictures.

    Attributes:
        file: Where it came from.
        size: Height and width of the pictures it takes.
        outputs: Names of its outputs.
        provider: What runs it: ``CPUExecutionProvider``, ``CUDAExecutionProvider``, ...
    """

    file: Path
    size: tuple[int, int]
    outputs: tuple[str, ...]
    provider: str
    _session: Any
    _input: str

    def run(
        self, pictures: Float[np.ndarray, "n 3 h w"], wanted: Sequence[str]
    ) -> list[Float[np.ndarray, "n *a"]]:
        """Return the outputs named, one after another."""
        found = self._session.run(list(wanted), {self._input: pictures})
        return [np.asarray(each, np.float32) for each in found]


def open_network(
    file: Path, *, size: tuple[int, int], require_gpu: bool = False, threads: int = 1
) -> OnnxNetwork:
    """Load an ONNX file on the GPU where onnxruntime can use one, else on the CPU.

    Args:
        file: The ``.onnx`` file.
        size: Height and width where the file leaves them open.
        require_gpu: Refuse the CPU. onnxruntime falls back to it without an error, even where CUDA
            is named as available (https://github.com/microsoft/onnxruntime/issues/23372).
        threads: Threads of an operation.

    Raises:
        EnvironmentFault: ``ENV-005`` when onnxruntime is not installed, ``POSE-006`` when a GPU is
            required and the CPU would run it.
        CheckpointError: ``POSE-007`` for a file that is no ONNX network of pictures.
    """
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as fault:
        raise EnvironmentFault(
            "ENV-005",
            "networks in ONNX files need the package onnxruntime",
            mend="pip install 'poselens[rtmpose]', or onnxruntime-gpu for a GPU",
        ) from fault
    session = _session(onnxruntime, file, threads)
    provider = session.get_providers()[0]
    if require_gpu and provider == _CPU:
        available = ", ".join(onnxruntime.get_available_providers())
        raise EnvironmentFault(
            "POSE-006",
            f"a GPU is required, but onnxruntime runs on the CPU (it has {available})",
            file=file,
            mend="install onnxruntime-gpu with the CUDA and cuDNN it needs, and not onnxruntime",
        )
    taken = session.get_inputs()
    shape = list(taken[0].shape) if len(taken) == 1 else []
    if len(shape) != 4 or shape[1] != 3 or taken[0].type != "tensor(float)":
        found = [(each.name, each.type, each.shape) for each in taken]
        raise not_this_network(file, f"its inputs are {found}, expected one of (n, 3, h, w) float")
    fixed = [side if isinstance(side, int) and side > 0 else None for side in shape[2:]]
    return OnnxNetwork(
        file=file,
        size=(fixed[0] or size[0], fixed[1] or size[1]),
        outputs=tuple(each.name for each in session.get_outputs()),
        provider=provider,
        _session=session,
        _input=taken[0].name,
    )


def _session(onnxruntime: Any, file: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # what it logs on stderr comes back as an error, or as the provider that is told
    options.log_severity_level = 4
    usable = onnxruntime.get_available_providers()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return onnxruntime.InferenceSession(
                file.read_bytes(), options, providers=[p for p in (_CUDA, _CPU) if p in usable]
            )
    except OSError as fault:
        raise not_this_network(file, f"cannot read: {fault.strerror}") from fault
    except _faults(onnxruntime) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise not_this_network(file, f"it cannot be loaded: {reason}") from fault


def _faults(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """Return what loading may raise; onnxruntime's errors have no class of their own in common."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    names = ("InvalidProtobuf", "InvalidGraph", "InvalidArgument", "Fail", "NoSuchFile",
             "NotImplemented", "RuntimeException", "EPFail")  # fmt: skip
    own = [getattr(state, name) for name in names if hasattr(state, name)]
    return (RuntimeError, ValueError, *own)


def not_this_network(file: Path, reason: str) -> CheckpointError:
    """Return ``POSE-007`` for a file that is not the network it was given as."""
    return CheckpointError(
        "POSE-007",
        f"not the network expected here: {reason}",
        file=file,
        mend="give an ONNX file of RTMPose as --weights and of RTMDet or YOLOX as --detector",
    )
