"""Draw splits.svg, the figure of docs/guides/splits.md. Run it from any folder."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

INK, MUTED, EDGE = "#1b2027", "#667080", "#c9d0d8"
COLOURS = {"train": "#1d5bb8", "val": "#e0a526", "test": "#c2482d", "": "#ffffff"}
SAID = {"train": "train", "val": "validation", "test": "test", "": "left out"}
PEOPLE = ("anna", "ben", "cleo", "dora", "emil")
CLIPS = 10
OUT = Path(__file__).with_name("splits.svg")


def row(axes: Axes, y: float, name: str, parts: list[str]) -> None:
    """Draw the clips of one row as squares in the colours of their parts."""
    axes.text(-0.6, y + 0.4, name, ha="right", va="center", color=INK, fontsize=9)
    for place, part in enumerate(parts):
        axes.add_patch(
            Rectangle(
                (place, y), 0.8, 0.8, facecolor=COLOURS[part], linewidth=0.8,
                edgecolor=EDGE if part == "" else COLOURS[part],
                linestyle="--" if part == "" else "-",
            )
        )  # fmt: skip


def panel(axes: Axes, title: str, verdict: str, rows: dict[str, list[str]]) -> None:
    """Draw one way to part the same clips, with what its number means."""
    axes.set_xlim(-3.4, CLIPS + 0.4)
    axes.set_ylim(-2.2, len(rows) + 1.2)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.text(-3.2, len(rows) + 0.7, title, color=INK, fontsize=11, fontweight="bold")
    for place, (name, parts) in enumerate(rows.items()):
        row(axes, len(rows) - 1 - place, name, parts)
    axes.text(-3.2, -0.7, verdict, color=MUTED, fontsize=8.5, va="top", linespacing=1.4)


def main() -> None:
    """Draw the three ways side by side."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "svg.hashsalt": "splits"})
    draw = np.random.default_rng(4)
    mixed = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    whole = dict(zip(PEOPLE, ("train", "test", "train", "val", "train"), strict=True))
    cut = ["train"] * 5 + ["", "val", "", "test", "test"]
    figure = Figure(figsize=(11.4, 2.9))
    axes = figure.subplots(1, 3)
    panel(
        axes[0], "--by id", "The same people on both sides:\nhow well it knows these five.",
        {name: draw.permutation(mixed).tolist() for name in PEOPLE},
    )  # fmt: skip
    panel(
        axes[1], "--by subject", "Nobody is on both sides:\nhow well it will do with a new person.",
        {name: [whole[name]] * CLIPS for name in PEOPLE},
    )  # fmt: skip
    panel(
        axes[2], "--by time --gap 2", "Each recording goes on:\nhow well it does later that day.",
        {f"video {n}": cut for n in range(1, 6)},
    )  # fmt: skip
    legend = figure.add_axes((0, 0, 1, 0.1))
    legend.set_xlim(0, 114)
    legend.set_ylim(0, 3)
    legend.axis("off")
    for place, part in enumerate(COLOURS):
        left = 30 + 15 * place
        legend.add_patch(
            FancyBboxPatch(
                (left, 0.9), 1.4, 1.2, boxstyle="round,pad=0,rounding_size=0.2",
                facecolor=COLOURS[part], edgecolor=EDGE if part == "" else COLOURS[part],
                linestyle="--" if part == "" else "-",
            )
        )  # fmt: skip
        legend.text(left + 2.2, 1.5, SAID[part], va="center", color=INK, fontsize=9)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.06, wspace=0.04)
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
