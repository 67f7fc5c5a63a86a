"""What each sampler looked at in a sweep: from the runs' own records and scores, as Markdown.

Run: ``python benchmarks/sampler_focus.py SWEEP [--where stream=joint_]`` on the folder of a sweep
over ``contrast`` with ``--score test``. For each sampler that was used alone, over seeds, in the
last epoch on disk: the mean similarity of a class to itself and to others, that to its nearest
other class, over how many classes its negatives are effectively spread (exp of the entropy), and
which share of them falls on a class that cross entropy alone confuses with the anchor's, each
confusion in the test part counted once. Nothing is chosen by it.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.contrast.record import read_contrasted
from poselens.fusion.scores import read_scores

SAMPLERS = ("hard", "random", "class-aware")


def confusions(runs: Sequence[Path]) -> NDArray[np.float64]:
    """Return how often each class was taken for another, over runs."""
    counts = np.zeros(())
    for run in runs:
        scores = read_scores(run / "scores_test.npz")
        table = np.zeros((len(scores.classes),) * 2)
        np.add.at(table, (scores.labels, scores.logits.argmax(1)), 1)
        counts = counts + table
    return counts - np.diag(np.diag(counts))


def focus(runs: Sequence[Path], sampler: str, confused: NDArray[np.float64]) -> list[float]:
    """Return own, other and nearest similarity, classes taken, and the share on confusions."""
    found = []
    for run in runs:
        epochs = read_contrasted(run)
        last = epochs[max(epochs)]
        own = np.eye(len(last.similarity), dtype=bool)
        others = np.where(own, np.nan, last.similarity)
        shares = last.taken[sampler] / last.taken[sampler].sum(1, keepdims=True)
        entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1)
        found.append(
            [
                float(last.similarity[own].mean()),
                float(np.nanmean(others)),
                float(np.nanmax(others, axis=1).mean()),
                float(np.exp(entropy).mean()),
                float((confused * shares).sum() / confused.sum()),
            ]
        )
    return [float(value) for value in np.mean(found, axis=0)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--where", default="", help="part of the names of the runs to take")
    options = parser.parse_args()
    sweep = json.loads((options.sweep / "sweep.json").read_text(encoding="utf-8"))
    runs: dict[str, list[Path]] = {}
    for run in sweep["runs"]:
        folder = options.sweep / run["folder"]
        if run["outcome"] != "complete" or options.where not in folder.name:
            continue
        contrast = run["values"]["contrast"]
        names = ["none"] if contrast in (None, "none") else contrast["samplers"]
        runs.setdefault("+".join(names), []).append(folder)
    confused = confusions(runs["none"])
    print("| sampler | seeds | own | others | nearest other | classes | on confused pairs |")
    print("|---|---|---|---|---|---|---|")
    for sampler in SAMPLERS:
        values = focus(runs[sampler], sampler, confused)
        row = [f"{value:.2f}" for value in values[:3]] + [f"{values[3]:.1f}", f"{values[4]:.3f}"]
        print(f"| {sampler} | {len(runs[sampler])} | {' | '.join(row)} |")
    print(f"| equal shares | | | | | {len(confused) - 1} | {1 / (len(confused) - 1):.3f} |")


if __name__ == "__main__":
    main()
