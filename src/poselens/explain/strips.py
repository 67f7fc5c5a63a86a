"""Strips: frames of a clip in order of time, a row for each network, and when each one looked."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from poselens.errors import UsageError
from poselens.explain.overlay import draw_heat

MOST_COLUMNS = 10
"""Frames shown of a clip; of more, as many evenly spread ones."""

Kind = Literal["png", "svg"]

_TILE = 1.05  # inches across
_PIXELS = 180  # of a tile across
_LABELS, _HEAD, _TITLE, _CURVE, _GAP, _EDGE = 1.55, 0.62, 0.36, 0.8, 0.07, 0.12  # inches
_INK, _MUTED, _LINE = "#1b2027", "#667080", "#e1e5ea"
_LINES: Sequence[tuple[str, Any]] = (
    ("#0072b2", "-"),
    ("#d55e00", "--"),
    ("#009e73", "-."),
    ("#cc79a7", ":"),
    ("#000000", (0, (6, 1.5))),
    ("#e69f00", (0, (5, 1, 1, 1, 1, 1))),
    ("#56b4e9", (0, (1, 2))),
)
"""Of the palette of Okabe and Ito, told apart by colour-blind people; by dashes in print."""

_STYLE: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "strip",
    "font.size": 8.5,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
}


@dataclass(frozen=True, eq=False)
class Curve:
    """How much of an attribution falls on each moment.

    Attributes:
        times: Seconds, ascending.
        values: One for each, not negative.
    """

    times: Float[np.ndarray, " p"]
    values: Float[np.ndarray, " p"]


@dataclass(frozen=True, eq=False)
class StripRow:
    """One row of a strip.

    Attributes:
        name: What is shown: ``clip``, a network, a stream.
        pictures: RGB, drawn already, one for each moment.
        note: A second line, such as what the network says.
        curve: When it looked; None for a row without attribution.
    """

    name: str
    pictures: UInt8[np.ndarray, "t h w 3"]
    note: str = ""
    curve: Curve | None = None


@dataclass(frozen=True, eq=False)
class Section:
    """Rows about one clip.

    Attributes:
        rows: With as many pictures as there are times.
        times: Seconds of each frame.
        title: What is said of the clip; nothing where the figure's own title says it.
    """

    rows: Sequence[StripRow]
    times: Float[np.ndarray, " t"]
    title: str = ""


def time_curve(maps: Float[np.ndarray, "t *a"], times: Float[np.ndarray, " t"]) -> Curve:
    """Return the mean of each frame's map as a share of the frame with the largest mean."""
    means = maps.reshape(len(maps), -1).mean(axis=1).astype(np.float64)
    return Curve(np.asarray(times, np.float64), means / max(float(means.max()), 1e-12))


def strip_figure(sections: Sequence[Section], *, title: str, subtitle: str = "") -> Figure:
    """Lay rows of frames out under each other, with the colours' legend and curves over time.

    Args:
        sections: One or more clips.
        title: First line.
        subtitle: Second line.

    Raises:
        UsageError: ``EXP-009`` for no row, or a row with another number of pictures.
    """
    for section in sections:
        counts = [len(row.pictures) for row in section.rows]
        if not counts or set(counts) != {len(section.times)}:
            raise UsageError(
                "EXP-009",
                f"found rows of {counts} pictures for {len(section.times)} times",
                mend="give a picture for each time",
            )
    columns = max((len(_shown(section)) for section in sections), default=0)
    across = _LABELS + columns * (_TILE + _GAP) + _EDGE
    down = _HEAD + sum(_height(section) for section in sections)
    legend = any(row.curve for section in sections for row in section.rows)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(across, 5.5), down), facecolor="white")
        _draw_head(figure, title, subtitle, legend=legend)
        top = _HEAD
        for section in sections:
            _draw_section(figure, section, top)
            top += _height(section)
    return figure


def _shown(section: Section) -> NDArray[np.int64]:
    """Return which frames are shown."""
    count = len(section.times)
    return np.linspace(0, count - 1, min(count, MOST_COLUMNS)).round().astype(np.int64)


def _tile_height(row: StripRow) -> float:
    height, width = row.pictures.shape[1:3]
    return _TILE * float(height / width)


def _height(section: Section) -> float:
    curves = any(row.curve for row in section.rows)
    tiles = sum(_tile_height(row) + _GAP for row in section.rows)
    return tiles + _EDGE + (_TITLE if section.title else 0) + (_CURVE + 0.5 if curves else 0)


def _draw_section(figure: Figure, section: Section, top: float) -> None:
    shown = _shown(section)
    width = len(shown) * (_TILE + _GAP) - _GAP
    if section.title:
        across, down = figure.get_size_inches()
        figure.text(
            0.1 / across, 1 - (top + 0.08) / down, _cut(section.title, int(across / 0.075)),
            va="center", weight="bold",
        )  # fmt: skip
        top += _TITLE
    for number, row in enumerate(section.rows):
        height = _tile_height(row)
        axes = _axes(figure, _LABELS, top, width, height)
        axes.imshow(_joined(row.pictures[shown]), aspect="auto", interpolation="none")
        axes.set_axis_off()
        if number == 0:
            _draw_times(axes, section.times[shown])
        _say(figure, 0.1, top + height / 2, row.name, note=row.note)
        top += height + _GAP
    curves = [row for row in section.rows if row.curve is not None]
    if curves:
        _draw_curves(figure, curves, top + 0.12, section.times[shown])


