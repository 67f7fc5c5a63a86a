"""The page of explained clips: strips, videos, and whether the maps can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from poselens.checkpoint import write_bytes
from poselens.evaluation.figures import ACCENT, MUTED, STYLE, as_svg, stream_colour
from poselens.evaluation.page import page_environment, page_style


@dataclass(frozen=True)
class ExplainedClip:
    """One clip of the page.

    Attributes:
        title: Its id.
        told: What was asked, and what the model says.
        right: Whether the model is right; None where that is not known.
        strip: Picture file, relative to the page.
        video: Video file, relative to the page, or None.
        figures: Further figures, as inline SVG of our own.
    """

    title: str
    told: str
    right: bool | None
    strip: str
    video: str | None = None
    figures: Sequence[str] = ()


@dataclass(frozen=True)
class ShownCheck:
    """Whether a stream's maps have to do with its network.

    Attributes:
        stream: Name of the stream.
        verdicts: A line for each test.
        passed: Whether each was passed; None where it is undecided.
        layers: Parts made random, from the output on.
        ranks: Rank correlation with the maps of the network that is random so far; None where it
            has none.
        likeness: Structural similarity with them.
        curves: Kind, shares, scores in the map's order, scores in random order.
    """

    stream: str
    verdicts: Sequence[str]
    passed: Sequence[bool | None]
    layers: Sequence[str]
    ranks: Sequence[float | None]
    likeness: Sequence[float]
    curves: Sequence[tuple[str, Sequence[float], Sequence[float], Sequence[float]]]


@dataclass(frozen=True, eq=False)
class ExplainPage:
    """Everything the page shows.

    Attributes:
        dataset: Name of the data set.
        facts: Name to value: what was asked, and how.
        clips: The clips, in order.
        checks: One for each stream that was checked.
        skipped: Clips left out, with the reason.
        commands: What was typed.
    """

    dataset: str
    facts: Mapping[str, str]
    clips: Sequence[ExplainedClip]
    checks: Sequence[ShownCheck] = ()
    skipped: Sequence[str] = ()
    commands: Sequence[str] = ()


def write_explain_page(path: Path, page: ExplainPage) -> None:
    """Write the page; its pictures and videos lie beside it.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    template = page_environment().get_template("explain.html.j2")
    drawn = [(check, Markup(check_figure(check, number))) for number, check in
             enumerate(page.checks)]  # fmt: skip
    figures = [[Markup(each) for each in clip.figures] for clip in page.clips]
    text = template.render(page=page, style=page_style(), checks=drawn, figures=figures)
    write_bytes(path, text.encode())


def check_figure(check: ShownCheck, number: int = 0) -> str:
    """Draw the tests of one stream as an inline SVG: random weights, deletion, insertion."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.16, 2.7), layout="constrained")
        first, *others = figure.subplots(1, 1 + len(check.curves))
        places = range(len(check.layers))
        ranks = [float("nan") if rank is None else rank for rank in check.ranks]
        first.plot(places, ranks, color=ACCENT, marker="o", markersize=3.5)
        first.plot(places, check.likeness, color=MUTED, marker="s", markersize=3, linestyle="--")
        # the whole network cannot be named below a point
        names = [layer.removeprefix("backbone.") for layer in check.layers]
        every = max(1, -(-len(names) // 8))
        first.set_xticks(list(places)[::every], names[::every], rotation=35, ha="right")
        first.set(ylim=(-0.35, 1.05), title="Weights made random, up to")
        first.text(0.97, 0.96, "rank correlation", color=ACCENT, transform=first.transAxes,
                   ha="right", va="top", fontsize=8.5)  # fmt: skip
        first.text(0.97, 0.86, "similarity (SSIM), dashed", color=MUTED, fontsize=8.5,
                   transform=first.transAxes, ha="right", va="top")  # fmt: skip
        for axes, (kind, shares, curve, random) in zip(others, check.curves, strict=True):
            axes.plot(shares, curve, color=stream_colour(1), linewidth=1.8)
            axes.plot(shares, random, color=MUTED, linestyle="--", linewidth=1.2)
            axes.set(ylim=(0, 1.05), title=f"{kind.capitalize()}: probability of the class")
            taken = "taken away" if kind == "deletion" else "brought in"
            axes.set_xlabel(f"share of cells {taken}; dashed: in random order")
        for axes in (first, *others):
            axes.title.set_fontsize(9.5)
            axes.title.set_color(MUTED)
            axes.grid(axis="y")
        title = f"Sanity of the maps of {check.stream}"
        return as_svg(figure, f"sanity{number}", title)
