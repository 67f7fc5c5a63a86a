"""The shift's kernel is the plain shift: in Triton's interpreter, compiled, and on a GPU."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from poselens.rgb import temporal_shift
from poselens.rgb.temporal_shift import shift

HERE = Path(__file__).parent
COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from poselens.rgb.kernels import move

constants = {"WAY": 1, "BLOCK": 2048}
kinds = {"frames": "*bf16", "out": "*bf16", **{name: "constexpr" for name in constants}}
signature = {name: kinds.get(name, "i32") for name in move.arg_names}
given = {(move.arg_names.index(name),): value for name, value in constants.items()}
for capability in (80, 90):
    source = ASTSource(fn=move, signature=signature, constexprs=given)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    print(len(made.asm["cubin"]))
"""
no_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


@no_triton
def test_the_kernel_is_the_plain_shift_in_the_interpreter():
    """In a process of its own: the interpreter is chosen before Triton is imported."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", HERE / "interpreted_kernels.py"],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
    passed = re.search(r"^(\d+) passed in", told.stdout, re.MULTILINE)
    assert passed is not None, told.stdout
    assert int(passed[1]) == 12


@no_triton
def test_the_kernel_compiles_for_gpus_that_are_not_here(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert told.returncode == 0, told.stderr[-4000:]
    assert [int(size) > 0 for size in told.stdout.split()] == [True, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("causal", [False, True])
def test_the_kernel_is_the_plain_shift_on_a_gpu(monkeypatch, causal):
    frames = torch.randn(24, 64, 7, 9, device="cuda", dtype=torch.bfloat16)
    frames = frames.contiguous(memory_format=torch.channels_last)
    clip = torch.unflatten(frames, 0, (3, 8)).requires_grad_()
    slope = torch.randn_like(clip)
    assert temporal_shift._is_quick(clip), "Triton comes with torch for CUDA"
    found = shift(clip, causal=causal)
    ours = torch.autograd.grad(found, clip, slope)[0]
    monkeypatch.setattr(temporal_shift, "_is_quick", lambda _: False)
    expected = shift(clip, causal=causal)
    assert torch.equal(found, expected)
    assert torch.equal(ours, torch.autograd.grad(expected, clip, slope)[0])
