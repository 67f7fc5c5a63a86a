"""Draw contrast_method.svg, the figure of docs/concepts/contrast.md. Run it from any folder."""

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

INK, MUTED, LINE = "#1b2027", "#667080", "#c9d0d8"
BLUE, ORANGE, PANEL = "#1d5bb8", "#c2482d", "#f6f7f9"
OUT = Path(__file__).with_name("contrast_method.svg")

BONES = ((0, 1), (1, 2), (1, 3), (3, 4), (1, 5), (5, 6), (2, 7), (7, 8), (2, 9), (9, 10))
JOINTS = np.array(
    [(0, 10), (0, 8.4), (0, 4.6), (-1.5, 6.8), (-3.1, 7.8), (1.4, 6.6), (2.2, 4.8),
     (-1.1, 2.4), (-1.4, 0), (1.2, 2.5), (1.9, 0.1)]
)  # fmt: skip

ROWS = ("c₁", "c₂", "c₃", "c₄", "c₅")
CLOSENESS = np.array([0.83, 0.30, 0.62, -0.22, 0.12])
SLOTS = 8
CAP = 3


def box(axes: Axes, left: float, low: float, width: float, height: float, text: str) -> None:
    """Draw a step of the method."""
    axes.add_patch(
        FancyBboxPatch(
            (left, low), width, height, boxstyle="round,pad=0,rounding_size=0.8",
            facecolor=PANEL, edgecolor=LINE, linewidth=1,
        )
    )  # fmt: skip
    axes.text(left + width / 2, low + height / 2, text, ha="center", va="center", color=INK)


