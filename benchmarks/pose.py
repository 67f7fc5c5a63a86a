"""Frames a second of MoveNet's poses against the bare sum of decoding and the network.

All three run in this process, in turn, on the same clips: libav decoding with conversion to RGB,
the network on squares that are ready, and the whole of what ``poselens pose`` does with a clip but
for the file it writes. Several people are measured beside it. Prints one JSON object.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import av
import numpy as np

from poselens.data.video import iterate_frames
from poselens.pose.estimators import mended
from poselens.pose.movenet import INPUT_SIDE, cut_square, open_movenet, whole_frame
from poselens.pose.people import SweptPeople
from poselens.pose.quality import quality_of
from poselens.pose.subjects import Subjects, choose


def decode(clip: Path) -> int:
    """Decode a clip to RGB and count its frames."""
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return sum(
            1 for frame in container.decode(video=0) if frame.to_ndarray(format="rgb24").size
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="MoveNet's .tflite file")
    parser.add_argument("clips", type=Path, nargs="+", help="videos of one person")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    network = open_movenet(options.weights)
    people = SweptPeople(network.look)
    times: dict[str, list[float]] = {name: [] for name in ("decode", "network", "pose", "several")}
    for _ in range(options.repeats):
        spent = dict.fromkeys(times, 0.0)
        frames = 0
        for clip in options.clips:
            began = time.perf_counter()
            count = decode(clip)
            spent["decode"] += time.perf_counter() - began
            frames += count
            first = next(iterate_frames(clip))
            square = cut_square(first, whole_frame(first.shape[:2]), INPUT_SIDE)
            began = time.perf_counter()
            for _ in range(count):
                network._infer(square)
            spent["network"] += time.perf_counter() - began
            for name, estimator in (("pose", network), ("several", people)):
                began = time.perf_counter()
                pose = choose(estimator.estimate(iterate_frames(clip)), Subjects())
                quality_of(pose)
                mended(pose.skeleton)
                spent[name] += time.perf_counter() - began
        for name, seconds in spent.items():
            times[name].append(1000 * seconds / frames)
    ms = {name: round(statistics.median(each), 2) for name, each in times.items()}
    bare = [a + b for a, b in zip(times["decode"], times["network"], strict=True)]
    print(
        json.dumps(
            {
                "clips": len(options.clips),
                "frames": frames,
                "ms_per_frame": ms,
                "frames_per_s": round(1000 / ms["pose"], 1),
                "bare_frames_per_s": round(1000 / statistics.median(bare), 1),
                "ratio_to_bare": round(
                    float(np.median([a / b for a, b in zip(times["pose"], bare, strict=True)])), 3
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
