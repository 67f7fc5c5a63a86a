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
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Judge a bundle or run, or a score file of any tool, on one part of a split.

    Accuracies come with 95 % intervals. Exit code 1 when a clip could not be read.
    """
    from poselens.cli.progress import bar
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.evaluation.foreign import is_score_file
    from poselens.recipes.evaluating import evaluate_bundle
    from poselens.recipes.fusing_scores import Clips
    from poselens.recipes.judging_scores import SELECTION, evaluate_scores
    from poselens.recognition.bundle import load_bundle

    data = open_folder(folder)
    if is_score_file(model):
        clips = Clips(data, protocol, part, ids)
        result = evaluate_scores(model, clips, views=views, scores_out=scores)
        selection = SELECTION
    else:
        bundle = load_bundle(model, device=choose_device(device))
        with bar("scoring", None) as told:
            result = evaluate_bundle(
                bundle, data, protocol, part, views=views, told=told, scores_out=scores
            )
        selection = bundle.selection
    facts = result.as_dict()
    exit_code = 1 if result.skipped else 0
    if as_json:
        give_json(facts)
        return exit_code
    give_results(f"{data.info.name}, {protocol}", result)
    tell(f"selection: {selection}")
    tell(f"data: {data.fingerprint()[:16]}; {len(result.skipped)} clips skipped")
    for clip, reason in list(result.skipped.items())[:10]:
        tell(f"  {clip}: {reason}")
    for note in result.notes:
        tell(f"note: {note}")
    return exit_code
