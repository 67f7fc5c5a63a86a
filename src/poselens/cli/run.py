"""``poselens run``: from videos or a data set folder to a bundle and a report."""

from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.output import Device, Json, give_json, give_table, percent, tell, with_interval
from poselens.cli.train import Setting


def run(
    data: Annotated[
        Path, typer.Argument(help="Data set folder, folder of videos per class, or CSV.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for everything made.")],
    recipe: Annotated[str, typer.Option(help="Recipe name or YAML file.")] = "tiny",
    protocol: Annotated[
        str | None, typer.Option(help="Split; the data set's only or first one if left out.")
    ] = None,
    streams: Annotated[str, typer.Option(help="Streams, separated by commas.")] = "rgb,joint",
    pose: Annotated[
        str, typer.Option(help="Joints of videos without any: movenet, none, auto.")
    ] = "auto",
    pose_weights: Annotated[Path | None, typer.Option(help="MoveNet's .tflite file.")] = None,
    settings: Setting = None,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Go from videos to a bundle and a report.

    Imports, estimates poses where missing, splits, trains, fuses, evaluates and reports. A run that
    was stopped goes on with the same command.
    """
    from poselens.cli.progress import bar
    from poselens.data.folder import open_folder
    from poselens.recipes import load
    from poselens.recipes.pipeline import streams_for, train_fuse_report
    from poselens.recipes.posing import with_estimated_pose
    from poselens.recipes.sources import as_folder
    from poselens.recognition.pose import choose_estimator

    folder, notes = as_folder(data, out / "data")
    if not folder.info.skeletons:
        posed = out / "data-with-pose"
        if not posed.exists():
            estimator, note = choose_estimator(pose, pose_weights)
            if estimator is None:
                notes.append(note or "no skeletons: --pose none")
                tell(notes[-1])
            else:
                with bar("estimating poses", len(folder)) as told:
                    notes += with_estimated_pose(folder, posed, estimator, told=told)
        if posed.exists():
            folder = open_folder(posed)
    chosen = protocol or next(iter(folder.info.protocols), "")
    made = train_fuse_report(
        folder,
        load(recipe),
        chosen,
        out,
        streams=streams_for(folder, streams.split(",")),
        device=device,
        settings=settings or [],
        told=tell,
        notes=notes,
    )
    if made.result is None:
        tell(f"stopped and saved; the same command goes on ({out})")
        return made.exit_code
    if as_json:
        facts = made.result.as_dict()
        give_json({"bundle": str(made.bundle), "report": str(made.report), "notes": notes, **facts})
        return 0
    rows = [*made.result.streams, made.result.fused]
    give_table(
        f"{folder.info.name}, {chosen}: {made.result.fused.n} test clips",
        ["stream", "Top-1 % [95 %]", "mean class %"],
        [
            [
                entry.stream,
                with_interval(entry.top1, entry.as_dict()["interval"]),
                percent(entry.mean_class),
            ]
            for entry in (rows if len(made.result.streams) > 1 else rows[:1])
        ],
    )
    tell(f"bundle  {made.bundle}\nreport  {made.report}")
    return 0
