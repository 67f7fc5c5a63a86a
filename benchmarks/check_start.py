"""Make up a data set of many clips, check it, print when the first clip was looked at, and memory.

Run: ``python benchmarks/check_start.py --clips 100000``. Target: the first clip under 5 s, the
parent process under 500 MB. ``--videos`` names a video for each clip that is not there: every clip
then is an error, which is the most that a report can be asked for.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.writer import FolderWriter


def make_up(root: Path, clips: int, frames: int, *, videos: bool) -> None:
    """Write ``clips`` clips of 40 subjects and 120 classes, with joints that wander about."""
    info = DatasetInfo(
        name="made-up",
        classes=[f"class-{label:03}" for label in range(120)],
        skeletons={"metres": SkeletonInfo(layout="coco-17", dimensions=3)},
        protocols={"cross-subject": ProtocolInfo(description="made up", group="subject")},
        fps=30,
    )
    draw = np.random.default_rng(0)
    body = draw.normal(0, 0.4, (17, 3))
    with FolderWriter(root, info) as writer:
        for clip in range(clips):
            subject = clip % 40
            record = ClipRecord(
                id=f"S{subject:03}_{clip:06}",
                video=f"videos/S{subject:03}_{clip:06}.mp4" if videos else None,
                label=clip // 40 % 120,
                subject=str(subject),
                source=f"recording-{clip}",
            )
            part = "test" if subject % 2 else "val" if subject == 0 else "train"
            way = draw.normal(0, 0.03, (1, frames, 17, 3)).cumsum(axis=1)
            joints = (body + way).astype(np.float32)
            writer.add(record, {"cross-subject": part}, {"metres": joints})


def peak_mb(process: int) -> float:
    """Return the most memory that a process held so far, in MB; 0 when it is gone."""
    try:
        words = Path(f"/proc/{process}/status").read_text().split()
        return int(words[words.index("VmHWM:") + 1]) / 1024
    except (OSError, ValueError):
        return 0.0


def measure(root: Path, *words: str) -> dict[str, Any]:
    """Check ``root`` in a fresh process and return what it took."""
    command = [sys.executable, "-m", "poselens", "data", "check", str(root), *words]
    fresh = not list(root.glob(".cache/check-*.jsonl"))
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        first, peak = 0.0, 0.0
        while run.poll() is None:
            lines = list(root.glob(".cache/check-*.jsonl"))
            if not first and lines and lines[0].stat().st_size:
                first = time.perf_counter() - start
            peak = max(peak, peak_mb(run.pid))
            time.sleep(0.02)
        took = time.perf_counter() - start
    return {
        # of a second check there is nothing to wait for: what is known is read
        **({"first_clip_s": round(first, 2)} if fresh else {}),
        "whole_s": round(took, 1),
        "peak_mb_of_parent": round(peak),
        "exit_code": run.returncode,
        "page_kb": round((root / "check" / "check.html").stat().st_size / 1000),
        "ledger_mb": round(sum(f.stat().st_size for f in root.glob(".cache/*.jsonl")) / 1e6, 1),
    }


def main() -> None:
    """Make up, check once afresh and once again, print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--videos", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "made-up"
        make_up(root, arguments.clips, arguments.frames, videos=arguments.videos)
        joints_mb = (root / "skeletons" / "metres.npy").stat().st_size / 1e6
        runs = {"first": measure(root), "again": measure(root)}
    facts = {
        "command": " ".join(["python", "benchmarks/check_start.py", *sys.argv[1:]]),
        "clips": arguments.clips,
        "joints_mb": round(joints_mb),
        "cores": len(os.sched_getaffinity(0)),
        "machine": f"{platform.system()}, {platform.machine()}, Python {platform.python_version()}",
        **runs,
    }
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
