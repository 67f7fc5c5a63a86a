"""Shares of several runs with their intervals, beside what chance gives: bars of Figure 3."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from poselens.evaluation.figures import ACCENT, INK, MUTED, STYLE, WIDTH, as_svg, shorten, widest


@dataclass(frozen=True)
class ShareBar:
    """One run.

    Attributes:
        name: Of the run.
        share: In [0, 1].
        low: Lower end of its interval.
        high: Upper end.
        chance: What an attribution that is the same everywhere has.
    """

    name: str
    share: float
    low: float
    high: float
    chance: float


def share_figure(bars: Sequence[ShareBar], *, label: str, key: str = "moving-share") -> str:
    """Draw a bar for each run with its interval, and a mark where chance is.

    Args:
        bars: In order.
        label: What the share is of.
        key: Name of the figure, different from those of others on a page.
    """
    names = [shorten(bar.name) for bar in bars]
    places = np.arange(len(bars))
    height = 0.42 * len(bars)
    total = height + 0.85
    left = widest(names, 9.0) + 0.15
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, total))
        axes = figure.add_axes(
            (left / WIDTH, 0.5 / total, (WIDTH - left - 0.35) / WIDTH, height / total)
        )
        for place, bar in zip(places, bars, strict=True):
            axes.barh(place, 100 * bar.share, height=0.55, color=ACCENT, alpha=0.28, zorder=1)
            axes.plot([100 * bar.low, 100 * bar.high], [place, place], color=ACCENT, linewidth=2,
                      zorder=3, solid_capstyle="butt")  # fmt: skip
            axes.plot([100 * bar.share], [place], "o", color=ACCENT, markersize=5, zorder=4)
            axes.vlines(100 * bar.chance, place - 0.36, place + 0.36, color=INK, linewidth=1.4,
                        linestyle=(0, (2, 1.5)), zorder=2)  # fmt: skip
        most = max(max(bar.high, bar.chance) for bar in bars)
        axes.set(xlim=(0, min(100.0, 115 * most)), ylim=(len(bars) - 0.45, -0.55))
        axes.set_yticks(places, names, fontsize=9)
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x")
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(f"{label}, %", fontsize=8.5)
        figure.text(left / WIDTH, 1 - 0.14 / total, "bar: mean, line: 95 % interval, dashes: "
                    "chance", fontsize=8, color=MUTED, va="center")  # fmt: skip
        return as_svg(figure, key, label)
