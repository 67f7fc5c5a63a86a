"""Make up a data set of many clips, open it in a fresh process, print seconds and memory.

Run: ``python benchmarks/open_folder.py --clips 100000``. Target: under 2 s and 500 MB.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.writer import FolderWriter

OPEN = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
from poselens.data.folder import open_folder
imported = time.perf_counter()
folder = open_folder(Path(sys.argv[1]))
opened = time.perf_counter()
train = folder.indices("cross-subject", "train")
folder.skeleton(int(train[-1]), "pixels")
last = folder.index_of(str(folder.ids[-1]))
used = time.perf_counter()
# not ru_maxrss: a child inherits that of the process that started it
status = Path("/proc/self/status").read_text().split()
peak_kb = int(status[status.index("VmHWM:") + 1])
print(json.dumps({
    "clips": len(folder),
    "import_s": round(imported - start, 3),
    "open_s": round(opened - imported, 3),
    "first_use_s": round(used - opened, 3),
    "peak_rss_mb": round(peak_kb / 1024, 1),
}))
"""


def make_up(root: Path, clips: int, frames: int) -> None:
    """Write ``clips`` clips of 40 subjects and 120 classes, with joints of ``frames`` frames."""
    info = DatasetInfo(
        name="made-up",
        classes=[f"class-{label:03}" for label in range(120)],
        skeletons={"pixels": SkeletonInfo(layout="coco-17", dimensions=2)},
        protocols={"cross-subject": ProtocolInfo(description="made up", group="subject")},
    )
    joints = np.random.default_rng(0).random((1, frames, 17, 2), dtype=np.float32)
    with FolderWriter(root, info) as writer:
        for clip in range(clips):
            subject = clip % 40
            record = ClipRecord(
                id=f"S{subject:03}_{clip:06}",
                video=f"videos/class-{clip % 120:03}/S{subject:03}_{clip:06}.mp4",
                label=clip % 120,
                subject=str(subject),
                view=str(clip % 3),
                source=f"recording-{clip // 4}",
                start_s=clip / 10,
                end_s=clip / 10 + 2.5,
                width=1920,
                height=1080,
            )
            part = "test" if subject % 2 else "val" if subject == 0 else "train"
            writer.add(record, {"cross-subject": part}, {"pixels": joints})


def measure(root: Path) -> dict[str, float]:
    """Open ``root`` in a fresh process and return what it took."""
    answer = subprocess.run(
        [sys.executable, "-c", OPEN, str(root)], check=True, capture_output=True, text=True
    )
    return dict(json.loads(answer.stdout))


def main() -> None:
    """Make up, open five times, print the figures of every time as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "made-up"
        start = time.perf_counter()
        make_up(root, arguments.clips, arguments.frames)
        written = time.perf_counter() - start
        runs = [measure(root) for _ in range(5)]
    print(
        json.dumps(
            {"machine": platform.platform(), "write_s": round(written, 2), "runs": runs}, indent=2
        )
    )


if __name__ == "__main__":
    main()
