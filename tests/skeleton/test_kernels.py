"""The kernels are the plain operations: in Triton's interpreter, and on a GPU."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from poselens.pose.layouts import get_layout
from poselens.skeleton import fused
from poselens.skeleton.build import build_skeleton_network

INTERPRETED = Path(__file__).parent / "interpreted_kernels.py"


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_are_the_plain_operations_in_the_interpreter():
    """In a process of its own: the interpreter is chosen before Triton is imported."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", str(INTERPRETED)],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
    passed = re.search(r"^(\d+) passed in", told.stdout, re.MULTILINE)
    assert passed is not None, told.stdout
    assert int(passed[1]) > 30


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_every_kernel_compiles_for_a_gpu_that_is_not_here(tmp_path):
    told = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "compiled_kernels.py")],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert told.returncode == 0, told.stderr[-4000:]
    made = [line.split() for line in told.stdout.splitlines()]
    names = {name for name, _, _ in made}
    assert {"aggregate", "aggregate_backward", "normalise", "look", "relate", "merge"} <= names
    assert len(made) == 2 * len(names) == 26
    assert all(int(size) > 0 for _, _, size in made)


def trained(kernels, *, monkeypatch, amp, dtype=torch.float32):
    """One step's logits, graphs, gradients and statistics on a GPU."""
    monkeypatch.setattr(fused, "is_quick", lambda _: kernels)
    torch.manual_seed(0)
    network = build_skeleton_network(layout=get_layout("ntu-25"), num_classes=6, people=2)
    with torch.no_grad():
        for block in network.blocks:
            block.space.strength.fill_(0.5)
            block.space.norm.weight.fill_(1.0)
    network.to("cuda", dtype)
    joints = torch.randn(4, 3, 30, 25, 2, device="cuda", generator=torch.Generator("cuda"))
    joints = joints.to(dtype)
    joints[1, ..., 1] = torch.nan
    joints[3] = torch.nan
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=amp):
        logits, graph = network.forward_with_graph(joints)
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(4, device="cuda"))
    (loss + graph.float().square().sum()).backward()
    slopes = {name: values.grad.flatten() for name, values in network.named_parameters()}
    return {
        "logits": logits.detach().double(),
        "graph": graph.detach().double(),
        "all gradients": torch.cat(list(slopes.values())).double(),
        "statistics": torch.cat([each.flatten().double() for each in network.buffers()]),
    }


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("amp", [False, True])
def test_kernels_are_the_plain_operations_on_a_gpu(monkeypatch, amp):
    assert fused.is_quick(torch.ones(1, device="cuda")), "Triton comes with torch for CUDA"
    for settings in (torch.backends.cuda.matmul, torch.backends.cudnn):
        monkeypatch.setattr(settings, "allow_tf32", False)
    exact = trained(False, monkeypatch=monkeypatch, amp=False, dtype=torch.float64)
    plain, found = (trained(way, monkeypatch=monkeypatch, amp=amp) for way in (False, True))
    # four clips make steep gradients: in fp32 the plain spelling itself is 2e-3 off
    least = 0.0 if amp else 0.01
    for name, size in exact.items():
        apart, kept = (torch.linalg.vector_norm(way[name] - size) for way in (found, plain))
        assert apart <= 2 * kept + least * torch.linalg.vector_norm(size).clamp(min=0.1), name
