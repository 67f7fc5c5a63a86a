"""Training steps on one and on several GPUs: clips/s, and ratios to one.

The steps are those of ``poselens train``: bfloat16, recorded where the host is the slower side,
with everything that ranks tell each other. Batches are random and lie on the GPU, so that reading
clips plays no part. ``weak`` keeps the clips of a GPU (64), ``strong`` those of a step (64).

On a machine with four GPUs (each line a minute or two; the last a second)::

    python benchmarks/many_gpus.py --out gpus.jsonl
    torchrun --standalone --nproc-per-node 2 benchmarks/many_gpus.py --out gpus.jsonl
    torchrun --standalone --nproc-per-node 4 benchmarks/many_gpus.py --out gpus.jsonl
    python benchmarks/many_gpus.py --read gpus.jsonl

With the RGB network compiled, two minutes more each: ``--branch rgb --compiled``. Without recorded
steps: ``--eager``. To look for faults on a CPU::

    torchrun --standalone --nproc-per-node 2 benchmarks/many_gpus.py --device cpu --tiny

Targets: at least 1.9 times one GPU with two, 3.6 times with four (weak).
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from poselens.clips.batches import share_of
from poselens.clips.device import choose_device
from poselens.pose.layouts import get_layout
from poselens.rgb.build import VARIANTS, build_rgb_network
from poselens.skeleton.build import build_skeleton_network
from poselens.training.compiling import CompiledNetwork
from poselens.training.config import ContrastSettings
from poselens.training.contrastive import Contrast, build_contrast, contrastive
from poselens.training.objectives import cross_entropy
from poselens.training.optim import build_optimizer
from poselens.training.ranks import Ranks, joined
from poselens.training.shared_norm import share_statistics
from poselens.training.stepping import EagerStep, ReplayedStep, TakeStep

LAYOUT, CLASSES = "ntu-25", 60


class Case:
    """One branch, its network and its random batches.

    Args:
        branch: ``rgb`` or ``skeleton``.
        options: What the command line asks for.
        device: Where it runs.
        ranks: Those that take the steps together.
    """

    def __init__(
        self, branch: str, options: argparse.Namespace, device: torch.device, ranks: Ranks
    ) -> None:
        self.branch, self.options, self.device, self.ranks = branch, options, device, ranks
        self.entries = 200 if options.tiny else 40_091

    def network(self) -> nn.Module:
        """Return the network, with the same weights on every rank."""
        torch.manual_seed(0)
        if self.branch == "rgb":
            tiny = {"backbone": "resnet18", "width": 0.125} if self.options.tiny else {}
            network: nn.Module = build_rgb_network(
                num_classes=CLASSES, **{**VARIANTS["paper"], **tiny}
            )
        else:
            tiny = {"width": 16, "blocks": (1, 1, 1)} if self.options.tiny else {}
            network = build_skeleton_network(
                layout=get_layout(LAYOUT), num_classes=CLASSES, people=2, **tiny
            )
        network = network.to(self.device).train()
        if self.options.sync and self.ranks.size > 1:
            share_statistics(network)
        self.ranks.follow(network)
        return network

    def batch(self, clips: int) -> dict[str, Any]:
        """Return this rank's part of a random batch of so many clips."""
        places = range(clips)[share_of(clips, self.ranks.share)]
        own = len(places)
        torch.manual_seed(1 + self.ranks.rank)
        if self.branch == "rgb":
            side = 64 if self.options.tiny else 224
            frames = torch.randn(own * 8, 3, side, side, device=self.device)
            frames = frames.contiguous(memory_format=torch.channels_last)
            inputs = frames.unflatten(0, (own, 8))
        else:
            joints = len(get_layout(LAYOUT))
            inputs = torch.randn(own, 3, 64, joints, 2, device=self.device)
        index = (torch.arange(own) * self.ranks.size + self.ranks.rank) % self.entries
        counts = [len(range(clips)[share_of(clips, (r, self.ranks.size))])
                  for r in range(self.ranks.size)]  # fmt: skip
        return {
            "inputs": (inputs,),
            "label": torch.randint(0, CLASSES, (own,), device=self.device),
            "index": index.to(self.device),
            "id": [""] * own,
            **({"counts": tuple(counts)} if self.ranks.size > 1 else {}),
        }

    def contrast(self) -> Contrast | None:
        """Return the contrast of the skeleton branch, whose bank of NTU's size is full."""
        if self.branch == "rgb":
            return None
        labels = np.random.default_rng(0).integers(0, CLASSES, self.entries)
        contrast = build_contrast(
            ContrastSettings(),
            labels=labels,
            clips=np.arange(self.entries),
            num_classes=CLASSES,
            joints=len(get_layout(LAYOUT)),
            seed=0,
        ).to(self.device)
        generator = torch.Generator().manual_seed(2)
        slots = contrast.bank.features.shape[:2]
        features = F.normalize(torch.randn(*slots, 256, generator=generator), dim=-1)
        contrast.bank.features.copy_(features)
        homes = contrast.bank.homes
        assert homes is not None
        contrast.bank.clips.view(-1)[homes] = torch.arange(self.entries, device=self.device)
        return contrast

    def take(self, clips: int) -> TakeStep:
        """Return a step of the network."""
        network, contrast = self.network(), self.contrast()
        objective = cross_entropy()
        if contrast is not None:
            objective = contrastive(contrast, weight=1.0, label_smoothing=0.0)
        optimizer = build_optimizer(
            network, lr=1e-3, momentum=0.9, nesterov=False, weight_decay=5e-4, decay_all=True,
            head_lr_factor=1.0, beside=contrast,
        )  # fmt: skip
        if self.options.compiled and self.branch == "rgb":
            own = len(range(clips)[share_of(clips, self.ranks.share)])
            network = CompiledNetwork(network, clips=own)
        on_gpu = self.device.type == "cuda"
        step = EagerStep(
            network, objective, optimizer, amp=on_gpu, clip_norm=20.0, ranks=self.ranks
        )
        recorded = on_gpu and self.branch == "skeleton" and not self.options.eager
        return ReplayedStep(step) if recorded else step

    def measure(self, clips: int) -> dict[str, float]:
        """Return how long a step of so many clips takes, and until the first were done."""
        begun = time.perf_counter()
        take, batch = self.take(clips), self.batch(clips)

        def steps(count: int) -> float:
            self.ranks.wait()
            started = time.perf_counter()
            for _ in range(count):
                losses = take(batch)
                # what the loop asks the others in each step
                self.ranks.highest(0)
                self.ranks.counts(len(batch["id"]), 0)
                take.settle()
                losses.total.item()
            self.ranks.wait()
            return (time.perf_counter() - started) / count

        steps(8)
        start = time.perf_counter() - begun
        repeats = 3 if self.options.tiny else self.options.repeats
        best = min(steps(repeats) for _ in range(3))
        return {
            "step_ms": round(best * 1e3, 3),
            "clips_per_s": round(clips / best, 1),
            "start_s": round(start, 1),
        }


