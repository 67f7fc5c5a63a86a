"""The paper's tables with measured results beside the printed ones; empty where nothing was run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poselens.errors import UsageError
from poselens.evaluation.compare import METRICS, summarise
from poselens.evaluation.intervals import RESAMPLES
from poselens.evaluation.pooling import FEW_GROUPS
from poselens.evaluation.protocols import known
from poselens.evaluation.published import Published, Row, figures
from poselens.types import Scores

LEVEL = 0.95
ENOUGH_SEEDS = 3
"""Seeds below which a deviation says little."""


@dataclass(frozen=True)
class On:
    """What results were measured on.

    Attributes:
        data: Name of the data set.
        protocol: Name of the split; the published one where it is that.
        part: Part of the split.
        fingerprint: Of the data set, as training saw it.
        of: Clips that the part has where the data set is complete; None where that is unknown.
    """

    data: str
    protocol: str
    part: str
    fingerprint: str
    of: int | None = None


@dataclass(frozen=True, eq=False)
class Entry:
    """Scores that one seed of one setting brings to a row.

    Attributes:
        row: Key of the row.
        setting: What was run, in words; entries of one row and setting are seeds of it.
        seed: Name of the seed.
        scores: The scores.
        on: What they are of.
        selection: How the weights were chosen.
        sources: The runs, bundle or file.
    """

    row: str
    setting: str
    seed: str
    scores: Scores
    on: On
    selection: str
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Unmatched:
    """What belongs to no row, and why."""

    source: str
    reason: str


def accuracy_table(
    number: int,
    table: Published,
    entries: Sequence[Entry],
    unmatched: Sequence[Unmatched] = (),
    *,
    groups: Mapping[str, str] | None = None,
    unit: str = "clip",
) -> dict[str, Any]:
    """Return a table: printed figures, and beside them what was measured.

    Entries of one row, setting and data are averaged over their seeds, with the standard deviation
    from three seeds on and a bootstrap interval of the mean over clips. A row of settings (tables 4
    and 5) takes whatever data they were measured on; a comparison with published methods (tables 1
    and 2) takes its own data alone.

    Args:
        number: Of the table.
        table: What is printed.
        entries: What was measured.
        unmatched: What was given and is of no row, passed on.
        groups: Group of each clip, for intervals over whole groups.
        unit: What a group is.

    Raises:
        UsageError: ``EVAL-042`` an entry of a row that the table does not have; ``EVAL-001``,
            ``EVAL-002`` as ``compare.summarise``.
    """
    rows = {row.key or row.method: row for row in _rows(table)}
    for entry in entries:
        if entry.row not in rows:
            raise UsageError(
                "EVAL-042",
                f"table {number} has no row {entry.row!r}",
                mend=f"use one of {', '.join(row.key for row in rows.values() if row.key)}",
            )
    places = list(dict.fromkeys(entry.on for entry in entries))
    lines = [
        _line(key, row, [entry for entry in entries if entry.row == key], places, groups)
        for key, row in rows.items()
        if not row.beyond or any(entry.row == key for entry in entries)
    ]
    return {
        **_about(number, table),
        "on": [_place(on, entries) for on in places],
        "interval_level": LEVEL,
        "interval_unit": unit if groups is not None else "clip",
        "resamples": RESAMPLES,
        "rows": lines,
        "unmatched": [{"source": each.source, "reason": each.reason} for each in unmatched],
        "remarks": [
            *_remarks(table),
            *_measured_remarks(places, lines),
            *_group_remarks(entries, groups, unit),
        ],
    }


def cost_table(
    number: int, table: Published, measured: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the table of costs: printed figures, then ours by our own counter.

    Args:
        number: Of the table.
        table: What is printed.
        measured: For each line ``setting``, ``gmacs``, ``params`` and, where it was measured,
            ``milliseconds``, ``weight_bytes``, ``activation_bytes``, ``hardware``.
    """
    return {
        **_about(number, table),
        "rows": [{**_printed(row), "key": row.method} for row in table.rows],
        "measured": [dict(line) for line in measured],
        "unmatched": [],
        "remarks": [
            *_remarks(table),
            "ours: multiply-adds of convolutions and matrix products of one view of one clip, "
            "counted by `poselens cost`; elementwise work does not count",
        ],
    }


def own_rows(table: Published) -> list[str]:
    """Return the keys of the rows that measured results can go to."""
    return [row.key for row in _rows(table) if row.key]


def _rows(table: Published) -> list[Row]:
    """Return the rows; a comparison with published methods ends in rows for our own branches."""
    if any(row.key for row in table.rows):
        return list(table.rows)
    nothing = (None,) * len(table.columns)
    ours = (
        Row(key="rgb", method="poselens, RGB", modality="R", printed=nothing, beyond=True),
        Row(key="skeleton", method="poselens, skeleton", modality="S", printed=nothing,
            beyond=True),
        Row(key="fused", method="poselens", modality="R + S", printed=nothing),
    )  # fmt: skip
    return [*table.rows, *ours]


