"""The published figures, from ``published.yaml``: what each counts, and who prints it."""

from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from poselens.data.plain_yaml import read_plain_yaml
from poselens.errors import UsageError

Counted = Literal["top1", "mean_class", "unsaid"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Elsewhere(_Strict):
    """Another figure of a method, and where it is printed."""

    said: str
    source: str


class Row(_Strict):
    """A row of a table of the paper.

    Attributes:
        method: As printed, without the reference.
        key: Name by which measured results are matched, in tables whose rows are settings.
        modality: ``R``, ``S``, ``R + S``.
        printed: Figures in the order of the table's columns; None where the paper prints none.
        counts: What the figure counts, where it is known.
        streams: Inputs that are fused, where it is known and not plain.
        said: What the row is, in words.
        caveat: What a reader must know of the figure.
        elsewhere: Further figures of the method.
        ours: Whether it is the paper's own method.
        beyond: Whether the row is not the paper's.
        text_name: Name in the paper's table, where ``method`` is another.
    """

    method: str
    key: str = ""
    modality: str = ""
    printed: tuple[float | None, ...]
    counts: Counted = "unsaid"
    streams: str = ""
    said: str = ""
    caveat: str = ""
    elsewhere: tuple[Elsewhere, ...] = ()
    ours: bool = False
    beyond: bool = False
    text_name: str = ""


class Beyond(_Strict):
    """A method that the paper's table does not have."""

    method: str
    year: int
    modality: str
    top1: float | None = None
    mean_class: float | None = None
    streams: str = ""
    source: str


class Published(_Strict):
    """A table of the paper.

    Attributes:
        title: What it shows.
        printed_on: Data set of the figures, in short.
        columns: Names of the columns of figures.
        protocols: The protocol of each column, where there is one.
        unit: ``percent``, or ``giga`` operations.
        notes: What is to be known of the table as a whole.
        rows: Its rows.
        beyond: Methods that it leaves out, or that came later.
    """

    title: str
    printed_on: str = ""
    columns: tuple[str, ...]
    protocols: tuple[str, ...]
    unit: Literal["percent", "giga"]
    notes: tuple[str, ...] = ()
    rows: tuple[Row, ...]
    beyond: tuple[Beyond, ...] = ()


class Figures(_Strict):
    """All tables, the paper they are from, and how its figures were chosen."""

    paper: str
    selection: str
    tables: dict[int, Published] = Field(min_length=5)


@cache
def figures() -> Figures:
    """Return the published figures."""
    text = resources.files("poselens.evaluation").joinpath("published.yaml").read_text("utf-8")
    return Figures.model_validate(read_plain_yaml(text))


def published(table: int) -> Published:
    """Return a table of the paper by its number.

    Raises:
        UsageError: ``CFG-111`` a table that the paper does not have.
    """
    tables = figures().tables
    if table not in tables:
        raise UsageError(
            "CFG-111", f"found table {table}, the paper has {min(tables)} to {max(tables)}"
        )
    return tables[table]
