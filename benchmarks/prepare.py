"""Prepare batches of skeletons whole and clip by clip, in turn, and print milliseconds per batch.

Run: ``python benchmarks/prepare.py --data DIR --batches 40 [--device cuda]``, with one thread. Clip
by clip is the numpy code that the tests compare with; it always runs on the CPU.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

import one_clip

from poselens.clips.resident import SkeletonBatches, read_ready
from poselens.clips.stream import SkeletonAugment, SkeletonInput
from poselens.data.folder import open_folder
from poselens.pose.layouts import get_layout
from poselens.skeleton.streams import stream

KINDS = {
    "body, crop": (
        {"footing": "body", "face": True, "sample": "crop"},
        {"rotation": (0.3, 0.3, 0.3), "interval": (0.5, 1.0)},
    ),
    "range, uniform": (
        {"footing": "range", "sample": "uniform"},
        {"rotation": (1.0, 1.0, 1.0), "scaling": 0.1, "noise": 0.01, "dropped": 0.1},
    ),
}


def one_by_one(folder, clips, settings, augment, rng):
    """Prepare a batch as data processes did."""
    layout = get_layout(folder.info.skeletons["metres"].layout)
    given = settings.arguments() | augment.model_dump(exclude={"flip", "shear"})
    joints = [
        one_clip.prepare(folder.skeleton(clip, "metres").positions, layout=layout, rng=rng, **given)
        for clip in clips
    ]
    return stream(torch.from_numpy(np.stack(joints)), settings.stream, layout)


def milliseconds(device, call, *given):
    """Return what one call takes, the device's work included."""
    start = time.perf_counter()
    call(*given)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    """Run both ways in turn and print one line of JSON for each kind of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device, folder = torch.device(asked.device), open_folder(asked.data)
    rng = np.random.default_rng(0)
    clips = np.arange(len(folder))
    for name, (given, varied) in KINDS.items():
        settings = SkeletonInput(window=52, stream="bone", **given)
        augment = SkeletonAugment(**varied)
        start = time.perf_counter()
        found = read_ready(folder, clips, settings, device=device)
        read = time.perf_counter() - start
        batches = SkeletonBatches(
            found, clips, settings=settings, augment=augment, batch_size=asked.batch, repeats=5
        )
        start = time.perf_counter()
        yielded = iter(batches)
        next(yielded)
        first = time.perf_counter() - start
        whole, single = [], []
        for _ in range(asked.batches):
            whole.append(milliseconds(device, next, yielded))
            chosen = rng.choice(clips, asked.batch)
            single.append(milliseconds(device, one_by_one, folder, chosen, settings, augment, rng))
        print(
            json.dumps(
                {
                    "input": name,
                    "batch": asked.batch,
                    "whole_ms": round(statistics.median(whole), 2),
                    "clip_by_clip_ms": round(statistics.median(single), 2),
                    "read_s": round(read, 2),
                    "first_batch_of_epoch_ms": round(1e3 * first, 1),
                    "clips": len(folder),
                    "device": str(device),
                    "processor": platform.processor() or platform.machine(),
                }
            )
        )


if __name__ == "__main__":
    main()
