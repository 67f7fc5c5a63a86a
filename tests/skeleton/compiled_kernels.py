"""Compiles every kernel for GPUs that need not be here; run in a process of its own.

Writes a line per kernel and capability. ``test_kernels.py`` starts it.
"""

import inspect
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from poselens.skeleton import fused, kernels_space, kernels_time

CONSTANTS = {
    "V": 25,
    "PITCH": fused.pitch(25),
    "WIDTH": 704,
    "JOINTS": fused.TILE,
    "FRAMES": 64,
    "T": 64,
    "THIRD": True,
    "ADD": True,
    "TRAIN": True,
    "MASKED": True,
    "BLOCK": 64,
    "PARTS": 32,
    "PEOPLE": 128,
    "QUARTER": 64,
    "PRECISION": "tf32",
}
NUMBERS = {"momentum": "fp32", "eps": "fp32"}
COUNTS = (
    "channels", "relations", "rows", "people", "length", "share", "parts", "normal", "rectified",
    "joints", "frames", "steps", "stride",
)  # fmt: skip
SINGLE = (
    "bias", "bias_slope", "topology", "counted", "sums", "mean", "scale", "running_mean",
    "running_var", "weight", "weight_slope",
)  # fmt: skip


def kind(name):
    """Return the type of an argument: what is no number is a pointer."""
    if name in CONSTANTS:
        return "constexpr"
    if name in NUMBERS or name in COUNTS:
        return NUMBERS.get(name, "i32")
    return "*fp32" if name in SINGLE else "*bf16"


def main():
    for module in (kernels_space, kernels_time):
        for name, kernel in inspect.getmembers(module, lambda each: isinstance(each, JITFunction)):
            if name.startswith("_"):
                continue
            signature = {argument: kind(argument) for argument in kernel.arg_names}
            constants = {
                (place,): CONSTANTS[argument]
                for place, argument in enumerate(kernel.arg_names)
                if argument in CONSTANTS
            }
            for capability in (80, 90):
                source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
                made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
                sys.stdout.write(f"{name} {capability} {len(made.asm['cubin'])}\n")


if __name__ == "__main__":
    main()
