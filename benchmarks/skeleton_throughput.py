"""The skeleton branch as written naively and as shipped, in one process: sequences/s and ratios.

Run: ``python benchmarks/skeleton_throughput.py --out FILE.json`` on a GPU. Targets on an H200, at
64 frames, 25 joints, 2 people: training 2,600 sequences/s, with contrast 2,400, inference 12,000,
the contrast of 64 anchors with 40,091 entries 2 ms.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from naive_contrast import naive_contrast
from naive_ctr_gcn import NaiveCtrGcn
from timing import milliseconds
from torch import Tensor
from torch.nn import functional as F

from poselens.clips.device import choose_device
from poselens.pose.layouts import get_layout
from poselens.skeleton.build import build_skeleton_network
from poselens.skeleton.graph import spatial_partition
from poselens.training.config import ContrastSettings
from poselens.training.contrastive import Contrast, build_contrast, contrastive
from poselens.training.objectives import Objective, cross_entropy
from poselens.training.optim import build_optimizer
from poselens.training.stepping import EagerStep, ReplayedStep

LAYOUT, FRAMES, PEOPLE, CLASSES, TRAIN_CLIPS = "ntu-25", 64, 2, 60, 40_091


def make_batch(size: int, device: torch.device) -> dict[str, Any]:
    """Return random joints of everybody, with labels."""
    joints = len(get_layout(LAYOUT))
    return {
        "inputs": (torch.randn(size, 3, FRAMES, joints, PEOPLE, device=device),),
        "label": torch.randint(0, CLASSES, (size,), device=device),
        "index": torch.randperm(TRAIN_CLIPS, device=device)[:size],
        "id": [""] * size,
    }


def make_contrast(device: torch.device) -> Contrast:
    """Return a contrast whose bank of NTU's size is full."""
    labels = np.random.default_rng(0).integers(0, CLASSES, TRAIN_CLIPS)
    contrast = build_contrast(
        ContrastSettings(),
        labels=labels,
        clips=np.arange(TRAIN_CLIPS),
        num_classes=CLASSES,
        joints=len(get_layout(LAYOUT)),
        seed=0,
    ).to(device)
    for clips in torch.arange(TRAIN_CLIPS).split(4096):
        entries = F.normalize(torch.randn(len(clips), 256), dim=1).to(device)
        contrast.bank.write(entries, torch.from_numpy(labels)[clips].to(device), clips.to(device))
    return contrast


def ours_training(size: int, device: torch.device, *, with_contrast: bool) -> tuple[float, float]:
    """Return the time of a step as shipped, and the seconds until the sixth was done."""
    begun = time.perf_counter()
    network = build_skeleton_network(
        layout=get_layout(LAYOUT), num_classes=CLASSES, people=PEOPLE
    ).to(device)
    contrast = make_contrast(device) if with_contrast else None
    objective: Objective = cross_entropy()
    if contrast is not None:
        objective = contrastive(contrast, weight=1.0, label_smoothing=0.0)
    optimizer = build_optimizer(
        network, lr=0.01, momentum=0.9, nesterov=True, weight_decay=4e-4, decay_all=True,
        head_lr_factor=1.0, beside=contrast,
    )  # fmt: skip
    on_gpu = device.type == "cuda"
    eager = EagerStep(network.train(), objective, optimizer, amp=on_gpu, clip_norm=None)
    take = ReplayedStep(eager) if on_gpu else eager
    batch = make_batch(size, device)

    def step() -> None:
        take(batch)
        take.settle()

    for _ in range(6):
        step()
    started = time.perf_counter() - begun
    return milliseconds(step, device, repeats=30 if on_gpu else 2), started


