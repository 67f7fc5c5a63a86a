"""Share of the time that training waits for data where epochs are short.

Run: ``python benchmarks/short_epochs.py``. Draws a data set, and reads it by two loaders in turn:
one begins every epoch with an empty queue, one (``poselens.clips.ahead.Onwards``) reads for the
next while an epoch ends. A batch is taken every ``--step`` milliseconds, as a GPU's step would,
and ``--validation`` milliseconds pass between two epochs. Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from poselens.clips.ahead import Onwards
from poselens.clips.assemble import RgbClips
from poselens.clips.batches import EpochBatches, loaded, make_loader
from poselens.clips.stream import RgbAugment, RgbInput
from poselens.data.folder import ClipFolder, open_folder
from poselens.synth.make import make_dataset

Begin = Callable[[int], Iterable[dict[str, Any]]]


def paced(begin: Begin, asked: argparse.Namespace) -> list[float]:
    """Return the share waited in each epoch; time between epochs is not counted."""
    shares = []
    for epoch in range(asked.epochs):
        waited, begun = 0.0, time.perf_counter()
        source, asking = iter(begin(epoch)), time.perf_counter()
        while next(source, None) is not None:
            waited += time.perf_counter() - asking
            time.sleep(asked.step / 1e3)
            asking = time.perf_counter()
        shares.append(waited / (time.perf_counter() - begun))
        time.sleep(asked.validation / 1e3)
    return shares


def make(folder: ClipFolder, asked: argparse.Namespace, *, ahead: bool) -> Begin:
    """Return what begins an epoch."""
    clips = RgbClips(folder, settings=RgbInput(), augment=RgbAugment(), seed=0)
    batches = EpochBatches(range(len(folder)), batch_size=asked.batch)
    loader = make_loader(clips, batches, workers=asked.workers)
    onwards = Onwards(loader, batches, epochs=asked.epochs)

    def begin(epoch: int) -> Iterable[dict[str, Any]]:
        if ahead:
            onwards.go_to(epoch, 0)
            return onwards
        batches.epoch = epoch
        return loaded(loader)

    return begin


def main() -> None:
    """Draw the data, measure both ways in turn and print."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=cores)
    parser.add_argument("--step", type=float, default=250, help="milliseconds")
    parser.add_argument("--validation", type=float, default=500, help="milliseconds")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shares: dict[str, list[float]] = {"anew": [], "onwards": []}
    with tempfile.TemporaryDirectory() as made:
        root = Path(made) / "drawn"
        make_dataset(root, clips=asked.clips, seed=0, size=(240, 320), workers=cores)
        folder = open_folder(root)
        for _ in range(asked.rounds):
            for name in shares:
                # the first epoch begins with an empty queue either way
                shares[name] += paced(make(folder, asked, ahead=name == "onwards"), asked)[1:]
    found = {
        name: {
            "waited_median": round(statistics.median(values), 4),
            "waited_worst": round(max(values), 4),
        }
        for name, values in shares.items()
    }
    steps = -(-asked.clips // asked.batch)
    facts = {"steps_an_epoch": steps, "cores": cores, "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({**found, **facts, **vars(asked)}, indent=1))


if __name__ == "__main__":
    main()
