"""The paper's tables as Markdown, as a page and as LaTeX; the same cells in each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from poselens.evaluation.page import page_environment, page_style

COUNTS = {"top1": "Top-1", "mean_class": "mean-class", "unsaid": "not said"}


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        columns: Heads.
        rows: Cells; the first one is the row's name.
        printed: How many columns after the first are the paper's.
        ours: Which rows are those of the method itself.
        new: Which rows begin a row of the paper's table.
        notes: Lines below, each a name, empty for the whole, and a sentence.
    """

    columns: list[str]
    rows: list[list[str]]
    printed: int
    ours: list[bool]
    new: list[bool]
    notes: list[tuple[str, str]]


def as_grid(facts: Mapping[str, Any]) -> Grid:
    """Return the cells of a table that ``accuracy_table`` or ``cost_table`` made."""
    return _costs(facts) if facts["unit"] == "giga" else _accuracies(facts)


def _accuracies(facts: Mapping[str, Any]) -> Grid:
    # the columns are there, and empty, before anything is run
    on = facts["on"] or [{"data": "poselens", "protocol": ""}]
    paper = [f"paper, {facts['printed_on']} {column}".strip() for column in facts["columns"]]
    inputs = any(line["modality"] for line in facts["rows"])
    columns = ["row", *(["input"] if inputs else []), *paper, "counts", "measured: setting"]
    for place in on:
        where = f"{place['data'] or 'unnamed data'} {place['protocol']}".strip()
        columns += [f"{where}: Top-1 % [95 %]", "mean-class %", "n", "seeds"]
    rows, ours, new = [], [], []
    empty = [""] * (4 * len(on))
    for line in facts["rows"]:
        head = [line["method"], *([line["modality"]] if inputs else [])]
        head += [_figure(value) for value in line["printed"]]
        printed = any(value is not None for value in line["printed"])
        head.append(COUNTS[line["counts"]] if printed else "")
        measured = line["measured"] or [{"setting": "", "cells": []}]
        for place, each in enumerate(measured):
            cells = [text for cell in each["cells"] for text in _cell(cell)] or empty
            before = head if place == 0 else [line["method"], *[""] * (len(head) - 1)]
            rows.append([*before, each["setting"], *cells])
            ours.append(bool(line["ours"]))
            new.append(place == 0)
    return Grid(
        columns, rows, len(paper) + 1 + inputs, ours, new, [*_row_notes(facts), *_notes(facts)]
    )


def _cell(cell: Mapping[str, Any] | None) -> list[str]:
    if cell is None:
        return [""] * 4
    low, high = (f"{100 * end:.1f}" for end in cell["top1"]["interval"])
    of = cell["of"]
    count = f"{cell['n']:,}" if of in (None, cell["n"]) else f"{cell['n']:,} of {of:,}"
    return [
        f"{_spread(cell['top1'])} [{low}, {high}]",
        _spread(cell["mean_class"]),
        count,
        str(len(cell["seeds"])),
    ]


def _spread(spread: Mapping[str, Any]) -> str:
    told = f"{100 * spread['mean']:.1f}"
    deviation = spread["deviation"]
    return told if deviation is None else f"{told} ± {100 * deviation:.1f}"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:g}" if value == round(value, 2) and value != round(value, 1) else f"{value:.1f}"


def _costs(facts: Mapping[str, Any]) -> Grid:
    columns = ["row", "paper, G", "GMACs", "RGB", "skeleton", "params, 10^6"]
    measured = facts["measured"]
    timed = any("milliseconds" in line for line in measured)
    columns += ["ms", "weights MB", "activations MB"] if timed else []
    rows = [
        [line["method"], f"{line['printed'][0]:g}", *[""] * (len(columns) - 2)]
        for line in facts["rows"]
    ]
    for line in measured:
        kinds = ("gmacs", "rgb_gmacs", "skeleton_gmacs")
        cells = [f"poselens: {line['setting']}", "", *(_giga(line[kind]) for kind in kinds)]
        cells.append(f"{line['params'] / 1e6:.2f}")
        if timed:
            cells += [
                _optional(line.get("milliseconds"), 1),
                _optional(line.get("weight_bytes"), 1, 1e6),
                _optional(line.get("activation_bytes"), 1, 1e6),
            ]
        rows.append(cells)
    ours = [bool(line["ours"]) for line in facts["rows"]] + [False] * len(measured)
    notes = _notes(facts)
    devices = dict.fromkeys(
        f"{line['hardware']}; activations: {line['memory_by']}" for line in measured
        if "hardware" in line
    )  # fmt: skip
    if devices:
        notes.append(
            ("", f"ms: median of one view of one clip, the networks alone, one after the other, on "
             f"{'; '.join(devices)}")
        )  # fmt: skip
    return Grid(columns, rows, 1, ours, [True] * len(rows), [*_row_notes(facts), *notes])


