"""The contrast as a picture: classes that look alike, where negatives came from, how both changed.

Shades are steps of one colour, so that they can be told apart without seeing hues.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from poselens.evaluation.contrasted import (
    ContrastHistory,
    similar_together,
    strongest_pairs,
    symmetric,
)
from poselens.evaluation.figures import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    ON_ACCENT,
    STYLE,
    WIDTH,
    as_svg,
    shorten,
    stream_colour,
    widest,
)

_LARGEST_CELL = 0.34
_SMALLEST_BESIDE = 0.1
"""Inches; with smaller cells the two matrices stand below each other."""
_SCALE_HEIGHT = 0.62
_LINES_HEIGHT = 1.75
_DASHES: Sequence[tuple[float, ...]] = ((), (5, 2), (1, 1.5), (7, 2, 1, 2), (3, 1), (9, 3))


@dataclass(frozen=True)
class _Page:
    """Where things stand, in inches from the upper left corner.

    Attributes:
        cell: Side of a cell.
        font: Size of class names, in points.
        margin: Room for the names, left of and below a matrix.
        lefts: Left edges of the two matrices.
        tops: Their upper edges.
        lines: Upper edge of the curves.
        height: Of the whole figure.
    """

    cell: float
    font: float
    margin: float
    lefts: tuple[float, float]
    tops: tuple[float, float]
    lines: float
    height: float


def contrast_figure(history: ContrastHistory, key: str = "contrast") -> str:
    """Draw what a stream was contrasted with.

    Above, for the last epoch: similarity of classes, and the share of each class's negatives that
    came from each class. Rows are classes of anchors; similar classes stand together; the diagonal
    is a dot, and a cell is empty where nothing was compared. Below: the most similar pairs over
    the epochs.

    Args:
        history: What to draw.
        key: Name of the figure, different from those of others on a page.
    """
    order = similar_together(history.similarity[-1])
    names = [shorten(history.classes[index]) for index in order]
    pairs = strongest_pairs(history)
    page = _arranged(names, len(pairs))
    similarity, shares = (
        matrix[-1][np.ix_(order, order)].copy() for matrix in (history.similarity, history.shares)
    )
    even = f"even choice: {100 / (len(order) - 1):.1f}" if len(order) > 1 else ""
    # a class is compared with itself too, but that is no rivalry, and would stretch the scale
    np.fill_diagonal(similarity, np.nan)
    np.fill_diagonal(shares, np.nan)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, page.height))
        edges = _draw_matrix(figure, page, 0, similarity, names, _short)
        title = f"Similarity of classes, h of Eq. (10), epoch {history.epochs[-1]}"
        _draw_scale(figure, page, 0, edges, title, "")
        edges = _draw_matrix(figure, page, 1, 100 * shares, names, "{:.0f}".format)
        title = f"Negatives by class, {history.sampler}, % of the row"
        _draw_scale(figure, page, 1, edges, title, even)
        if pairs:
            _draw_lines(figure, page, history, pairs)
        drawn = as_svg(figure, key, f"What {history.stream} was contrasted with")
    # hundredths of a point are enough, and halve the file where there are many cells
    return re.sub(r"(\.\d\d)\d+", r"\1", drawn)


def _arranged(names: Sequence[str], pairs: int) -> _Page:
    """Put the matrices beside each other where the names stay readable, else below each other."""
    size, gap = len(names), 0.3
    # of one point; measuring is slow, and letters grow in proportion
    width = widest(names, 10.0) / 10

    def room(across: int, margin: float) -> float:
        return min(_LARGEST_CELL, (WIDTH - margin - 0.15 - gap * (across - 1)) / (across * size))

    for across in (2, 1):
        font = min(8.5, 66 * room(across, 8.5 * width + 0.4))
        margin = width * font + 0.4
        cell = room(across, margin)
        if cell >= _SMALLEST_BESIDE:
            break
    side = size * cell
    first = _SCALE_HEIGHT
    if across == 2:
        lefts, tops = (margin, margin + side + gap), (first, first)
    else:
        lefts, tops = (margin, margin), (first, first + side + margin + _SCALE_HEIGHT + 0.1)
    lines = tops[1] + side + margin + 0.35
    legend = 0.2 * -(-pairs // 2) + 0.15
    height = lines + _LINES_HEIGHT + 0.5 + legend if pairs else lines - 0.25
    return _Page(cell, font, margin, lefts, tops, lines, height)


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    whole = figure.get_figheight()
    return figure.add_axes(
        (left / WIDTH, (whole - top - height) / whole, width / WIDTH, height / whole)
    )


def _draw_matrix(
    figure: Figure,
    page: _Page,
    position: int,
    values: Float[np.ndarray, "k k"],
    names: Sequence[str],
    written: Callable[[float], str],
) -> Float[np.ndarray, " s"]:
    """Draw one of the two matrices and return the edges of its shades."""
    size, left, top = len(names), page.lefts[position], page.tops[position]
    side = size * page.cell
    axes = _axes(figure, left, top, side, side)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    axes.tick_params(length=0)
    for edge in axes.spines.values():
        edge.set_visible(False)
    # shares have a zero, and nearly equal ones must look it
    edges = _steps(values, least=0.0 if position == 1 else np.inf)
    level = np.searchsorted(edges, values, side="right").clip(1, len(edges) - 1) - 1
    for step in range(len(edges) - 1):
        cells = np.argwhere(np.isfinite(values) & (level == step))
        if len(cells):
            shade = _shade(step, len(edges) - 1)
            # no add_patch: it would look for the limits of thousands of squares
            axes.add_artist(PathPatch(_squares(cells), color=ACCENT, alpha=shade))
    places = np.arange(size)
    axes.scatter(places, places, s=(20 * page.cell) ** 2, color=LINE, linewidth=0)
    if page.cell >= 0.3:
        for row, column in np.argwhere(np.isfinite(values)).tolist():
            shade = _shade(int(level[row, column]), len(edges) - 1)
            axes.text(
                column, row, written(float(values[row, column])), ha="center", va="center",
                fontsize=7, color=ON_ACCENT if shade > 0.55 else INK,
            )  # fmt: skip
    axes.set_xticks(places, names, rotation=90, fontsize=page.font)
    # beside the other matrix, the rows are named already
    named = position == 0 or page.lefts[0] == page.lefts[1]
    axes.set_yticks(places if named else [], names if named else [], fontsize=page.font)
    if named:
        axes.set_ylabel("class of the anchor")
        axes.yaxis.set_label_coords(-(page.margin - 0.2) / side, 0.5)
    axes.set_xlabel(("class compared with", "class of the negatives")[position])
    axes.xaxis.set_label_coords(0.5, -(page.margin - 0.12) / side)
    return edges


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".").replace("-", "−")


def _steps(values: Float[np.ndarray, "k k"], *, least: float) -> Float[np.ndarray, " s"]:
    """Return round edges of up to nine steps that cover the values, and ``least``."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return np.array([0.0, 1.0])
    low, high = min(float(known.min()), least), float(known.max())
    if high - low < 1e-6:
        low, high = low - 0.005, high + 0.005
    return np.asarray(MaxNLocator(nbins=8).tick_values(low, high))


