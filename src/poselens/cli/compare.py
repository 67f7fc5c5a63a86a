"""``poselens compare``: the settings of a sweep, or two runs, side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poselens.cli.output import Device, Json, give_json, percent, tell


def compare(
    paths: Annotated[
        list[Path],
        typer.Argument(help="A folder made by train --sweep, or two runs, bundles or score files."),
    ],
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
        str | None,
        typer.Option(
            help="Draw whole subjects, views or sources, not clips; of two runs also auto."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data set: for --cluster, and to score what has no scores."),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Split of the data set, to score what has no scores.")
    ] = None,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the table to this Markdown file.")] = None,
    as_json: Json = False,
) -> int:
    """Compare the runs of a sweep, or two models clip by clip.

    Of a sweep: mean and standard deviation over seeds, bootstrap intervals over clips, and paired
    differences to a baseline, from the scores that train --score wrote. Of two: the difference of
    every figure with its paired interval, McNemar's test, the classes that move, and the clips that
    only one has right.
    """
    from poselens.checkpoint import write_bytes
    from poselens.recipes.comparing import Question, compare_sweep

    if len(paths) > 1:
        of_sweeps = {"--rows": rows, "--fuse": fuse, "--baseline": baseline, "--out": out}
        return _compare_two(paths, of_sweeps, (data, protocol, part, cluster, device), as_json)
    (sweep,) = paths
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


def _compare_two(
    paths: list[Path],
    of_sweeps: Mapping[str, Any],
    asked: tuple[Path | None, str | None, str, str | None, str],
    as_json: bool,
) -> int:
    from poselens.cli.figures import give_pair
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.recipes.pairing import compare_two, require_two

    require_two(paths, [name for name, value in of_sweeps.items() if value is not None])
    data, protocol, part, cluster, device = asked
    facts = compare_two(
        *paths,
        folder=None if data is None else open_folder(data),
        protocol=protocol,
        part=part,
        cluster=cluster or "auto",
        device=choose_device(device),
    )
    if as_json:
        give_json(facts)
        return 0
    give_pair(facts)
    for note in [*facts["interval_notes"], *facts["notes"]]:
        tell(f"note: {note}")
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
