"""Time the evaluation of many clips with every figure's interval, and what goes beside it.

Run: ``python benchmarks/evaluation.py --out FILE``. Target: 100,000 clips of 99 classes, fused of
six streams, 1,000 resamples, under 5 s on 2 cores. The fusion itself is timed beside it.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from poselens.evaluation.conformal import evaluate_conformal, fit_conformal
from poselens.evaluation.hierarchy import evaluate_hierarchy
from poselens.evaluation.metrics import evaluate
from poselens.evaluation.paired import compare_pair
from poselens.evaluation.unknown import risk_coverage
from poselens.fusion.scores import fuse
from poselens.types import Scores

STREAMS = ("rgb", "joint", "bone", "joint-motion", "bone-motion", "rgb-difference")


def made_up(clips: int, classes: int) -> list[Scores]:
    """Return streams of unequal strength that err on the same clips."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, clips)
    hard = draw.normal(0, 1, clips)
    ids = [f"clip{row:06}" for row in range(clips)]
    names = [f"class{column:03}" for column in range(classes)]
    streams = []
    for strength, name in zip(np.linspace(3.5, 2.5, len(STREAMS)), STREAMS, strict=True):
        logits = draw.standard_normal((clips, classes), dtype=np.float32)
        logits[np.arange(clips), labels] += strength + hard
        streams.append(Scores(logits, ids, labels, names, name))
    return streams


def seconds(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the median time of a call, by the clock and of processors: others may use them too."""
    clock, processors = [], []
    for _ in range(repeats):
        start, spent = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start)
        processors.append(time.process_time() - spent)
    return {
        "clock": round(statistics.median(clock), 2),
        "processors": round(statistics.median(processors), 2),
    }


def main() -> None:
    """Time everything and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=99)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    streams = made_up(asked.clips, asked.classes)
    share = 1 / len(streams)
    fused = fuse(streams, [share] * len(streams))
    subjects = [f"s{row % 40}" for row in range(asked.clips)]
    sources = [f"v{row // 12}" for row in range(asked.clips)]
    levels = {"event": [f"e{k % 4}" for k in range(asked.classes)],
              "set": [f"s{k % 16}" for k in range(asked.classes)]}  # fmt: skip
    often = {"resamples": asked.resamples}
    work: dict[str, Callable[[], object]] = {
        "fuse six streams": lambda: fuse(streams, [share] * len(streams)),
        "evaluate, over clips": lambda: evaluate(fused, **often),
        "evaluate, over 40 subjects": lambda: evaluate(fused, groups=subjects, **often),
        "evaluate, over sources of 12 clips": lambda: evaluate(fused, groups=sources, **often),
        "hierarchy of two levels, over clips": lambda: evaluate_hierarchy(fused, levels, **often),
        "risk-coverage curve, over clips": lambda: risk_coverage(fused, **often),
        "label sets, fitted and judged": lambda: evaluate_conformal(
            fused, fit_conformal(fused, 0.1), **often
        ),
        "compare two streams, over clips": lambda: compare_pair(streams[0], streams[1], **often),
    }
    facts = {
        "clips": asked.clips,
        "classes": asked.classes,
        "streams": len(streams),
        "resamples": asked.resamples,
        "machine": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "seconds": {name: seconds(each, asked.repeats) for name, each in work.items()},
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    text = json.dumps(facts, indent=2)
    print(text)
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