def arrow(axes: Axes, *points: tuple[float, float], dashed: bool = False) -> None:
    """Draw straight pieces through the points, with a head at the last."""
    colour, style = (MUTED, (0, (3, 2))) if dashed else (INK, "-")
    for start, end in pairwise(points[:-1]):
        axes.plot(*zip(start, end, strict=True), color=colour, linewidth=1.1, linestyle=style)
    axes.add_patch(
        FancyArrowPatch(
            points[-2], points[-1], arrowstyle="-|>", mutation_scale=9, linewidth=1.1,
            color=colour, linestyle=style, shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


def small(axes: Axes, x: float, y: float, text: str, **how: str) -> None:
    """Write a remark."""
    axes.text(x, y, text, color=MUTED, fontsize=8, **{"ha": "center", "va": "center", **how})


def draw_graphs(axes: Axes) -> None:
    """Draw three made-up topologies over each other."""
    draw = np.random.default_rng(3)
    for place in range(3):
        left, low = 17.6 + 1.9 * place, 24.6 - 0.7 * place
        cells = draw.random((6, 6)) ** 2
        axes.add_patch(
            Rectangle((left, low), 6, 6, facecolor="white", edgecolor=LINE, zorder=place)
        )
        for row, column in np.ndindex(6, 6):
            axes.add_patch(
                Rectangle(
                    (left + column, low + row), 1, 1, color=BLUE,
                    alpha=0.08 + 0.8 * cells[row, column], linewidth=0, zorder=place + 0.5,
                )
            )  # fmt: skip


def draw_bank(axes: Axes) -> None:
    """Draw rows of slots shaded by similarity, h beside them, and which slots are chosen."""
    draw = np.random.default_rng(5)
    rank = (-CLOSENESS).argsort().argsort()
    left, top, step = 43.0, 25.0, 3.3
    for row, name in enumerate((*ROWS, "y")):
        low = top - step * row - (1.4 if name == "y" else 0)
        own = name == "y"
        middle = 0.55 if own else CLOSENESS[row]
        values = np.clip(middle + 0.28 * draw.standard_normal(SLOTS), -0.9, 0.98)
        order = values.argsort()
        chosen = order[:3] if own else order[-CAP:] if rank[row] < 2 else []
        small(axes, left - 1.4, low + 1.1, name)
        for slot, value in enumerate(values):
            axes.add_patch(
                Rectangle(
                    (left + 2.4 * slot, low), 2.2, 2.2, facecolor=BLUE, linewidth=0,
                    alpha=0.06 + 0.84 * (value + 0.9) / 1.9,
                )
            )  # fmt: skip
            if slot in chosen:
                axes.add_patch(
                    Rectangle(
                        (left + 2.4 * slot + 0.1, low + 0.1), 2.0, 2.0, fill=False,
                        edgecolor=INK if own else ORANGE, linewidth=2,
                        linestyle=(0, (1.2, 0.8)) if own else "-",
                    )
                )  # fmt: skip
        if not own:
            axes.add_patch(
                Rectangle((66.5, low + 0.4), 5 * CLOSENESS[row], 1.4, color=BLUE, linewidth=0)
            )
            small(axes, 72.6, low + 1.1, f"{rank[row] + 1}.")
    axes.plot([66.5, 66.5], [top - step * 4 - 0.2, top + 2.4], color=LINE, linewidth=1)
    axes.text(left, 30.4, "memory bank", color=INK, ha="left")
    small(axes, left, 28.7, "slots of earlier clips, a row per class", ha="left")
    axes.text(69, 30.4, "$h_c$", color=INK, ha="center")
    small(axes, 69, 28.7, "Eq. (10)")
    small(axes, left, 3.6, "shade: cosine with z", ha="left")


def main() -> None:
    """Draw the whole figure."""
    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "contrast", "font.size": 9.5})
    mpl.rcParams["mathtext.fontset"] = "dejavusans"
    figure = Figure(figsize=(10.8, 4.75), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 108), ylim=(0, 47.5), aspect="equal")
    axes.axis("off")

    shifted = JOINTS * 0.95 + (6, 33.5)
    for one, other in BONES:
        axes.plot(*shifted[[one, other]].T, color=INK, linewidth=2.2, solid_capstyle="round")
    axes.add_patch(Circle(shifted[0], 0.9, color=INK))
    small(axes, 6, 31.6, "anchor: a clip's\njoints, class y", va="top")
    arrow(axes, (10.5, 38), (16, 38))
    box(axes, 16, 34.5, 13, 7, "CTR-GCN\nencoder f")
    arrow(axes, (29, 38), (84, 38))
    small(axes, 52, 39.2, "logits")
    box(axes, 84, 34.5, 14, 7, "cross entropy\nEq. (11)")

    arrow(axes, (22.5, 34.5), (22.5, 31.2))
    draw_graphs(axes)
    small(axes, 15.8, 27, "graph G\n3 × v × v", ha="right")
    arrow(axes, (22.5, 22.6), (22.5, 18.5))
    box(axes, 16, 11.5, 13, 7, "projection g\nEq. (9)")
    arrow(axes, (29, 15), (39.5, 15))
    axes.text(30.2, 16, "z", color=INK, ha="left", fontstyle="italic")
    small(axes, 34.6, 13.6, "unit length")
    arrow(axes, (33, 12.2), (33, 1.4), (60, 1.4), (60, 6.8), dashed=True)
    small(axes, 61.2, 1.4, "stored after the step, without gradient", ha="left")

    draw_bank(axes)
    arrow(axes, (74.2, 24), (84, 20.5))
    arrow(axes, (63, 8.2), (77, 8.2), (84, 13.2))
    axes.text(74.6, 27.4, "negatives", color=ORANGE, ha="left")
    small(axes, 74.6, 25.9, "nearest slots of nearest classes", ha="left")
    axes.text(71, 9.1, "positives", color=INK, ha="center")
    small(axes, 66, 6.9, "least similar slots of y", ha="left")
    box(axes, 84, 12.5, 14, 9, "InfoNCE\nEq. (12)")

    arrow(axes, (98, 38), (103, 38), (103, 30.2))
    arrow(axes, (98, 17), (103, 17), (103, 25.8))
    axes.add_patch(Circle((103, 28), 2.1, facecolor=PANEL, edgecolor=LINE))
    axes.text(103, 28, "+", ha="center", va="center", color=INK, fontsize=13)
    small(axes, 100.3, 28, "Eq. (13)", ha="right")
    figure.savefig(OUT, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
