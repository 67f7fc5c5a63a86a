"""Clips a second that the loader of training hands over: from videos, raw and packed regions.

Run: ``python benchmarks/feed.py --workers 16 --consume 128``. Draws a data set unless
``--data DIR`` names one, caches its regions and reads batches with training's own loader and
augmentation. ``--consume MS`` takes a batch every so many milliseconds, as a GPU's step would, and
measures the share of the time spent waiting for data. With ``--device cuda`` batches are moved
there. All files fit in memory: the disk is not measured, only the bytes a clip it would have to
give. Prints one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL
import torch

from poselens.clips.assemble import RgbClips
from poselens.clips.batches import EpochBatches, loaded, make_loader, to_device
from poselens.clips.regions import cache_folder, cached_regions
from poselens.clips.stream import RgbAugment, RgbInput
from poselens.data.folder import ClipFolder, open_folder
from poselens.data.video import probe
from poselens.synth.make import make_dataset

SETTINGS = RgbInput()
FORMS = ("none", "raw", "packed")


def processor() -> str:
    """Return the processor's name."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def prepare(
    folder: ClipFolder, form: str, augment: RgbAugment, workers: int, *, whole: bool
) -> tuple[RgbClips, dict[str, Any]]:
    """Return the clips in one form, and what it cost to make it."""
    if form == "none":
        return RgbClips(folder, settings=SETTINGS, augment=augment, seed=0, whole=whole), {}
    begun = time.perf_counter()
    cache = cached_regions(folder, range(len(folder)), SETTINGS, form, workers=workers)
    built = time.perf_counter() - begun
    frames = sum(cache.frames(clip) for clip in range(len(folder)))
    place = cache_folder(folder.root, SETTINGS, form)
    size = sum(file.stat().st_size for file in place.iterdir())
    facts = {"built_s": round(built, 1), "bytes_a_frame": round(size / frames)}
    clips = RgbClips(folder, settings=SETTINGS, augment=augment, seed=0, cache=cache, whole=whole)
    return clips, facts


def alone(clips: RgbClips, number: int, count: int = 48) -> float:
    """Return the processor's milliseconds for a clip in this process, its median."""
    spent = []
    for clip in range(count):
        begun = time.process_time()
        clips[0, 0, clip % number]
        spent.append(time.process_time() - begun)
    return 1e3 * statistics.median(spent)


def feed(
    clips: RgbClips,
    number: int,
    asked: argparse.Namespace,
    step: Callable[[dict[str, Any]], None],
) -> dict[str, float]:
    """Read batches, let ``step`` use each, and return clips a second and the share waited."""
    # what was read ahead before the clock started is not counted
    ahead = 2 * max(asked.workers, 1)
    needed = (asked.batches + ahead) * asked.batch
    batches = EpochBatches(np.arange(number), batch_size=asked.batch, repeats=-(-needed // number))
    source = loaded(make_loader(clips, batches, workers=asked.workers))
    waited, begun, seen = 0.0, 0.0, 0
    for index in range(asked.batches + ahead):
        if index == ahead:
            waited, begun, seen = 0.0, time.perf_counter(), 0
        asking = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - asking
        seen += len(batch["id"])
        step(batch)
    took = time.perf_counter() - begun
    source.close()
    return {"clips_per_s": round(seen / took, 1), "waited_share": round(waited / took, 4)}


def measure(folder: ClipFolder, form: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure one form: in one process, as fast as it goes, and at the pace of a step."""
    device = torch.device(asked.device)
    augment = RgbAugment(brightness=asked.brightness)
    # as in training: a GPU cuts and resizes, what processes read are whole regions
    whole = device.type == "cuda"
    clips, facts = prepare(folder, form, augment, asked.workers, whole=whole)

    def taken(batch: dict[str, Any]) -> None:
        if device.type == "cuda":
            to_device(batch, device, SETTINGS)
            torch.cuda.synchronize()

    def paced(batch: dict[str, Any]) -> None:
        begun = time.perf_counter()
        taken(batch)
        time.sleep(max(0.0, asked.consume / 1e3 - (time.perf_counter() - begun)))

    if "bytes_a_frame" in facts:
        facts["mb_a_clip_read"] = round(SETTINGS.segments * facts["bytes_a_frame"] / 1e6, 3)
    facts["cpu_ms_a_clip"] = round(alone(clips, len(folder)), 2)
    facts["clips_per_s_per_core"] = round(1e3 / facts["cpu_ms_a_clip"], 1)
    facts |= feed(clips, len(folder), asked, taken)
    if asked.consume is not None:
        found = feed(clips, len(folder), asked, paced)
        facts["consumed"] = {"step_ms": asked.consume, **found}
    return facts


def main() -> None:
    """Draw or open the data, measure every form and print."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="data set folder; drawn by default")
    parser.add_argument("--clips", type=int, default=64, help="clips to draw")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--workers", type=int, default=cores)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--consume", type=float, metavar="MS", help="milliseconds of a step")
    parser.add_argument("--brightness", type=float, default=0.0)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        root, begun = asked.data, time.perf_counter()
        if root is None:
            root = Path(made) / "drawn"
            size = (asked.height, asked.width)
            make_dataset(root, clips=asked.clips, seed=0, size=size, workers=asked.workers or 1)
        drawn_s = round(time.perf_counter() - begun, 1)
        folder = open_folder(root)
        video = folder.video_path(0)
        facts = None if video is None else probe(video)
        print(
            json.dumps(
                {
                    "forms": {form: measure(folder, form, asked) for form in asked.forms},
                    "clips": len(folder),
                    "source": facts and f"{facts.width}x{facts.height}, {facts.frames} frames",
                    "drawn_s": drawn_s,
                    "frames_a_clip": SETTINGS.segments,
                    "size": [SETTINGS.scale, SETTINGS.size],
                    "batch": asked.batch,
                    "batches": asked.batches,
                    "workers": asked.workers,
                    "cores": cores,
                    "processor": processor(),
                    "device": torch.cuda.get_device_name() if asked.device == "cuda" else "cpu",
                    "load_before": round(os.getloadavg()[0], 1),
                    "versions": {
                        "python": platform.python_version(),
                        "torch": torch.__version__,
                        "av": av.__version__,
                        "pillow": PIL.__version__,
                    },
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
