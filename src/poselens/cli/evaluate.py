"""``poselens evaluate``: how right a bundle or run is, with everything the number depends on."""

from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.output import Device, Json, give_json, give_results, tell


def evaluate(
    model: Annotated[Path, typer.Argument(help="Bundle, run or score file.")],
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    protocol: Annotated[str, typer.Option(help="Split of the data set.")],
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    scores: Annotated[Path | None, typer.Option(help="Also write the scores (.npz) here.")] = None,
    views: Annotated[
        str,
        typer.Option(help="RGB views averaged: centre, 3-crops, 6-offsets or 3-crops+6-offsets."),
    ] = "centre",
    ids: Annotated[
        str | None,
        typer.Option(help="Names of a score file's rows: a list, or ANNOTATIONS.pkl:SPLIT."),
    ] = None,
    cluster: Annotated[
        str,
        typer.Option(
            help="What intervals draw: clip, subject, source, view, session, event, or auto: "
            "subjects where there are 5 or more."
        ),
    ] = "auto",
    unknown: Annotated[
        float | None,
        typer.Option(help="Choose on val below which score `unknown` is said, at this rate."),
    ] = None,
    outside: Annotated[
        Path | None, typer.Option(help="Scores (.npz) of clips of other classes, for --unknown.")
    ] = None,
    conformal: Annotated[
        float | None,
        typer.Option(help="Choose on val label sets that miss the right label at this rate."),
    ] = None,
    sets: Annotated[str, typer.Option(help="How sets are made: lac or aps.")] = "lac",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Sets that keep the rate for every class.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Judge a bundle or run, or a score file of any tool, on one part of a split.

    Every figure comes with its 95 % interval, which draws whole subjects where it can. Exit code 1
    when a clip could not be read.
    """
    from poselens.cli.figures import give_figures, give_hierarchy, tell_abstention
    from poselens.cli.progress import bar
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.evaluation.foreign import is_score_file
    from poselens.recipes.abstaining import (
        abstain,
        abstain_from_scores,
        as_asked,
        require_possible,
    )
    from poselens.recipes.evaluating import evaluate_bundle
    from poselens.recipes.fusing_scores import Clips
    from poselens.recipes.judging_scores import SELECTION, evaluate_scores
    from poselens.recognition.bundle import load_bundle

    data = open_folder(folder)
    asked = as_asked(unknown, conformal, sets, per_class=per_class, outside=outside)
    if is_score_file(model):
        clips = Clips(data, protocol, part, ids)
        result = evaluate_scores(model, clips, views=views, cluster=cluster, scores_out=scores)
        doubt, selection = abstain_from_scores(result, asked), SELECTION
    else:
        bundle = load_bundle(model, device=choose_device(device))
        require_possible(bundle, data, protocol, part, asked)
        with bar("scoring", None) as told:
            result = evaluate_bundle(
                bundle,
                data,
                protocol,
                part,
                views=views,
                cluster=cluster,
                told=told,
                scores_out=scores,
            )
            doubt = abstain(bundle, data, protocol, result, asked, told=told)
        selection = bundle.selection
    facts = {**result.as_dict(), **doubt.as_dict()}
    facts["notes"] += doubt.notes
    exit_code = 1 if result.skipped else 0
    if as_json:
        give_json(facts)
        return exit_code
    give_results(f"{data.info.name}, {protocol}", result)
    give_figures(result)
    if result.hierarchy is not None:
        give_hierarchy(result.hierarchy)
    tell_abstention(doubt)
    tell(f"selection: {selection}")
    tell(f"data: {data.fingerprint()[:16]}; {len(result.skipped)} clips skipped")
    for clip, reason in list(result.skipped.items())[:10]:
        tell(f"  {clip}: {reason}")
    for note in result.notes:
        tell(f"note: {note}")
    return exit_code