def _about(number: int, table: Published) -> dict[str, Any]:
    return {
        "table": number,
        "title": table.title,
        "paper": figures().paper,
        "columns": list(table.columns),
        "protocols": list(table.protocols),
        "printed_on": table.printed_on,
        "unit": table.unit,
        "beyond": [entry.model_dump() for entry in table.beyond],
    }


def _printed(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "modality": row.modality,
        "printed": list(row.printed),
        "counts": row.counts,
        "streams": row.streams,
        "said": row.said,
        "caveat": row.caveat,
        "elsewhere": [each.model_dump() for each in row.elsewhere],
        "ours": row.ours,
    }


def _line(
    key: str,
    row: Row,
    entries: Sequence[Entry],
    places: Sequence[On],
    groups: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return a row with a line for each of its settings."""
    measured = []
    for setting in dict.fromkeys(entry.setting for entry in entries):
        own = [entry for entry in entries if entry.setting == setting]
        cells = [_cell([entry for entry in own if entry.on == on], groups) for on in places]
        measured.append({"setting": setting, "cells": cells})
    return {**_printed(row), "key": key, "measured": measured}


def _cell(entries: Sequence[Entry], groups: Mapping[str, str] | None) -> dict[str, Any] | None:
    """Return what one setting reaches on one data set, None where it was not run there."""
    if not entries:
        return None
    scores = {entry.seed: entry.scores for entry in entries}
    count, spreads = summarise(scores, groups=groups, level=LEVEL)
    cell: dict[str, Any] = {
        "n": count,
        "of": entries[0].on.of,
        "seeds": list(scores),
        "views": sorted({entry.scores.views for entry in entries}),
        "selection": sorted({entry.selection for entry in entries}),
        "sources": [source for entry in entries for source in entry.sources],
    }
    for metric in METRICS:
        facts = spreads[metric].as_dict()
        # two seeds have a deviation, which says next to nothing of a third
        if len(scores) < ENOUGH_SEEDS:
            facts["deviation"] = None
        cell[metric] = facts
    return cell


def _place(on: On, entries: Sequence[Entry]) -> dict[str, Any]:
    classes = {len(entry.scores.classes) for entry in entries if entry.on == on}
    return {
        "data": on.data, "protocol": on.protocol, "part": on.part, "of": on.of,
        "fingerprint": on.fingerprint, "classes": max(classes),
    }  # fmt: skip


def _remarks(table: Published) -> list[str]:
    said = figures().selection
    told = [] if table.unit == "giga" else [f"how the printed figures were chosen: {said}"]
    return [*table.notes, *told]


def _group_remarks(
    entries: Sequence[Entry], groups: Mapping[str, str] | None, unit: str
) -> list[str]:
    """Say where there are too few groups for an interval over them."""
    if groups is None:
        return []
    counts = {
        on: len({groups.get(clip) for e in entries if e.on == on for clip in e.scores.ids})
        for on in dict.fromkeys(entry.on for entry in entries)
    }
    return [
        f"intervals of {on.data} over {count} {unit}s, fewer than {FEW_GROUPS}, are too narrow"
        for on, count in counts.items()
        if count < FEW_GROUPS
    ]


def _measured_remarks(places: Sequence[On], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [
        (line["method"], cell)
        for line in lines
        for setting in line["measured"]
        for cell in setting["cells"]
        if cell is not None
    ]
    if not cells:
        return ["nothing was measured: the columns of our own are empty"]
    remarks = []
    few = list(dict.fromkeys(name for name, cell in cells if len(cell["seeds"]) < ENOUGH_SEEDS))
    if few:
        remarks.append(
            f"fewer than {ENOUGH_SEEDS} seeds, so no deviation is given and differences between "
            f"rows may be chance: {', '.join(few)}"
        )
    short = [
        f"{name}: {cell['n']:,} of {cell['of']:,}"
        for name, cell in cells
        if cell["of"] is not None and cell["n"] < cell["of"]
    ]
    if short:
        remarks.append(f"a subset of the protocol's clips ({'; '.join(short)})")
    seeds = {tuple(cell["seeds"]) for _, cell in cells}
    if len(seeds) > 1:
        remarks.append("rows differ in their seeds")
    rules = dict.fromkeys(
        part for _, cell in cells for rule in cell["selection"] for part in rule.split("; ")
    )
    remarks.append(f"how ours were chosen: {'; '.join(rules)}")
    views = sorted({view for _, cell in cells for view in cell["views"]} - {"centre"})
    remarks += [f"some scores are means over views: {', '.join(views)}"] if views else []
    caveats = [caveat for on in places for caveat in getattr(known(on.protocol), "caveats", ())]
    return [*remarks, *dict.fromkeys(caveats)]