def render(figure: Figure, kind: Kind, *, name: str = "strip") -> bytes:
    """Return a figure as PNG or SVG, the same bytes every time.

    Raises:
        UsageError: ``EXP-007`` for another kind.
    """
    if kind not in ("png", "svg"):
        raise UsageError("EXP-007", f"found a picture of kind {kind!r}", mend="use .png or .svg")
    buffer = io.BytesIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # browsers have the glyphs that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if kind == "svg":
            FigureCanvasSVG(figure)
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        else:
            FigureCanvasAgg(figure)
            figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes at a place in inches, counted from the upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def _joined(pictures: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return pictures side by side at the size of tiles, with white between them."""
    height = max(1, round(_PIXELS * pictures.shape[1] / pictures.shape[2]))
    gap = np.full((height, round(_PIXELS * _GAP / _TILE), 3), 255, np.uint8)
    parts: list[NDArray[np.uint8]] = []
    for each in pictures:
        tile = Image.fromarray(each).resize((_PIXELS, height), Image.Resampling.BICUBIC)
        parts += [np.asarray(tile), gap]
    return np.concatenate(parts[:-1], axis=1)


def _say(figure: Figure, left: float, top: float, name: str, *, note: str) -> None:
    across, down = figure.get_size_inches()
    at, lines = left / across, note.split("\n") if note else []
    first = 1 - (top - 0.075 * len(lines)) / down
    figure.text(at, first, _cut(name, 19), va="center", weight="bold")
    for number, line in enumerate(lines, start=1):
        y = first - 0.15 * number / down
        figure.text(at, y, _cut(line, 25), va="center", color=_MUTED, fontsize=7.5)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _draw_head(figure: Figure, title: str, subtitle: str, *, legend: bool) -> None:
    across, down = figure.get_size_inches()
    room = int((across - 2.9) / 0.078)
    figure.text(0.1 / across, 1 - 0.17 / down, _cut(title, room), va="center", weight="bold",
                fontsize=10)  # fmt: skip
    figure.text(
        0.1 / across, 1 - 0.36 / down, _cut(subtitle, room), va="center", color=_MUTED, fontsize=8
    )
    if not legend:
        return
    axes = _axes(figure, across - 2.05, 0.11, 1.1, 0.11)
    # over the grey of a picture, as the maps are
    grey = np.full((1, 1, 256, 3), 128, np.uint8)
    ramp = draw_heat(grey, np.linspace(0, 1, 256, dtype=np.float32)[None, None])
    axes.imshow(ramp[0], aspect="auto")
    axes.set_axis_off()
    for side, x, word in (("right", -0.04, "nothing"), ("left", 1.04, "most in the clip")):
        axes.text(x, 0.5, word, transform=axes.transAxes, ha=side, va="center", fontsize=7.5,
                  color=_MUTED)  # fmt: skip


def _draw_times(axes: Axes, times: NDArray[np.float64]) -> None:
    for place, seconds in enumerate(times):
        x = (place * (_TILE + _GAP) + _TILE / 2) / (len(times) * (_TILE + _GAP) - _GAP)
        axes.text(x, 1.02, f"{seconds:.2f} s", transform=axes.transAxes, ha="center", va="bottom",
                  fontsize=7, color=_MUTED)  # fmt: skip


def _draw_curves(
    figure: Figure, rows: Sequence[StripRow], top: float, times: NDArray[np.float64]
) -> None:
    """Draw when each row looked, each moment below its frame."""
    width = len(times) * (_TILE + _GAP) - _GAP
    axes = _axes(figure, _LABELS, top, width, _CURVE)
    middles = np.arange(len(times)) * (_TILE + _GAP) + _TILE / 2
    across, down = figure.get_size_inches()
    for number, row in enumerate(rows):
        if row.curve is None:
            continue
        colour, dashes = _LINES[number % len(_LINES)]
        places = np.interp(row.curve.times, times, middles)
        axes.plot(places, row.curve.values, color=colour, linestyle=dashes, linewidth=1.4,
                  marker="o" if len(places) <= MOST_COLUMNS else None, markersize=3)  # fmt: skip
        y = 1 - (top + 0.16 + 0.17 * number) / down
        figure.text(0.1 / across, y, _cut(row.name, 24), color=colour, va="center", fontsize=8)
    axes.set(xlim=(0, width), ylim=(-0.04, 1.08), yticks=[0, 1])
    axes.set_xticks(middles, [])
    axes.tick_params(length=2, labelsize=7)
    under = "how much of each map falls on each moment, as a share of its strongest moment"
    axes.set_xlabel(under, fontsize=7.5, color=_MUTED, labelpad=2)