def _shade(step: int, steps: int) -> float:
    return 0.07 + 0.93 * (step / max(steps - 1, 1))


def _squares(cells: np.ndarray) -> Path:
    """Return all cells of one shade as one path: a hundred classes have ten thousand."""
    corners = np.array([(-0.47, -0.47), (0.47, -0.47), (0.47, 0.47), (-0.47, 0.47), (0, 0)])
    points = cells[:, None, ::-1] + corners
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(points.reshape(-1, 2), codes * len(cells))


def _draw_scale(
    figure: Figure,
    page: _Page,
    position: int,
    edges: Float[np.ndarray, " s"],
    title: str,
    remark: str,
) -> None:
    left, top = page.lefts[position], page.tops[position]
    steps = len(edges) - 1
    axes = _axes(figure, left, top - 0.34, 0.32 * steps, 0.1)
    axes.set(xlim=(0, steps), ylim=(0, 1))
    for step in range(steps):
        axes.add_patch(
            Rectangle((step + 0.03, 0), 0.94, 1, color=ACCENT, alpha=_shade(step, steps))
        )
    axes.set_xticks(range(steps + 1), [f"{edge:g}".replace("-", "−") for edge in edges.round(6)])
    axes.set_yticks([])
    axes.tick_params(length=0, pad=1.5, labelsize=7.5)
    for edge in axes.spines.values():
        edge.set_visible(False)
    axes.set_title(title, fontsize=9.5, color=INK, loc="left", pad=4)
    axes.text(steps + 0.5, 0.5, remark, fontsize=7.5, color=MUTED, va="center")


