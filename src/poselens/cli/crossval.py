"""``poselens crossval`` and ``poselens pool``: folds, and what they say together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poselens.cli.output import (
    Device,
    Json,
    give_json,
    give_table,
    percent,
    tell,
    with_interval,
)


def crossval(
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    recipe: Annotated[str, typer.Option(help="Recipe name, or a YAML file.")],
    streams: Annotated[str, typer.Option(help="rgb and skeleton streams, by commas.")],
    out: Annotated[Path, typer.Option(help="Folder of all folds; the same call goes on in it.")],
    folds_of: Annotated[
        str | None, typer.Option(help="Folds made by data split: NAME-1, NAME-2, ...")
    ] = None,
    leave_out: Annotated[
        str | None, typer.Option(help="Leave out subject, view, source, session or event in turn.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds of --leave-out; else one per value.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Protocol whose test part is left alone.")
    ] = None,
    with_test: Annotated[
        bool, typer.Option("--with-test", help="Use every clip, test parts included.")
    ] = False,
    val: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of training that validates; 0 for none.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds of --leave-out.")] = 0,
    weights: Annotated[
        str, typer.Option(help="Fusion within each fold: paper, equal or fitted.")
    ] = "paper",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for every run of every fold.")
    ] = None,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Train folds that share what they should not.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Train folds, and judge each clip by one it was not in.

    Streams are fused within each fold. Pooled accuracies come with intervals over the groups left
    out. The test part of the data set's protocol stays untouched unless --with-test is given.
    Stopped, it goes on where it was.
    """
    from poselens.data.folder import open_folder
    from poselens.recipes import load
    from poselens.recipes.crossval import Validation, cross_validate
    from poselens.recipes.folding import Folding
    from poselens.training.ranks import require_alone

    require_alone("crossval")
    names = tuple(name.strip() for name in streams.split(",") if name.strip())
    chosen = tuple(settings or ())
    plan = Validation(load(recipe), names, out, weights, chosen, device, allow_leakage)
    wanted = Folding(folds_of, leave_out, folds, protocol, with_test, val, seed)
    crossed = cross_validate(open_folder(folder), wanted, plan, told=tell)
    if as_json:
        give_json(crossed.facts)
        return crossed.exit_code
    if crossed.exit_code:
        tell(f"stopped and saved; the same command goes on ({out})")
        return crossed.exit_code
    _give(crossed.facts)
    return 0


def pool(
    scores: Annotated[list[Path], typer.Argument(help="Score files (.npz), one per fold.")],
    out: Annotated[Path | None, typer.Option(help="Write the pooled scores (.npz) here.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data set folder, for --cluster.")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Draw whole subjects, views or sources, not clips.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Pool the scores of folds, and judge them together.

    Scores of one stream, each clip in one fold.
    """
    from poselens.recipes.pooled import pool_files

    facts = pool_files(scores, out=out, data=data, cluster=cluster)
    if as_json:
        give_json(facts)
        return 0
    _give(facts)
    return 0


def _give(facts: Mapping[str, Any]) -> None:
    rows = []
    for stream, judged in facts["streams"].items():
        over, folds = judged["over_folds"]["top1"], judged["folds"]
        worst = min(folds, key=lambda fold: fold["top1"])
        spread = "" if over["deviation"] is None else f" ± {percent(over['deviation'])}"
        rows.append(
            [
                stream,
                with_interval(judged["top1"], judged["interval"]),
                with_interval(judged["mean_class"], judged["mean_class_interval"]),
                f"{percent(over['mean'])}{spread}",
                f"{percent(worst['top1'])} ({worst['fold']})",
                str(judged["n"]),
            ]
        )
    first = next(iter(facts["streams"].values()))
    drawn = "clips" if first["groups"] is None else f"{first['groups']} groups ({facts['by']})"
    give_table(
        f"{facts['data']['name']}: {len(first['folds'])} folds, intervals over {drawn}",
        ["stream", "pooled Top-1 % [95 %]", "mean class % [95 %]", "folds ± sd", "worst", "n"],
        rows,
    )
    gain = facts.get("gain")
    if gain is not None:
        low, high = (f"{100 * end:+.1f}" for end in gain["interval"])
        tell(f"fused against {gain['over']}: {100 * gain['value']:+.1f} [{low}, {high}]")
    kept = facts.get("kept_out") or {}
    if kept.get("clips"):
        tell(f"{kept['clips']} clips left alone: the test part of {kept['test_part_of']!r}")
    for note in facts["notes"]:
        tell(f"note: {note}")
    for stream, path in facts["files"].items():
        tell(f"out-of-fold scores of {stream}: {path}")
