"""The RGB branch as written naively and as shipped, in one process: clips/s and ratios.

Run: ``python benchmarks/rgb_throughput.py --out FILE.json`` on a GPU. Targets on an H200, batch
64, 8 frames of 224x224: training TSM-ResNet50 650, with STAA 500; inference 2,400 and 1,800.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from naive_tsm import naively
from timing import milliseconds
from torch import Tensor, nn

from poselens.clips.device import choose_device
from poselens.rgb.build import VARIANTS, RgbOptions, build_rgb_network
from poselens.rgb.folded import fold
from poselens.rgb.network import RgbNetwork
from poselens.training.compiling import CompiledNetwork
from poselens.training.objectives import cross_entropy
from poselens.training.optim import build_optimizer
from poselens.training.stepping import EagerStep, ReplayedStep

CLASSES = 99
WITHOUT: RgbOptions = {"attend": False, "aggregate": False}
NETWORKS: dict[str, RgbOptions] = {
    "TSM": {"backbone": "resnet50", **WITHOUT},
    "TSM + STAA (paper)": VARIANTS["paper"],
    "TSM + STAA (every second block)": VARIANTS["best"],
    "no shift": {"backbone": "resnet50", "shift": False, **WITHOUT},
}


class Bench:
    """What all measurements share.

    Args:
        batch: Clips per step.
        size: Side of a frame.
        repeats: Timed calls.
    """

    def __init__(self, *, batch: int, size: int, repeats: int, device: torch.device) -> None:
        self.batch, self.size, self.repeats, self.device = batch, size, repeats, device

    def clips(self, *, naive: bool) -> Tensor:
        """Return random clips, frames in the order of memory that a loader gives them."""
        frames = torch.randn(self.batch * 8, 3, self.size, self.size, device=self.device)
        if not naive:
            frames = frames.contiguous(memory_format=torch.channels_last)
        return frames.unflatten(0, (self.batch, 8))

    def network(self, name: str) -> RgbNetwork:
        """Return a network with weights of its own start."""
        torch.manual_seed(0)
        return build_rgb_network(num_classes=CLASSES, **NETWORKS[name]).to(self.device)

    def training(self, name: str, way: str) -> dict[str, Any]:
        """Time steps; ``way`` is naive, eager or compiled."""
        network: nn.Module = self.network(name)
        network = naively(network) if way == "naive" else network
        network.train()
        optimizer = build_optimizer(
            network,
            lr=0.01,
            momentum=0.9,
            nesterov=False,
            weight_decay=5e-4,
            decay_all=True,
            head_lr_factor=5.0,
        )
        stepped = CompiledNetwork(network, clips=self.batch) if way == "compiled" else network
        step = EagerStep(
            stepped,
            cross_entropy(),
            optimizer,
            amp=way != "naive" and self.device.type == "cuda",
            clip_norm=20.0,
        )
        replays = way == "compiled" and self.device.type == "cuda"
        take = ReplayedStep(step) if replays else step
        batch = {
            "inputs": (self.clips(naive=way == "naive"),),
            "label": torch.randint(0, CLASSES, (self.batch,), device=self.device),
            "index": torch.arange(self.batch, device=self.device),
            "id": [""] * self.batch,
        }

        def work() -> None:
            take(batch)
            take.settle()

        begun = time.perf_counter()
        for _ in range(6):
            work()
        ready = time.perf_counter() - begun
        taken = milliseconds(work, self.device, warm=4, repeats=self.repeats)
        return self._row(name, f"training, {way}", taken, until_sixth_step_s=round(ready, 1))

    @torch.no_grad()
    def inference(self, name: str, way: str) -> dict[str, Any]:
        """Time forward passes; ``way`` is naive or shipped."""
        network = self.network(name)
        clips = self.clips(naive=way == "naive")
        ran: nn.Module = naively(network).eval() if way == "naive" else self._folded(network)
        taken = milliseconds(lambda: ran(clips), self.device, warm=5, repeats=self.repeats)
        return self._row(name, f"inference, {way}", taken)

    def _folded(self, network: RgbNetwork) -> RgbNetwork:
        on_gpu = self.device.type == "cuda"
        return fold(network, dtype=torch.bfloat16 if on_gpu else torch.float32)

    @torch.no_grad()
    def apart(self, name: str) -> float:
        """Return how far logits of both spellings lie apart, as a share of their deviation."""
        network = self.network(name)
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
        network.train()(self.clips(naive=True)[:4])
        nn.init.normal_(network.fc.weight)
        few = self.clips(naive=True)[:8]
        expected = naively(network).eval()(few)
        found = self._folded(network)(few)
        return float((found - expected).abs().mean() / expected.std())

    def _row(self, name: str, what: str, taken: float, **more: Any) -> dict[str, Any]:
        row = {
            "network": name,
            "what": what,
            "ms": round(taken, 2),
            "clips_per_second": round(self.batch / taken * 1e3, 1),
            **more,
        }
        print(json.dumps(row), flush=True)
        return row


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--no-compile", action="store_true", help="leave compiled rows out")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    asked = parser.parse_args()
    device = choose_device("auto")
    bench = Bench(batch=asked.batch, size=asked.size, repeats=asked.repeats, device=device)
    rows, ratios, apart = [], {}, {}
    for name in asked.networks:
        ways = ["naive", "eager"] + ([] if asked.no_compile else ["compiled"])
        trained = {way: bench.training(name, way) for way in ways}
        run = {way: bench.inference(name, way) for way in ("naive", "shipped")}
        rows += [*trained.values(), *run.values()]
        ratios[name] = {
            "training": round(trained["naive"]["ms"] / trained[ways[-1]]["ms"], 2),
            "inference": round(run["naive"]["ms"] / run["shipped"]["ms"], 2),
        }
        apart[name] = bench.apart(name)
    found = {
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "batch": asked.batch,
        "size": asked.size,
        "rows": rows,
        "times_as_fast_as_naive": ratios,
        "logits_apart": apart,
    }
    asked.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"times as fast as naive": ratios, "logits apart": apart}, indent=2))


if __name__ == "__main__":
    main()
