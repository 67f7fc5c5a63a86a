"""Parts of the report that others fill: a title, a few words, a figure, a table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SectionTable:
    """A table; the first column names its row.

    Attributes:
        columns: Their heads.
        rows: As many texts each as there are columns.
        caption: What the numbers are.
        text_columns: Columns, counted from 0, that hold words and stand to the left; the first
            one does anyway.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    text_columns: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading and a place in its contents.

    Attributes:
        title: Heading.
        intro: What the reader sees, and how to read it.
        figure_svg: Inline SVG as ``poselens.evaluation.figures.as_svg`` makes it, with a name of
            its own on the page.
        table: A table below it.
        notes: Further sentences, as a list.
    """

    title: str
    intro: str = ""
    figure_svg: str | None = None
    table: SectionTable | None = None
    notes: Sequence[str] = ()
