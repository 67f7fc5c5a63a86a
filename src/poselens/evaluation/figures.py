"""The report's figures as inline SVG that takes its colours from the page.

Matplotlib draws with stand-in colours; each is replaced by a CSS variable, so one figure serves the
light and the dark page. The same data give the same bytes.
"""

import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from poselens.evaluation.metrics import Evaluation

INK, MUTED, LINE, ACCENT, ON_ACCENT, WRONG = (f"#0102a{index}" for index in range(1, 7))
STREAM_COLOURS = tuple(f"#0102b{index}" for index in range(6))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    ON_ACCENT: "var(--on-accent)",
    WRONG: "var(--wrong)",
    **{colour: f"var(--s{index})" for index, colour in enumerate(STREAM_COLOURS)},
}
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: smaller, selectable, in the page's own font
    "text.parse_math": False,  # a class may be called "$5"
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "patch.linewidth": 0,
}
LONGEST_NAME = 28
WIDTH = 10.16
"""Inches that fill the page's column."""


def stream_colour(position: int) -> str:
    """Return the stand-in colour of the stream at a position; colours repeat after six."""
    return STREAM_COLOURS[position % len(STREAM_COLOURS)]


def css_colour(stand_in: str) -> str:
    """Return the CSS variable a stand-in colour becomes."""
    return _VARIABLES[stand_in]


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Cut a class name that would not fit beside a figure."""
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def recall_figure(best: Evaluation, streams: Sequence[Evaluation], colour: str = ACCENT) -> str:
    """Draw the recall of each class: a bar for the best scores, a mark for each other stream.

    The hardest class comes first; classes without a clip are left out.
    """
    shown = [index for index, entry in enumerate(best.per_class) if entry.support]
    shown.sort(key=lambda index: best.per_class[index].recall)
    names = [shorten(best.classes[index]) for index in shown]
    places = np.arange(len(shown))
    with mpl.rc_context(STYLE):
        height = 0.25 * len(shown)
        figure = Figure(figsize=(WIDTH, height + 0.5))
        left = widest(names, 9.0) + 0.12
        axes = figure.add_axes(
            (
                left / WIDTH,
                0.35 / (height + 0.5),
                (WIDTH - left - 0.3) / WIDTH,
                height / (height + 0.5),
            )
        )
        recalls = [100 * best.per_class[index].recall for index in shown]
        axes.barh(places, recalls, height=0.62, color=colour, alpha=0.28, zorder=1)
        ends = places - 0.31, places + 0.31
        axes.vlines(recalls, *ends, color=colour, linewidth=2.4, zorder=3, clip_on=False)
        for position, stream in enumerate(streams):
            # marks of equal height would hide each other, so each stream has its own lane
            lane = (position + 1) / (len(streams) + 1) - 0.5
            axes.scatter(
                [100 * stream.per_class[index].recall for index in shown],
                places + 0.62 * lane,
                s=20,
                color=stream_colour(position),
                linewidth=0,
                zorder=4,
                clip_on=False,
            )
        axes.set(xlim=(0, 100), ylim=(len(shown) - 0.4, -0.6))
        axes.set_yticks(places, names, fontsize=9)
        axes.set_xticks(range(0, 101, 20), [f"{value} %" for value in range(0, 101, 20)])
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x")
        axes.spines["bottom"].set_visible(False)
        return as_svg(figure, "recall", "Recall of each class")


def curves_figure(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], selected: Mapping[str, int | None]
) -> str:
    """Draw loss and Top-1 over epochs, one column per stream.

    Args:
        histories: For each stream, in order, the rows of its log; ``epoch``, ``split``, ``loss``
            (``ce`` in its place where there is one) and ``top1`` are read, and rows without them
            skipped.
        selected: The epoch whose weights are used.
    """
    shown = {stream: rows for stream, rows in histories.items() if rows}
    columns = max(len(shown), 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9))
        figure.subplots_adjust(
            left=0.055, right=0.995, top=0.935, bottom=0.12, wspace=0.14, hspace=0.12
        )
        grid = figure.subplots(2, columns, squeeze=False, sharex="col", sharey="row")
        for position, (stream, rows) in enumerate(shown.items()):
            colour = stream_colour(list(histories).index(stream))
            for axes, key in ((grid[0, position], "loss"), (grid[1, position], "top1")):
                _draw_curves(axes, rows, key, colour)
                axes.grid(True)
                axes.tick_params(length=0)
                if selected.get(stream) is not None:
                    axes.axvline(
                        selected[stream], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2))
                    )
            grid[0, position].set_title(stream, fontsize=9.5, color=INK, loc="left")
            grid[1, position].set_xlabel("epoch", fontsize=8.5)
            grid[1, position].xaxis.get_major_locator().set_params(integer=True, nbins=5)
        for axes, label in ((grid[0, 0], "loss"), (grid[1, 0], "Top-1, %")):
            axes.set_ylabel(label)
            axes.yaxis.set_label_coords(-0.4 / axes.get_position().width / WIDTH, 0.5)
        grid[0, 0].set_ylim(bottom=0)
        grid[1, 0].set_ylim(0, 103)
        return as_svg(figure, "curves", "Loss and accuracy over epochs")


def _draw_curves(axes: Axes, rows: Iterable[Mapping[str, Any]], key: str, colour: str) -> None:
    rows = list(rows)
    scale = 100.0 if key == "top1" else 1.0
    if key == "loss":
        # validation has cross entropy alone: of a sum, that part can be set beside it
        rows = [{**row, "loss": row.get("ce", row.get("loss"))} for row in rows]
    for split, width, shade in (("train", 1.0, 0.55), ("val", 1.9, 1.0)):
        points = [
            (row["epoch"], scale * row[key])
            for row in rows
            if row.get("split") == split and row.get(key) is not None and "epoch" in row
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                linewidth=width,
                alpha=shade,
                marker="o" if len(points) == 1 else None,
                markersize=3,
                solid_capstyle="round",
            )


def widest(names: Iterable[str], size: float) -> float:
    """Return the width of the widest name, in inches; at most a hair too much.

    Control points bound a letter's curves; the curves' own bounds take seconds for a hundred names.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        drawn = [TextPath((0, 0), name, size=size).vertices for name in names if name.strip()]
    return max((float(np.ptp(points[:, 0])) for points in drawn), default=0.0) / 72


def as_svg(figure: Figure, name: str, title: str) -> str:
    """Return the figure as an inline ``<svg>`` with the page's colours and ids of its own."""
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # the browser has the glyphs that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasSVG(figure)
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": title}
        )
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(?<=\bid=")|(?<=url\(#)|(?<=href="#)', f"{name}-", drawn)
    for stand_in, variable in _VARIABLES.items():
        drawn = drawn.replace(stand_in, variable)
    width = round(figure.get_figwidth() * 96)
    return drawn.replace("<svg ", f'<svg role="img" style="max-width:{width}px" ', 1)


def standalone(svg: str) -> str:
    """Return a figure as a file of its own: the page's light colours, on white."""
    style = resources.files("poselens.evaluation").joinpath("templates/report.css")
    light = style.read_text(encoding="utf-8").partition("@media")[0]
    for name, colour in re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", light):
        svg = svg.replace(f"var(--{name})", colour)
    head, _, drawn = svg.partition(">")
    head = re.sub(r' style="max-width:[^"]*"', "", head)
    return f'{head}>\n<rect width="100%" height="100%" fill="#ffffff"/>{drawn}'
