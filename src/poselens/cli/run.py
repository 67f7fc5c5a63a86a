"""``poselens run``: from videos or a data set folder to a bundle and a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import Device, Json, give_json, give_results, tell
from poselens.cli.train import AllowLeakage, Setting

if TYPE_CHECKING:
    from poselens.data.folder import ClipFolder


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
    allow_leakage: AllowLeakage = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Go from videos to a bundle and a report.

    Imports, estimates poses where missing, splits, trains, fuses, evaluates and reports. A run that
    was stopped goes on with the same command.
    """
    from poselens.recipes import load
    from poselens.recipes.pipeline import streams_for, train_fuse_report
    from poselens.recipes.sources import as_folder

    chosen_recipe = load(recipe)
    folder, notes = as_folder(data, out / "data")
    if not folder.info.skeletons:
        folder, more = _with_joints(folder, out / "data-with-pose", pose, pose_weights)
        notes += more
    made = train_fuse_report(
        folder,
        chosen_recipe,
        protocol or next(iter(folder.info.protocols), ""),
        out,
        streams=streams_for(folder, [name.strip() for name in streams.split(",")]),
        device=device,
        settings=settings or [],
        allow_leakage=allow_leakage,
        told=tell,
        notes=notes,
    )
    if made.result is None:
        if as_json:
            give_json({"bundle": None, "complete": False})
        tell(f"stopped and saved; the same command goes on ({out})")
        return made.exit_code
    if as_json:
        facts = made.result.as_dict()
        paths = {"bundle": str(made.bundle), "report": str(made.report)}
        give_json({**paths, **facts, "notes": [*notes, *facts["notes"]]})
    else:
        give_results(f"{folder.info.name}, {made.result.protocol}", made.result)
        tell(f"bundle  {made.bundle}\nreport  {made.report}")
    return 0


def _with_joints(
    folder: "ClipFolder", posed: Path, pose: str, pose_weights: Path | None
) -> tuple["ClipFolder", list[str]]:
    """Return the data set with estimated joints, or as it is where none can be estimated."""
    from poselens.cli.pose import progress
    from poselens.data.folder import open_folder
    from poselens.recipes.pose_results import read_report
    from poselens.recipes.pose_sources import DataSetClips
    from poselens.recipes.posing import estimate_poses, notes_of
    from poselens.recognition.pose import choose
    from poselens.recognition.pose_clip import PoseJob

    if posed.exists():
        finished = read_report(posed)
        return open_folder(posed), [] if finished is None else list(notes_of(finished))
    choice, note = choose(pose, pose_weights)
    if choice is None:
        told = note or "no skeletons: --pose none"
        tell(told)
        return folder, [told]
    with progress() as begun:
        made = estimate_poses(DataSetClips(folder), posed, PoseJob(choice), begun=begun)
    return open_folder(posed), [] if made is None else list(notes_of(made))
