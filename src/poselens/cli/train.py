"""``poselens train``: one stream on one data set."""

from pathlib import Path
from typing import Annotated, Any

import typer

from poselens.cli.output import Device, Json, give_json, tell

app = typer.Typer(help="Train one stream.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Data set folder.")]
RecipeName = Annotated[str, typer.Option(help="paper, tiny, nw-ucla, utd-mhad, or a YAML file.")]
Protocol = Annotated[str, typer.Option(help="Split of the data set.")]
Out = Annotated[Path, typer.Option(help="Folder of the run.")]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, such as training.epochs=30.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")]


@app.command("rgb")
def rgb(
    folder: Folder,
    recipe: RecipeName,
    protocol: Protocol,
    out: Out,
    settings: Setting = None,
    resume: Resume = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Train the RGB stream."""
    return _train("rgb", folder, recipe, protocol, out, settings, resume, device, as_json)


@app.command("skeleton")
def skeleton(
    folder: Folder,
    recipe: RecipeName,
    protocol: Protocol,
    out: Out,
    settings: Setting = None,
    resume: Resume = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Train a skeleton stream; --set input.stream=bone chooses which."""
    return _train("skeleton", folder, recipe, protocol, out, settings, resume, device, as_json)


def _train(
    branch: str,
    root: Path,
    recipe: str,
    protocol: str,
    out: Path,
    settings: list[str] | None,
    resume: bool,
    device: str,
    as_json: bool,
) -> int:
    from poselens.data.folder import open_folder
    from poselens.recipes import load
    from poselens.training.config import RgbSection, SkeletonSection, override
    from poselens.training.run import Request, train

    chosen = load(recipe)
    section: RgbSection | SkeletonSection = chosen.rgb if branch == "rgb" else chosen.skeleton
    section = override(section, settings or [])
    request = Request(root, protocol, chosen.name, out, device, resume)
    finished = train(open_folder(root), section, request)
    if finished.exit_code:
        if as_json:
            give_json({"run": str(out), "complete": False})
        tell(f"stopped and saved; go on with --resume ({out})")
        return finished.exit_code
    facts: dict[str, Any] = {"run": str(out), **finished.facts}
    if as_json:
        give_json(facts)
    else:
        tell(f"{out}: {facts['selection']}; {facts['data']['skipped']} clips skipped")
    return 0