def measure_all(options: argparse.Namespace) -> None:
    """Measure every case; rank 0 prints a line for each, and appends it to a file."""
    device = choose_device(options.device)
    with joined(device, share_gpu=False) as ranks:
        for branch in options.branch:
            for scaling in options.scaling:
                per_gpu = 4 if options.tiny else options.batch
                clips = per_gpu * (ranks.size if scaling == "weak" else 1)
                found = Case(branch, options, device, ranks).measure(clips)
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                line = {
                    "branch": branch,
                    "scaling": scaling,
                    "ranks": ranks.size,
                    "clips": clips,
                    **found,
                    "way": "compiled" if options.compiled and branch == "rgb"
                    else "eager" if options.eager or branch == "rgb" else "recorded",
                    "statistics": "of all ranks" if options.sync else "of each rank",
                    "hardware": torch.cuda.get_device_name() if device.type == "cuda"
                    else platform.machine(),
                    "torch": torch.__version__,
                    "date": time.strftime("%Y-%m-%d"),
                }  # fmt: skip
                if ranks.leads:
                    print(json.dumps(line), flush=True)
                    if options.out:
                        with options.out.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(line) + "\n")


def read(paths: list[Path]) -> None:
    """Print each line with its ratio to one rank of the same case."""
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines() if line]
    alike = ("branch", "scaling", "way", "statistics", "hardware", "torch")
    ones = {tuple(row[key] for key in alike): row for row in rows if row["ranks"] == 1}
    for row in rows:
        one = ones.get(tuple(row[key] for key in alike))
        ratio = f"{row['clips_per_s'] / one['clips_per_s']:.2f}x" if one else "no line of one rank"
        print(
            f"{row['branch']:9}{row['scaling']:7}{row['way']:9} {row['ranks']} ranks "
            f"{row['clips']:4} clips {row['step_ms']:9.2f} ms {row['clips_per_s']:9.1f}/s  {ratio}"
        )


def main() -> None:
    """Measure or read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--branch", nargs="+", default=["rgb", "skeleton"])
    parser.add_argument("--scaling", nargs="+", default=["weak", "strong"])
    parser.add_argument("--batch", type=int, default=64, help="Clips of a GPU.")
    parser.add_argument("--repeats", type=int, default=30, help="Timed steps, three times.")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--sync", action="store_true", help="Batch statistics of all ranks.")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path, nargs="+")
    options = parser.parse_args()
    if options.read:
        read(options.read)
    else:
        measure_all(options)


if __name__ == "__main__":
    main()
