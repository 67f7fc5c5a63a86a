"""The robustness card as pictures and a page: accuracy over severity, and a table for one look."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from poselens.checkpoint import write_bytes
from poselens.evaluation.figures import (
    ACCENT,
    INK,
    MUTED,
    STYLE,
    WIDTH,
    as_svg,
    css_colour,
    shorten,
    stream_colour,
)
from poselens.evaluation.page import page_environment, page_style
from poselens.evaluation.robustness import (
    RobustnessCard,
    Trial,
    level_text,
    sentences,
    verdict,
    with_unit,
)

_DASHES: Sequence[tuple[float, ...]] = ((5, 2), (1, 1.5), (7, 2, 1, 2), (3, 1), (9, 3), (2, 4))
_MARKERS = "s^DvPX"
_GLYPHS = "■▲◆▼✚✖"
_ACROSS = 3
_LEGEND_ACROSS = 6
_PANEL = (3.3, 2.35)
"""Width and height of one panel on the page, in inches."""


def _look(card: RobustnessCard, stream: str) -> tuple[str, tuple[float, ...], str, str]:
    """Return colour, dashes, mark and glyph of a stream; they differ without colour too."""
    if stream == "fused" or len(card.streams) == 1:
        return ACCENT, (), "o", "●"
    place = card.streams.index(stream)
    return (
        stream_colour(place),
        _DASHES[place % len(_DASHES)],
        _MARKERS[place % len(_MARKERS)],
        _GLYPHS[place % len(_GLYPHS)],
    )


def panel_svg(card: RobustnessCard, trial: Trial) -> str:
    """Draw one kind: Top-1 over severity with its 95 % band, a line for each stream reached."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=_PANEL)
        axes = figure.add_axes((0.125, 0.19, 0.85, 0.75))
        _draw(axes, card, trial)
        return as_svg(figure, f"robust-{trial.name}", trial.title)


def robustness_figure(card: RobustnessCard) -> str:
    """Draw every kind in one picture of small panels, with a legend above."""
    rows = -(-len(card.trials) // _ACROSS)
    columns = min(len(card.streams) + 1, _LEGEND_ACROSS)
    above = 0.25 * -(-(len(card.streams) + 1) // columns)
    high = 2.55 * rows + above
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, high))
        for place, trial in enumerate(card.trials):
            row, column = divmod(place, _ACROSS)
            axes = figure.add_axes(
                (
                    (0.48 + 3.3 * column) / WIDTH,
                    (high - above - 2.55 * row - 2.1) / high,
                    2.74 / WIDTH,
                    1.75 / high,
                )
            )
            _draw(axes, card, trial)
            axes.set_title(trial.title, fontsize=9.5, color=INK, loc="left", pad=5)
        figure.legend(
            handles=_handles(card),
            loc="upper left",
            bbox_to_anchor=(0.3 / WIDTH, 1.0),
            ncols=columns,
            frameon=False,
            fontsize=8.5,
        )
        return as_svg(figure, "robustness", f"Robustness of {card.main} on {card.dataset}")


def _draw(axes: Axes, card: RobustnessCard, trial: Trial) -> None:
    share = trial.unit.startswith("%")
    scale = 100.0 if share else 1.0
    for curve in trial.curves:
        colour, dashes, mark, _ = _look(card, curve.stream)
        levels = [scale * point.level for point in curve.points]
        low = [100 * point.interval.low for point in curve.points]
        high = [100 * point.interval.high for point in curve.points]
        axes.fill_between(levels, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(
            levels,
            [100 * point.top1 for point in curve.points],
            color=colour,
            linewidth=2.2 if curve.stream == card.main else 1.4,
            dashes=dashes or (None, None),
            marker=mark,
            markersize=3.6,
            markeredgewidth=0,
            clip_on=False,
            zorder=4 if curve.stream == card.main else 3,
        )
    axes.axhline(100 * card.chance, color=MUTED, linewidth=0.9, dashes=(1, 2))
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 25))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.margins(x=0.02)
    axes.set_xlabel(trial.unit, fontsize=8.5, labelpad=2)
    axes.tick_params(length=0)
    axes.grid(True)


def _handles(card: RobustnessCard) -> list[Line2D]:
    handles = []
    for stream in card.streams:
        colour, dashes, mark, _ = _look(card, stream)
        line = Line2D([], [], color=colour, marker=mark, markersize=4, label=shorten(stream))
        line.set_dashes(dashes or (None, None))
        handles.append(line)
    chance = Line2D([], [], color=MUTED, linewidth=0.9, label=f"chance {100 * card.chance:.1f} %")
    chance.set_dashes((1, 2))
    return [*handles, chance]


def cell_text(card: RobustnessCard, trial: Trial, stream: str) -> tuple[str, str, str]:
    """Return what a cell of the one-look table says: a word, where, and the worst."""
    curve = trial.curve(stream)
    if curve is None:
        return "not touched", "", ""
    if len(curve.points) < 2:
        return "no answer", "no clip could be read", ""
    found = verdict(curve, card.chance)
    if found.word == "chance":
        return "guessing", "nothing to lose", ""
    word = found.word.upper() + ("" if found.sure else ", not sure")
    where = (
        f"no 5 points lost up to {with_unit(trial, curve.points[-1].level)}"
        if found.half_level is None
        else f"5 points lost at {with_unit(trial, found.half_level)}"
    )
    change = found.worst.change
    if change is None:
        return word, where, "never below undisturbed"
    worst = f"{100 * change.value:+.1f}".replace("-", "−")
    return word, where, f"worst {worst} at {with_unit(trial, found.worst.level)}"


def robustness_section(card: RobustnessCard, *, heading: str = "h2") -> Markup:
    """Return the card as a part of a page: sentences, table, panels and every number.

    Args:
        card: The card.
        heading: Tag of its headings, one below that of what it is a part of.
    """
    order = [card.main, *card.streams[:-1]]
    return Markup(
        page_environment()
        .get_template("robustness_section.html.j2")
        .render(
            card=card,
            heading=heading,
            sentences=sentences(card),
            # on a telephone the first column is seen, the last is scrolled to
            streams=order,
            undisturbed=dict(card.undisturbed),
            cells={
                trial.name: [cell_text(card, trial, stream) for stream in order]
                for trial in card.trials
            },
            panels={trial.name: Markup(panel_svg(card, trial)) for trial in card.trials},
            legend=[
                (stream, css_colour(_look(card, stream)[0]), _look(card, stream)[3])
                for stream in card.streams
            ],
            level_text=level_text,
        )
    )


def write_robustness(path: Path, card: RobustnessCard) -> None:
    """Write the card as one self-contained page.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when the file cannot be written.
    """
    page = (
        page_environment()
        .get_template("robustness.html.j2")
        .render(card=card, style=page_style(), section=robustness_section(card))
    )
    write_bytes(path, page.encode())
