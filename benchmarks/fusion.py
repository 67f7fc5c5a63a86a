"""Make up scores of many clips, fit fusion weights on them, print seconds and peak memory.

Run: ``taskset -c 0,1 python benchmarks/fusion.py --clips 100000 --classes 99 --streams 6 --out X``.
Target: each fit under 10 s on 2 cores. Streams make errors in common, as real ones do, and know the
true class of 60 to 90 % of the clips; with ``--missing`` some streams lack some clips.
"""

import argparse
import json
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from poselens.checkpoint import write_json
from poselens.fusion.calibration import fit_temperature
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fit_weights, fuse_with
from poselens.types import Scores

WAYS: dict[str, dict[str, Any]] = {
    "likelihood": {},
    "accuracy": {"objective": "accuracy"},
    "likelihood per class": {"per_class": True},
    "accuracy per class": {"objective": "accuracy", "per_class": True},
}


def make_up(clips: int, classes: int, streams: int, missing: float) -> list[Scores]:
    """Return streams of logits; half of each one's noise is common to all."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, clips)
    ids = [f"clip-{clip:06}" for clip in range(clips)]
    names = [f"class-{label:02}" for label in range(classes)]
    common = draw.standard_normal((clips, classes), dtype=np.float32)
    rows = np.arange(clips)
    made = []
    for stream in range(streams):
        logits = draw.standard_normal((clips, classes), dtype=np.float32)
        logits += common
        logits[rows, labels] += np.float32(4.6 - 0.25 * stream)
        logits *= np.float32(1.0 + 0.3 * stream)
        if stream and missing:
            logits[draw.random(clips) < missing] = np.nan
        made.append(Scores(logits, ids, labels, names, f"stream-{stream}"))
    return made


def seconds(work: Any) -> tuple[float, float, Any]:
    """Return wall and processor seconds of a call, and what it returns."""
    wall, used = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - used, found


def main() -> None:
    """Measure every way of fitting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=99)
    parser.add_argument("--streams", type=int, default=6)
    parser.add_argument("--missing", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    scores = make_up(given.clips, given.classes, given.streams, given.missing)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    known = [np.isfinite(each.logits[:, 0]) for each in scores]
    results: dict[str, Any] = {
        "clips": given.clips,
        "classes": given.classes,
        "streams": given.streams,
        "missing": given.missing,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "top1_of_streams": [
            round(float((each.logits[rows].argmax(axis=1) == each.labels[rows]).mean()), 4)
            for each, rows in zip(scores, known, strict=True)
        ],
        "scores_mb": round(base),
        "fits": {},
    }
    wall, used, _ = seconds(
        lambda: [
            fit_temperature(each.logits[rows], each.labels[rows])
            for each, rows in zip(scores, known, strict=True)
        ]
    )
    results["temperatures_s"] = round(wall, 2)
    for name, options in WAYS.items():
        taken = [
            seconds(lambda options=options: fit_weights(scores, **options))
            for _ in range(given.repeats)
        ]
        wall, used, fitted = min(taken, key=lambda entry: entry[0])
        results["fits"][name] = {
            "wall_s": round(wall, 2),
            "slowest_wall_s": round(max(entry[0] for entry in taken), 2),
            "processor_s": round(used, 2),
            "top1": round(fitted.accuracy or 0.0, 5),
            "nll": round(fitted.nll or 0.0, 5),
            "weights": [round(weight, 3) for weight in fitted.weights.values()],
        }
    results["fuse_s"] = round(seconds(lambda: fuse(scores, [1.0] * len(scores)))[0], 2)
    results["fuse_per_class_s"] = round(seconds(lambda: fuse_with(scores, fitted))[0], 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results["peak_mb_beyond_scores"] = round(peak - base)
    print(json.dumps(results, indent=1))
    if given.out is not None:
        write_json(given.out, results)


if __name__ == "__main__":
    main()
