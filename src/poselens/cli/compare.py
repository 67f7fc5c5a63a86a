"""``poselens compare``: the settings of a sweep side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poselens.cli.output import Json, give_json, percent, tell


def compare(
    sweep: Annotated[Path, typer.Argument(help="Folder made by train --sweep.")],
    part: Annotated[str, typer.Option(help="Part whose scores are compared.")] = "test",
    rows: Annotated[
        str | None,
        typer.Option(help="Axes whose values are rows, by commas; else all but seeds and --fuse."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Axis of the seeds.")] = "training.seed",
    fuse: Annotated[str | None, typer.Option(help="Axis of the streams to fuse.")] = None,
    weights: Annotated[
        str, typer.Option(help="paper, equal, fitted, or 2:2:1:1 in the order of --fuse.")
    ] = "paper",
    baseline: Annotated[
        str | None, typer.Option(help="Row the others are compared with, by its values.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Draw whole subjects, views or sources, not clips.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data set, for --cluster; else that of the sweep.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table to this Markdown file.")] = None,
    as_json: Json = False,
) -> int:
    """Compare the runs of a sweep.

    Mean and standard deviation over seeds, bootstrap intervals over clips, and paired differences
    to a baseline, from the scores that train --score wrote.
    """
    from poselens.checkpoint import write_bytes
    from poselens.recipes.comparing import Question, compare_sweep

    names = tuple(name.strip() for name in rows.split(",")) if rows else ()
    question = Question(part, names, seeds, fuse, weights, baseline, cluster, data)
    facts = compare_sweep(sweep, question)
    text = as_markdown(facts)
    if out is not None:
        write_bytes(out, text.encode())
        tell(f"{out}: {len(facts['rows'])} rows")
    if as_json:
        give_json(facts)
    elif out is None:
        typer.echo(text, nl=False)
    return 0


def as_markdown(facts: Mapping[str, Any]) -> str:
    """Return a comparison as a Markdown table under what it rests on."""
    fused = facts["axes"]["fuse"] is not None
    compared = facts["baseline"] is not None
    columns = [", ".join(facts["axes"]["rows"]) or "setting"]
    columns += ["streams"] if fused else []
    columns += ["Top-1 %", "95 %", "mean class %", "seeds", "n"]
    columns += ["difference", "95 %", "p", "between seeds", "verdict"] if compared else []
    lines = [*_heading(facts), "", _line(columns), _line(["---"] * len(columns))]
    for entry in facts["rows"]:
        cells = [entry["row"], *([entry["streams"]] if fused else [])]
        cells += [
            _with_deviation(entry["top1"]),
            _interval(entry["top1"]["interval"]),
            _with_deviation(entry["mean_class"]),
            str(len(entry["seeds"])),
            str(entry["n"]),
        ]
        lines.append(_line([*cells, *(_difference(entry, facts) if compared else [])]))
    lines += ["", *(f"- {note}" for note in _notes(facts))]
    return "\n".join(lines) + "\n"


def _heading(facts: Mapping[str, Any]) -> list[str]:
    data = facts["data"]
    return [
        f"**{data['name']}**, protocol `{data['protocol']}`, part `{data['part']}`, recipe "
        f"`{facts['recipe']}`, {facts['branch']} branch",
        "",
        f"- weights: {'; '.join(facts['selection'])}",
        f"- data fingerprint: `{data['fingerprint']}`",
    ]


def _notes(facts: Mapping[str, Any]) -> list[str]:
    unit = facts["interval_unit"]
    drawn = "clips" if unit == "clip" else f"{facts['units']} whole {unit}s"
    notes = [
        "± is the standard deviation over seeds; intervals are 95 % bootstrap of the mean over "
        f"seeds, {facts['resamples']} resamples of {drawn}"
    ]
    if facts["weights"]:
        notes.append(f"fusion of each seed by itself, weights {facts['weights']}")
    if facts["baseline"] is not None:
        notes.append(
            f"differences are to {facts['baseline']}, paired by clip; within noise: the interval "
            "holds 0; seeds disagree: it does not, but the difference has not the same sign in "
            "every seed; p is not corrected for the number of rows"
        )
    return [*notes, *facts["notes"]]


def _difference(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    if entry["row"] == facts["baseline"]:
        return ["baseline", "", "", "", ""]
    if entry["difference"] is None:
        return ["", "", "", "", "no baseline"]
    gain = entry["difference"]["top1"]
    spread = "" if gain["deviation"] is None else f"±{percent(gain['deviation'])}"
    return [
        f"{100 * gain['value']:+.1f}",
        _interval(gain["interval"], signed=True),
        f"{gain['p']:.3f}",
        spread,
        gain["verdict"],
    ]


def _with_deviation(spread: Mapping[str, Any]) -> str:
    told = percent(spread["mean"])
    deviation = spread["deviation"]
    return told if deviation is None else f"{told} ± {percent(deviation)}"


def _interval(ends: list[float], *, signed: bool = False) -> str:
    low, high = (f"{100 * end:+.1f}" if signed else percent(end) for end in ends)
    return f"[{low}, {high}]"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
