"""Estimating poses of many clips while everything is killed again and again.

Makes small videos of one grey each, runs the command in a process of its own, kills its whole
group after a random time, and goes on until it finishes. Then looks at every clip: it must be there
once, whole, and with its own joints. The estimator is of a few lines (``tests/support/fake_pose``):
what is on trial is the ledger. Prints one JSON object; ends with 1 where a clip is missing, twice
there or another's.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from fake_pose import Fake
from poselens.recipes.pose_sources import open_source
from poselens.recipes.posing import Manner, estimate_poses
from poselens.recognition.pose_clip import PoseJob
job = PoseJob(Fake(seconds=float(sys.argv[4])))
manner = Manner(workers=2)
estimate_poses(open_source([Path(sys.argv[2])]), Path(sys.argv[3]), job, manner=manner)
"""


def trial(
    folder: Path, *, clips: int, kills: int, seconds: float, seed: int = 0
) -> dict[str, object]:
    """Run to the end through ``kills`` kills, and say what came of every clip.

    Args:
        folder: Empty folder to work in.
        clips: Videos to make.
        kills: Times to kill the process and its children.
        seconds: Time that the estimator sleeps in each clip.
        seed: Of the times at which it is killed.
    """
    from fake_pose import grey_videos

    videos, out = grey_videos(folder / "videos", clips, frames=4), folder / "out"
    command = [sys.executable, "-c", RUN, str(SUPPORT), str(videos), str(out), str(seconds)]
    work = out.parent / f"{out.name}.pose"
    draw, killed, begun, idle = random.Random(seed), 0, time.monotonic(), 0
    lines = [0]
    while True:
        process = subprocess.Popen(command, start_new_session=True)
        if killed < kills and not out.exists():
            # wait until it has done something, or kills would only hit the start
            target = lines[-1] + max(1, round(clips / (kills + 1) * draw.uniform(0.5, 1.0)))
            while process.poll() is None and count_lines(work) < target:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 2 * seconds + 0.02))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                killed += 1
        code = process.wait()
        lines.append(count_lines(work))
        idle += lines[-1] == lines[-2] and not out.exists()
        if out.exists() or code > 0:
            break
    return {
        "clips": clips,
        "kills": killed,
        "clips_done_when_killed": lines[1:-1],
        "starts_without_progress": idle,
        "exit_code": code,
        "seconds": round(time.monotonic() - begun, 1),
        **judge(out, clips),
    }


def count_lines(work: Path) -> int:
    """Return how many clips the ledgers say are finished."""
    return sum(path.read_bytes().count(b"\n") for path in work.glob("ledger-*.jsonl"))


def judge(out: Path, clips: int) -> dict[str, object]:
    """Look at every clip of the output."""
    from poselens.data.skeleton_file import read_skeleton

    rows = list(csv.DictReader((out / "quality.csv").read_text().splitlines()))
    wrong = 0
    for number in range(clips):
        joints = read_skeleton(out / f"v{number:03d}.npz")["pixels"].positions
        shade = 40 + 200 * number // clips
        whole = joints.shape == (1, 4, 17, 2) and bool(np.isfinite(joints).all())
        wrong += not (whole and abs(joints[0, 0, 0, 0] - shade) < 3)
    files = sorted(path.stem for path in out.rglob("*.npz"))
    return {
        "once": len({row["id"] for row in rows}) == len(rows) == len(files) == clips,
        "posed": sum(row["status"] == "posed" for row in rows),
        "wrong_or_half": wrong,
        "left_behind": (out.parent / f"{out.name}.pose").exists(),
    }


def main() -> None:
    """Run the trial and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.02)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = trial(
            Path(folder), clips=options.clips, kills=options.kills, seconds=options.seconds
        )
    print(json.dumps(found))
    sys.exit(not (found["once"] and found["posed"] == options.clips and not found["wrong_or_half"]))


if __name__ == "__main__":
    main()
