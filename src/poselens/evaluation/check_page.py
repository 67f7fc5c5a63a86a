"""One self-contained HTML page that says what is wrong with a data set and shows its clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from markupsafe import Markup, escape

from poselens.evaluation.page import count_text, page_environment, page_style

Level = Literal["error", "warning", "note"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 330, 160, 44, 36


@dataclass(frozen=True)
class Row:
    """One clip, group or class that a finding concerns; ``id`` and ``file`` may be empty."""

    id: str
    file: str
    reason: str
    code: str


@dataclass(frozen=True)
class Problem:
    """One kind of fault.

    Attributes:
        code: Stable code.
        level: How bad it is.
        title: What it is.
        mend: What to do.
        count: How many it concerns, of which ``rows`` are the first.
        unit: What is counted.
        rows: The first ones.
    """

    code: str
    level: Level
    title: str
    mend: str
    count: int
    unit: str
    rows: Sequence[Row]


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often a number occurs among the clips; one bin where it is the same for all.

    Attributes:
        title: What is counted.
        unit: Unit of the axis.
        edges: ``(b + 1,)`` edges of the bins.
        counts: ``(b,)`` clips in each.
    """

    title: str
    unit: str
    edges: Float[np.ndarray, " e"]
    counts: Int[np.ndarray, " b"]


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Clips by class and part of one protocol.

    Attributes:
        protocol: Its name.
        description: What it says about itself.
        parts: Names of the columns.
        rows: Class name and clips in each part.
        left_out: Classes that are not shown.
        told: Sentences on what the parts share.
    """

    protocol: str
    description: str
    parts: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]
    left_out: int = 0
    told: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Tile:
    """A small picture.

    Attributes:
        pixels: ``(h, w, 3)`` RGB.
        caption: What it shows.
        detail: A second line.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    caption: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class CheckPage:
    """Everything the page shows.

    Attributes:
        dataset: Name of the data set.
        verdict: The outcome in one line.
        level: The worst that was found, None for nothing.
        facts: Lines of the header.
        problems: The worst first.
        histograms: Of durations, frame rates and so on.
        tables: One per protocol.
        groups: Copies of one recording, a strip of frames for each clip.
        left_out: Groups that are not shown.
        gallery: A clip of each class.
        gallery_note: What the gallery shows.
        subjects: Clips by subject.
        footer: Version, command and date.
    """

    dataset: str
    verdict: str
    level: Level | None
    facts: Mapping[str, str]
    problems: Sequence[Problem]
    histograms: Sequence[Histogram] = ()
    tables: Sequence[ClassTable] = ()
    groups: Sequence[tuple[str, Sequence[Tile]]] = ()
    left_out: int = 0
    gallery: Sequence[Tile] = ()
    gallery_note: str = ""
    subjects: Sequence[tuple[str, int]] = ()
    footer: str = field(default="")


def render_check(page: CheckPage) -> str:
    """Return the page as HTML: styles, figures and pictures inside, nothing fetched."""
    return (
        page_environment()
        .get_template("check.html.j2")
        .render(
            page=page,
            style=page_style(),
            histograms=[
                (each, Markup(histogram_svg(each)))
                for each in page.histograms
                if len(each.counts) > 1
            ],
            alike=[
                f"{each.title}: {_number(float(each.edges[0]))} {each.unit} in all "
                f"{count_text(int(each.counts[0]))} clips."
                for each in page.histograms
                if len(each.counts) == 1
            ],
            counts={
                level: sum(problem.level == level for problem in page.problems)
                for level in ("error", "warning", "note")
            },
        )
    )


def histogram_svg(histogram: Histogram) -> str:
    """Draw a histogram as inline SVG in the page's colours; small enough for a telephone."""
    most = max(int(histogram.counts.max(initial=0)), 1)
    wide, high = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - 16
    step = wide / max(len(histogram.counts), 1)
    bars = []
    for place, count in enumerate(histogram.counts.tolist()):
        # a single clip among many must still be seen
        tall = max(high * count / most, 2.0) if count else 0.0
        low, up = histogram.edges[place], histogram.edges[place + 1]
        said = f"{_number(low)} to {_number(up)} {histogram.unit}: {count_text(count)} clips"
        bars.append(
            f'<rect x="{_LEFT + place * step + 1:.1f}" y="{16 + high - tall:.1f}" '
            f'width="{max(step - 2, 1):.1f}" height="{tall:.1f}" rx="1.5" fill="var(--accent)">'
            f"<title>{escape(said)}</title></rect>"
        )
    ticks = []
    for share in (0.0, 0.5, 1.0):
        value = histogram.edges[0] + share * (histogram.edges[-1] - histogram.edges[0])
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        ticks.append(
            f'<text x="{_LEFT + share * wide:.1f}" y="{_HEIGHT - 18}" text-anchor="{anchor}">'
            f"{escape(_number(value))}</text>"
        )
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12" fill="var(--muted)">'
        f"<title>{escape(histogram.title)}</title>"
        f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{16 + high}" y2="{16 + high}" '
        'stroke="var(--line)"/>'
        f'<text x="{_LEFT - 8}" y="26" text-anchor="end">{count_text(most)}</text>'
        f'<text x="{_LEFT - 8}" y="{16 + high}" text-anchor="end">0</text>'
        f"{''.join(bars)}{''.join(ticks)}"
        f'<text x="{_LEFT + wide / 2:.1f}" y="{_HEIGHT - 3}" text-anchor="middle">'
        f"{escape(histogram.unit)}</text></svg>"
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