def _draw_lines(
    figure: Figure, page: _Page, history: ContrastHistory, pairs: Sequence[tuple[int, int]]
) -> None:
    """Draw similarity and share of the pairs over epochs, numbered, with a legend below."""
    half = (WIDTH - 0.15 - 0.45 - 0.65) / 2
    shares = 100 * history.shares
    for position, (matrices, title) in enumerate(
        (
            (history.similarity, "Most similar pairs: similarity over epochs"),
            (shares, "The same pairs: % of the negatives over epochs"),
        )
    ):
        axes = _axes(figure, 0.45 + position * (half + 0.65), page.lines, half, _LINES_HEIGHT)
        ends = []
        for number, (one, other) in enumerate(pairs):
            values = [float(symmetric(matrix)[one, other]) for matrix in matrices]
            axes.plot(
                history.epochs, values, color=stream_colour(number), linewidth=1.6,
                dashes=_DASHES[number % len(_DASHES)],
                marker="o" if len(values) == 1 else None, markersize=4,
            )  # fmt: skip
            ends.append(values[-1])
        axes.grid(True)
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=9.5, color=INK, loc="left")
        axes.set_xlabel("epoch", fontsize=8.5)
        axes.margins(x=0.02, y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        for number, height in _spread(ends, axes.get_ylim()):
            axes.annotate(
                str(number + 1), (1, height), xycoords=("axes fraction", "data"), xytext=(3, 0),
                textcoords="offset points", va="center", fontsize=7.5, color=MUTED,
            )  # fmt: skip
    _draw_legend(figure, page, [tuple(shorten(history.classes[i]) for i in pair) for pair in pairs])


def _spread(ends: Sequence[float], limits: tuple[float, float]) -> list[tuple[int, float]]:
    """Return where to write the number of each line's end, so that no two lie on each other."""
    apart = 0.085 * (limits[1] - limits[0])
    known = [number for number, end in enumerate(ends) if np.isfinite(end)]
    known.sort(key=lambda number: ends[number])
    heights: list[float] = []
    for number in known:
        heights.append(max(ends[number], heights[-1] + apart) if heights else ends[number])
    lift = float(np.mean(heights) - np.mean([ends[number] for number in known])) if known else 0.0
    heights = [height - lift for height in heights]
    # what stands out above comes back down, and pushes the others
    ceiling = limits[1]
    for place in range(len(heights) - 1, -1, -1):
        heights[place] = min(heights[place], ceiling)
        ceiling = heights[place] - apart
    return list(zip(known, heights, strict=True))


def _draw_legend(figure: Figure, page: _Page, pairs: Sequence[tuple[str, ...]]) -> None:
    rows = -(-len(pairs) // 2)
    axes = _axes(figure, 0.45, page.lines + _LINES_HEIGHT + 0.5, WIDTH - 0.6, 0.2 * rows)
    axes.set(xlim=(0, WIDTH - 0.6), ylim=(rows, 0))
    axes.axis("off")
    for number, (one, other) in enumerate(pairs):
        left, row = (number // rows) * (WIDTH - 0.6) / 2, number % rows + 0.5
        axes.text(left, row, str(number + 1), va="center", fontsize=7.5, color=MUTED)
        axes.plot(
            [left + 0.14, left + 0.5], [row, row], color=stream_colour(number), linewidth=1.6,
            dashes=_DASHES[number % len(_DASHES)],
        )  # fmt: skip
        axes.text(left + 0.6, row, f"{one} – {other}", va="center", fontsize=8.5, color=INK)