def _giga(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _optional(value: float | None, digits: int, unit: float = 1.0) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"


def _row_notes(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    notes = []
    for line in facts["rows"]:
        said = [line["said"], line["streams"], line["caveat"]]
        said += [f"{each['said']} ({each['source']})" for each in line["elsewhere"]]
        told = "; ".join(text for text in said if text)
        if told:
            notes.append((line["method"], told))
    return notes


def _notes(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    notes = [("", text) for text in facts["remarks"]]
    if any(line.get("measured") for line in facts["rows"]):
        unit = facts["interval_unit"]
        drawn = "clips" if unit == "clip" else f"whole {unit}s"
        notes.append(
            ("", f"± is the standard deviation over seeds; intervals are 95 % bootstrap of the "
             f"mean over seeds, {facts['resamples']} resamples of {drawn}")
        )  # fmt: skip
    for place in facts.get("on", []):
        where = f"{place['data']} {place['protocol']}, part {place['part']}".strip()
        if place["fingerprint"]:
            notes.append(("", f"{where}: data {place['fingerprint'][:16]}"))
    for each in facts["beyond"]:
        figures = [f"{COUNTS[key]} {each[key]}" for key in ("top1", "mean_class") if each[key]]
        streams = f", {each['streams']}" if each["streams"] else ""
        told = f"{', '.join(figures)} ({each['modality']}{streams}; {each['source']})"
        notes.append((f"not in the table: {each['method']}, {each['year']}", told))
    notes += [
        (f"in no row: {each['source']}", each["reason"]) for each in facts.get("unmatched", [])
    ]
    return notes


def as_markdown(facts: Mapping[str, Any]) -> str:
    """Return a table as Markdown under its title, with its notes below."""
    grid = as_grid(facts)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    lines = [f"**Table {facts['table']} of {facts['paper']}: {facts['title']}**", ""]
    lines += [line(grid.columns), line(["---"] * len(grid.columns))]
    lines += [
        line([f"**{row[0]}**" if ours else row[0], *row[1:]])
        for row, ours in zip(grid.rows, grid.ours, strict=True)
    ]
    lines += ["", *(f"- {f'{name}: ' if name else ''}{text}" for name, text in grid.notes)]
    return "\n".join(lines) + "\n"


def as_html(facts: Mapping[str, Any]) -> str:
    """Return a table as one self-contained page."""
    return page_environment().get_template("table.html.j2").render(
        facts=facts, grid=as_grid(facts), style=Markup(page_style())
    )  # fmt: skip


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "π": r"$\pi$",
}  # fmt: skip


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def as_latex(facts: Mapping[str, Any]) -> str:
    """Return a table as LaTeX, for the package booktabs."""
    grid = as_grid(facts)

    def line(cells: Sequence[str]) -> str:
        return "    " + " & ".join(_escaped(cell) for cell in cells) + r" \\"

    def body() -> Iterator[str]:
        for row, ours in zip(grid.rows, grid.ours, strict=True):
            if ours:
                yield r"    \midrule"
            yield line(row)

    rights = "r" * (len(grid.columns) - 1)
    notes = " ".join(
        f"{_escaped(name)}: {_escaped(text)}." if name else f"{_escaped(text)}."
        for name, text in grid.notes
    )
    return "\n".join(
        [
            r"\begin{table}",
            f"  \\caption{{{_escaped(facts['title'])}. {notes}}}",
            f"  \\begin{{tabular}}{{l{rights}}}",
            r"    \toprule",
            line(grid.columns),
            r"    \midrule",
            *body(),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )
