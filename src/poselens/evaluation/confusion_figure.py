"""The confusion matrix as inline SVG that a page can make clickable.

Written by hand rather than by matplotlib: a cell is one short element that knows its classes, so
that 99 classes stay small, show a title under the pointer and lead to the clips.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from poselens.evaluation.figures import LONGEST_NAME, shorten, widest
from poselens.evaluation.metrics import Evaluation
from poselens.evaluation.ordering import similarity_order

_WIDEST = 800.0
"""Pixels that the cells fill together, where that leaves each at least ``_SMALLEST``."""
_SMALLEST, _LARGEST = 9.0, 33.0
_NUMBERED = 21.0
"""Side of a cell, in pixels, from which its number of clips fits."""
FULL = 0.75
"""Share of a row from which a numbered cell has its full colour, and a light number."""

Link = Callable[[int, int], str | None]


@dataclass(frozen=True)
class _Grid:
    cell: float
    font: float
    left: float
    side: float


def shade(share: float, *, numbered: bool) -> float:
    """Return how opaque a cell of a share of its row is; a single confusion must be seen.

    Between pale and full there is a gap for numbered cells: on the shades in it, neither a dark nor
    a light number could be read.
    """
    if not numbered:
        return 0.12 + 0.88 * share
    return 0.12 + 0.55 * share if share < FULL else 0.96 + 0.04 * share


def confusion_figure(
    evaluation: Evaluation, *, order: Sequence[int] | None = None, link: Link | None = None
) -> str:
    """Draw the confusion matrix: shade is the share of a row, the number is clips.

    Args:
        evaluation: What is judged.
        order: Classes from top to bottom; :func:`similarity_order` where it is left out.
        link: Returns where a cell (label, predicted) leads, or None.
    """
    order = similarity_order(evaluation.confusion) if order is None else list(order)
    names = [shorten(evaluation.classes[index]) for index in order]
    grid = _arranged(names)
    total = grid.left + grid.side + 2, grid.side + grid.left + 2
    return "".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" class="confusion" '
            f'viewBox="0 0 {total[0]:.0f} {total[1]:.0f}" '
            f'style="max-width:{total[0]:.0f}px;min-width:{_least_width(total[0], grid)}px" '
            f'data-cell="{grid.cell:g}" data-left="{grid.left:g}">',
            f"<title>{html.escape(f'Confusion matrix of {evaluation.stream}')}</title>",
            _lines(grid, len(order)),
            _cells(evaluation, order, grid, link),
            _names(names, grid),
            "</svg>",
        ]
    )


def _arranged(names: Sequence[str]) -> _Grid:
    size = len(names)
    cell = round(min(_LARGEST, max(_SMALLEST, _WIDEST / size)), 2)
    font = min(11.5, max(7.5, 0.86 * cell))
    # measured in points of a narrow face: the page's own may be wider
    left = widest(names, font) * 72 * 1.08 + 26
    return _Grid(cell, round(font, 2), round(min(left, 12.0 * LONGEST_NAME)), cell * size)


def _least_width(total: float, grid: _Grid) -> int:
    """Return below which width the figure rather scrolls than shrinks: what can just be read."""
    return round(total * (0.72 if grid.cell >= _NUMBERED else 0.9))


def _lines(grid: _Grid, size: int) -> str:
    path = "".join(
        f"M{grid.left:g} {edge * grid.cell:.2f}h{grid.side:g}"
        f"M{grid.left + edge * grid.cell:.2f} 0v{grid.side:g}"
        for edge in range(size + 1)
    )
    return f'<path class="lines" d="{path}"/>'


def _cells(evaluation: Evaluation, order: Sequence[int], grid: _Grid, link: Link | None) -> str:
    counts: Int[np.ndarray, "k k"] = evaluation.confusion[np.ix_(order, order)]
    support = counts.sum(axis=1)
    drawn = []
    for row, column in np.argwhere(counts > 0).tolist():
        label, predicted = order[row], order[column]
        count, of = int(counts[row, column]), int(support[row])
        known = evaluation.classes[label], evaluation.classes[predicted]
        said = (
            f"{known[0]}: {count} of {of} recognised"
            if row == column
            else f"{known[0]}, taken for {known[1]}: {count} of {of}"
        )
        x, y = grid.left + column * grid.cell, row * grid.cell
        numbered = grid.cell >= _NUMBERED
        kind = "good" if row == column else "bad"
        rectangle = (
            f'<rect class="{kind}" x="{x + 0.5:.2f}" y="{y + 0.5:.2f}" '
            f'width="{grid.cell - 1:.2f}" height="{grid.cell - 1:.2f}" '
            f'fill-opacity="{shade(count / of, numbered=numbered):.2f}">'
            f"<title>{html.escape(said)}</title></rect>"
        )
        if numbered:
            kind = "n full" if count >= FULL * of else "n"
            middle = x + grid.cell / 2, y + grid.cell / 2
            rectangle += (
                f'<text class="{kind}" x="{middle[0]:.1f}" y="{middle[1]:.1f}">{count}</text>'
            )
        target = link(label, predicted) if link is not None and row != column else None
        if target is not None:
            # the arrow keys and the list of pairs lead there too: hundreds of stops would not help
            rectangle = f'<a href="{html.escape(target)}" tabindex="-1">{rectangle}</a>'
        drawn.append(rectangle)
    return "".join(drawn)


def _names(names: Sequence[str], grid: _Grid) -> str:
    texts = []
    for place, name in enumerate(names):
        middle = (place + 0.5) * grid.cell
        shown = html.escape(name)
        texts.append(f'<text class="row" x="{grid.left - 5:g}" y="{middle:.1f}">{shown}</text>')
        at = f"{grid.left + middle:.1f} {grid.side + 5:.1f}"
        texts.append(f'<text class="column" transform="translate({at}) rotate(-90)">{shown}</text>')
    half = grid.side / 2
    turned = f'transform="translate(9 {half:.1f}) rotate(-90)"'
    texts.append(f'<text class="axis" {turned}>true class</text>')
    foot = f'x="{grid.left + half:.1f}" y="{grid.side + grid.left - 4:.1f}"'
    texts.append(f'<text class="axis" {foot}>predicted</text>')
    return f'<g font-size="{grid.font:g}">{"".join(texts)}</g>'
