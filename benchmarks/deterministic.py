"""Whether runs are the same bits each time on this machine, killed and resumed ones too.

    python benchmarks/deterministic.py DIR                      a GPU, about three minutes
    python benchmarks/deterministic.py DIR --device cpu --plain 0

Draws a small data set into DIR, then trains both branches on it (the RGB branch, and joints with
contrast) with ``--deterministic``: twice from beginning to end, and once more with ``kill -9`` in
an epoch and ``--resume``. With ``--plain`` it does two runs without the switch too, which says
whether the switch is needed. Every run is a process of its own. Prints a JSON line for each branch
with the SHA-256 of each run's weights, and ends with 1 if any differ that shall not.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

OPTIONS = {
    "rgb": [],
    "skeleton": ["contrast={dimensions: 64, positives: 16, negatives: 64}"],
}


def main() -> int:
    """Run all and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--branch", nargs="+", default=["rgb", "skeleton"])
    parser.add_argument("--set", nargs="*", default=[], dest="settings")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--plain", type=int, default=1)
    asked = parser.parse_args()
    data = asked.folder / "data"
    if not data.exists():
        poselens("data", "synth", "--out", data, "--clips", asked.clips, "--seed", 3)
    good = True
    for branch in asked.branch:
        told = compare(asked, branch)
        print(json.dumps(told), flush=True)
        good &= bool(told["equal"] and told["resumed_equal"])
    return int(not good)


def compare(asked: argparse.Namespace, branch: str) -> dict[str, object]:
    """Train one branch again and again; return the digests."""
    root = asked.folder / branch
    shutil.rmtree(root, ignore_errors=True)
    settings = [f"training.epochs={asked.epochs}", *asked.settings]
    settings += ["training.save_every=1", *OPTIONS[branch]]
    common = ["train", branch, asked.folder / "data", "--recipe", asked.recipe]
    common += ["--protocol", "cross-subject", "--device", asked.device]
    common += [word for setting in settings for word in ("--set", setting)]
    begun = time.perf_counter()
    found = {}
    for name in ("first", "second"):
        poselens(*common, "--deterministic", "--out", root / name)
        found[name] = digest(root / name)
    seconds = (time.perf_counter() - begun) / 2
    at = kill(*common, "--deterministic", "--out", root / "killed", epochs=asked.epochs // 2)
    poselens(*common, "--deterministic", "--out", root / "killed", "--resume")
    found["killed"] = digest(root / "killed")
    plain = {}
    if asked.plain:
        for name in ("plain", "plain-again"):
            poselens(*common, "--out", root / name)
            plain[name] = digest(root / name)
    run = json.loads((root / "first" / "run.json").read_text())
    return {
        "branch": branch,
        "hardware": run["hardware"],
        "torch": run["torch"],
        "epochs": asked.epochs,
        "seconds_a_run": round(seconds, 1),
        "killed_at": at,
        "equal": found["first"] == found["second"],
        "resumed_equal": found["first"] == found["killed"],
        "plain_equal": len(set(plain.values())) == 1 if plain else None,
        "sha256": {**found, **plain},
    }


def digest(run: Path) -> str:
    """Return the SHA-256 of a run's weights."""
    return hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()


def command(*words: object) -> list[str]:
    """Return the command line of poselens."""
    return [sys.executable, "-m", "poselens", *map(str, words)]


def poselens(*words: object) -> None:
    """Run a command to its end."""
    done = subprocess.run(command(*words), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command(*words))}: exit {done.returncode}\n{done.stderr[-2000:]}")


def kill(*words: object, epochs: int) -> str:
    """Start a training and kill it within the epoch after so many; return the newest state."""
    out = Path(str(words[-1]))
    running = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    while running.poll() is None:
        states = newest(out)
        # a state within an epoch: the run goes on where no epoch begins
        if states and states[-1] >= f"{epochs:06}" and not states[-1].endswith("-00000000"):
            os.kill(running.pid, signal.SIGKILL)
            running.communicate()
            return newest(out)[-1]
        time.sleep(0.002)
    sys.exit(f"the run to be killed ended first: {running.communicate()[1][-2000:]}")


def newest(out: Path) -> list[str]:
    """Return the names of the states that are there, in order."""
    return sorted(path.stem for path in (out / "states").glob("*.safetensors"))


if __name__ == "__main__":
    sys.exit(main())
