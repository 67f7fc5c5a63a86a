"""Reliability curves as a picture: what was promised, what came true, and for how many clips."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poselens.evaluation.figures import (
    ACCENT,
    INK,
    MUTED,
    STYLE,
    WIDTH,
    as_svg,
    shorten,
    stream_colour,
)
from poselens.evaluation.reliability import Calibration, Reliability

_ACROSS, _WIDEST = 4, 3.4
_ROW_HEIGHT = 3.25
"""Panels in a row, and inches: the widest a panel gets, and the height of a row."""


def reliability_figure(calibrations: Sequence[Calibration], key: str = "reliability") -> str:
    """Draw accuracy over confidence for each stream, and how the confidences are spread below.

    Bars are 95 % Wilson intervals. Grey is before the temperature, colour after it, or as it is
    where there is none.

    Args:
        calibrations: Streams in the order of their colours; one named ``fused`` has the accent.
        key: Name of the figure, different from those of others on a page.
    """
    across = min(_ACROSS, max(len(calibrations), 1))
    down = max((len(calibrations) + across - 1) // across, 1)
    wide = min(WIDTH / across, _WIDEST)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(wide * across, down * _ROW_HEIGHT))
        for position, calibration in enumerate(calibrations):
            fused = calibration.before.stream == "fused"
            colour = ACCENT if fused else stream_colour(position)
            row, column = divmod(position, across)
            place = (column * wide + 0.48, row * _ROW_HEIGHT, wide - 0.62)
            _draw_curve(_panel(figure, place, 0.3, 1.78), calibration, colour)
            spread = _panel(figure, place, 2.2, 0.55)
            _draw_histogram(spread, calibration.after or calibration.before, colour)
        return as_svg(figure, key, "Reliability: accuracy over confidence")


def _panel(figure: Figure, place: tuple[float, float, float], top: float, high: float) -> Axes:
    """Return axes ``top`` inches below a place, which is (left, top, width) in inches."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    lower = height - place[1] - top - high
    return figure.add_axes((place[0] / width, lower / height, place[2] / width, high / height))


def _draw_curve(axes: Axes, calibration: Calibration, colour: str) -> None:
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    shown = calibration.after or calibration.before
    if calibration.after is not None:
        _draw_points(axes, calibration.before, MUTED, 0.9)
    _draw_points(axes, shown, colour, 1.8)
    axes.set(xlim=(0, 100), ylim=(0, 102))
    axes.set_xticks(range(0, 101, 25), [])
    axes.set_yticks(range(0, 101, 25))
    axes.grid(True)
    axes.tick_params(length=0)
    axes.set_ylabel("right, %", labelpad=1)
    axes.set_title(shorten(shown.stream, 22), fontsize=9.5, color=INK, loc="left")
    axes.set_title(_errors(calibration), fontsize=8.5, color=MUTED, loc="right")


def _errors(calibration: Calibration) -> str:
    before = f"{100 * calibration.before.ece:.1f}"
    if calibration.after is None:
        return f"ECE {before} %"
    return f"ECE {before} → {100 * calibration.after.ece:.1f} %"


def _draw_points(axes: Axes, curve: Reliability, colour: str, width: float) -> None:
    places = [100 * entry.confidence for entry in curve.bins]
    heights = [100 * entry.accuracy for entry in curve.bins]
    lows, highs = zip(*(entry.interval for entry in curve.bins), strict=True)
    axes.vlines(
        places,
        [100 * low for low in lows],
        [100 * high for high in highs],
        color=colour,
        linewidth=width,
        alpha=0.35,
        zorder=2,
    )
    axes.plot(
        places, heights, color=colour, linewidth=width, marker="o", markersize=1.6 + width, zorder=3
    )


def _draw_histogram(axes: Axes, curve: Reliability, colour: str) -> None:
    axes.bar(
        [100 * entry.low for entry in curve.bins],
        [entry.clips for entry in curve.bins],
        width=[100 * (entry.high - entry.low) - 0.6 for entry in curve.bins],
        align="edge",
        color=colour,
        alpha=0.55,
    )
    axes.set(xlim=(0, 100))
    axes.set_xticks(range(0, 101, 25))
    largest = max(entry.clips for entry in curve.bins)
    axes.set_yticks([0, largest], ["0", f"{largest}"])
    axes.tick_params(length=0)
    axes.set_xlabel("confidence, %", labelpad=1)
