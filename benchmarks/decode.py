"""Cost of reading 48 cropped, scaled frames against libav's bare decoding of the same frames.

Both run in this process, in turn, on a 1080p H.264 clip made here. Prints one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from poselens.data.video import count_frames, read_frames, write_video
from poselens.types import Box

SEGMENTS, SNIPPET = 8, 6
BOX = Box(left=420, top=0, right=1500, bottom=1080)


def make_clip(path: Path, frames: int) -> None:
    """Write a moving texture under fresh noise in every frame, as a camera's sensor adds."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(40, 216, (136, 242, 3), np.uint8)
    texture = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
    noise = draw.normal(0, 3, (1200, 2100, 1)).round().astype(np.int8)

    def picture(index: int) -> NDArray[np.uint8]:
        shown = np.roll(texture, (3 * index, 5 * index), axis=(0, 1))[:1080, :1920]
        top, left = draw.integers(0, (120, 180))
        return (shown + noise[top : top + 1080, left : left + 1920]).astype(np.uint8)

    moving = (picture(index) for index in range(frames))
    write_video(path, moving, fps=30, gop=250, crf=23)


def decode_bare(path: Path, last: int, threads: int) -> None:
    """Decode up to and including frame ``last`` and convert nothing."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        for index, _ in enumerate(container.decode(stream)):
            if index == last:
                break


def clocks() -> NDArray[np.float64]:
    """Wall clock, and processor time, which other programs on the machine disturb less."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, options.frames)
        starts = np.linspace(0, count_frames(clip) - SNIPPET, SEGMENTS).astype(int)
        wanted = [int(start) + step for start in starts for step in range(SNIPPET)]
        ours, bare = [], []
        for _ in range(options.repeats):
            begun = clocks()
            decode_bare(clip, max(wanted), options.threads)
            between = clocks()
            read_frames(clip, wanted, box=BOX, size=(256, 256), threads=options.threads)
            bare.append(between - begun)
            ours.append(clocks() - between)
    wall, cpu = np.median(np.array(ours) / np.array(bare), axis=0)
    print(
        json.dumps(
            {
                "frames_read": len(wanted),
                "frames_decoded": max(wanted) + 1,
                "threads": options.threads,
                "bare_ms": round(1000 * float(np.median(bare, axis=0)[0]), 1),
                "ours_ms": round(1000 * float(np.median(ours, axis=0)[0]), 1),
                "ratio": round(float(wall), 3),
                "cpu_ratio": round(float(cpu), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
