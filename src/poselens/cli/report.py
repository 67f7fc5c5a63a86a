"""``poselens report``: one self-contained HTML page about a bundle."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.output import Device, Json, give_json, tell


def report(
    model: Annotated[Path, typer.Argument(help="Bundle or run.")],
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    protocol: Annotated[str, typer.Option(help="Split of the data set.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", help="Runs of the bundle, for their curves and contrast."),
    ] = None,
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    scores: Annotated[
        list[Path] | None,
        typer.Option(help="Score files of held-out folds, two or more, to find wrong labels in."),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option("--robustness", help="card.json of poselens robustness, to show too."),
    ] = None,
    attributions: Annotated[
        bool, typer.Option(help="Show what the networks look at in the first confused pairs.")
    ] = True,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Write one HTML page about a bundle.

    It shows results, curves, confusions with their clips, reliability, worst clips, likely label
    errors (also as label_suspects.csv beside it), what each stream is worth and costs, what the
    networks look at, what the contrast of skeleton streams did, and what all of it depends on.
    """
    from poselens.checkpoint import make_folder
    from poselens.cli.progress import bar
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.evaluation.robustness_file import read_card
    from poselens.recipes.attributing import attribute_clips
    from poselens.recipes.evaluating import evaluate_bundle
    from poselens.recipes.exploring import search_files
    from poselens.recipes.reporting import make_report
    from poselens.recognition.bundle import load_bundle

    make_folder(out.parent)
    data = open_folder(folder)
    bundle = load_bundle(model, device=choose_device(device))
    # refused before the clips are scored, which takes long
    searched = search_files(scores, data) if scores else None
    if card is not None:
        read_card(card)
    with bar("scoring", None) as told:
        result = evaluate_bundle(bundle, data, protocol, part, told=told)
    # a run given as a bundle of one stream has its own curves
    given = [model] if not runs and (model / "run.json").is_file() else runs or []
    order = _in_order(given, [trained.stream.name for trained in bundle.streams])
    if runs and not order:
        tell("the runs are not those of the bundle: the curves are left out")
    command = ["poselens", "report", str(model), str(folder), "--protocol", protocol]
    command += ["--part", part, "--out", str(out), *(f"--run={run}" for run in runs or [])]
    command += [f"--scores={file}" for file in scores or []]
    command += [
        *([f"--robustness={card}"] if card else []),
        *([] if attributions else ["--no-attributions"]),
    ]
    commands = [shlex.join(command)]
    attribute = attribute_clips(model, data, device=device) if attributions else None
    make_report(
        out,
        bundle,
        data,
        result,
        runs=order,
        commands=commands,
        card=card,
        attribute=attribute,
        searched=searched,
    )
    if as_json:
        give_json({"report": str(out), **result.as_dict()})
    else:
        tell(f"{out}")
    return 1 if result.skipped else 0


def _in_order(runs: list[Path], streams: list[str]) -> list[Path]:
    """Sort runs as the bundle's streams, or leave the curves out where they do not match."""
    from poselens.checkpoint import read_json
    from poselens.clips.stream import read_stream

    by_name = {
        read_stream(read_json(run / "run.json")["stream"], file=str(run)).name: run for run in runs
    }
    return [by_name[name] for name in streams] if set(streams) <= by_name.keys() else []