def naive_training(size: int, device: torch.device, *, with_contrast: bool) -> float:
    """Return the time of a step as the equations are written."""
    network = naive_network(device).train()
    contrast = make_contrast(device) if with_contrast else None
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    batch = make_batch(size, device)

    def step() -> None:
        logits, graph = network(batch["inputs"][0])
        loss = F.cross_entropy(logits, batch["label"])
        if contrast is not None:
            loss = loss + naive_contrast(
                contrast.projection(graph), batch["label"], batch["index"],
                bank=contrast.bank.features, held=contrast.bank.clips,
            )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return milliseconds(step, device, repeats=1 if with_contrast else 10)


def naive_network(device: torch.device) -> NaiveCtrGcn:
    """Return the naive network on the device."""
    adjacency = torch.from_numpy(spatial_partition(get_layout(LAYOUT)))
    return NaiveCtrGcn(adjacency=adjacency, people=PEOPLE, num_classes=CLASSES).to(device)


def contrast_alone(device: torch.device, *, size: int = 64) -> tuple[float, float]:
    """Return the times of one contrast, both ways, of the same graphs: ours, naive."""
    contrast, batch = make_contrast(device), make_batch(size, device)
    joints = len(get_layout(LAYOUT))
    graph = torch.randn(size, 3, joints, joints, device=device, requires_grad=True)

    def ours() -> Tensor:
        loss = contrast(graph, batch["label"], batch["index"])
        loss.backward()
        return loss

    def naive() -> None:
        naive_contrast(
            contrast.projection(graph), batch["label"], batch["index"],
            bank=contrast.bank.features, held=contrast.bank.clips,
        ).backward()  # fmt: skip

    quick = milliseconds(recorded(ours) if device.type == "cuda" else ours, device, repeats=10)
    return quick, milliseconds(naive, device, repeats=1)


def inference(size: int, device: torch.device) -> tuple[float, float]:
    """Return the times of a forward pass: ours, naive."""
    joints = make_batch(size, device)["inputs"][0]
    present = torch.ones(size, PEOPLE, dtype=torch.bool, device=device)
    ours = build_skeleton_network(layout=get_layout(LAYOUT), num_classes=CLASSES, people=PEOPLE).to(
        device
    )
    naive = naive_network(device)
    ours.eval(), naive.eval()

    def forward() -> None:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, device.type == "cuda"):
            ours(joints, present)

    def forward_naively() -> None:
        with torch.no_grad():
            naive(joints)

    quick = recorded(forward) if device.type == "cuda" else forward
    return milliseconds(quick, device, repeats=10), milliseconds(
        forward_naively, device, repeats=10
    )


def recorded(work: Callable[[], object]) -> Callable[[], None]:
    """Return a call that replays what ``work`` does on the GPU."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def measure(device: torch.device, sizes: list[int]) -> dict[str, Any]:
    """Measure everything; rates in sequences/s."""
    found: dict[str, Any] = {
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "frames": FRAMES, "joints": len(get_layout(LAYOUT)), "people": PEOPLE,
        "rows": [],
    }  # fmt: skip
    for size in sizes:
        for what in (False, True):
            if what and size != sizes[0]:
                continue
            ours, start = ours_training(size, device, with_contrast=what)
            slow = naive_training(size, device, with_contrast=what)
            name = "training with contrast" if what else "training"
            found["rows"].append(row(name, size, ours, slow) | {"start_s": round(start, 1)})
            print(found["rows"][-1], flush=True)
        found["rows"].append(row("inference", size, *inference(size, device)))
        print(found["rows"][-1], flush=True)
    found["rows"].append(row("contrast alone", 64, *contrast_alone(device)))
    print(found["rows"][-1], flush=True)
    return found


def row(what: str, size: int, ours_ms: float, naive_ms: float) -> dict[str, Any]:
    """Return one line of the table."""
    return {
        "what": what,
        "batch": size,
        "ours_ms": round(ours_ms, 3),
        "naive_ms": round(naive_ms, 3),
        "ours_per_s": round(size / ours_ms * 1e3),
        "naive_per_s": round(size / naive_ms * 1e3),
        "ratio": round(naive_ms / ours_ms, 2),
    }


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    found = measure(choose_device(options.device), options.batch)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
