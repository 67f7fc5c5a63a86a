"""``poselens train``: one stream on one data set, once or for every combination of settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poselens.cli.output import Device, Json, give_json, tell

if TYPE_CHECKING:
    from poselens.training.config import RgbSection, SkeletonSection
    from poselens.training.run import Request

app = typer.Typer(help="Train one stream.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Data set folder.")]
RecipeName = Annotated[str, typer.Option(help="paper, tiny, nw-ucla, utd-mhad, or a YAML file.")]
Protocol = Annotated[str, typer.Option(help="Split of the data set.")]
Out = Annotated[Path, typer.Option(help="Folder of the run, or of a sweep's runs.")]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, such as training.epochs=30.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a stopped run or sweep.")]
SweepAxis = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep", help="key=value,value: a run for each value; for each combination if repeated."
    ),
]
AllowLeakage = Annotated[
    bool,
    typer.Option(
        "--allow-leakage",
        help="Train although test shares people, recordings or clips with train; results say so.",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="The same bits each time, on a GPU too; slower there."),
]
Jobs = Annotated[int, typer.Option(min=1, help="Processes that share the runs of a sweep.")]
Score = Annotated[
    str | None,
    typer.Option(help="Part to score once with the finished weights: train, val or test."),
]


@app.command("rgb")
def rgb(
    folder: Folder,
    recipe: RecipeName,
    protocol: Protocol,
    out: Out,
    settings: Setting = None,
    sweep: SweepAxis = None,
    jobs: Jobs = 1,
    score: Score = None,
    resume: Resume = False,
    allow_leakage: AllowLeakage = False,
    deterministic: Deterministic = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Train the RGB stream."""
    asked = (folder, recipe, protocol, out, device, resume, allow_leakage)
    return _train("rgb", asked, _with(settings, deterministic), sweep or [], jobs, score, as_json)


@app.command("skeleton")
def skeleton(
    folder: Folder,
    recipe: RecipeName,
    protocol: Protocol,
    out: Out,
    settings: Setting = None,
    sweep: SweepAxis = None,
    jobs: Jobs = 1,
    score: Score = None,
    resume: Resume = False,
    allow_leakage: AllowLeakage = False,
    deterministic: Deterministic = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Train a skeleton stream; --set input.stream=bone chooses which."""
    asked = (folder, recipe, protocol, out, device, resume, allow_leakage)
    return _train(
        "skeleton", asked, _with(settings, deterministic), sweep or [], jobs, score, as_json
    )


def _with(settings: list[str] | None, deterministic: bool) -> list[str]:
    return [*(settings or []), *(["training.deterministic=true"] if deterministic else [])]


def _train(
    branch: str,
    asked: tuple[Path, str, str, Path, str, bool, bool],
    settings: list[str],
    sweep: list[str],
    jobs: int,
    score: str | None,
    as_json: bool,
) -> int:
    from poselens.recipes import load
    from poselens.training.ranks import require_alone
    from poselens.training.run import Request

    if sweep:
        require_alone("--sweep")
    root, recipe, protocol, out, device, resume, allow_leakage = asked
    chosen = load(recipe)
    section = chosen.rgb if branch == "rgb" else chosen.skeleton
    request = Request(root, protocol, chosen.name, out, device, resume, allow_leakage)
    if sweep:
        return _sweep(branch, section, request, settings, sweep, jobs, score, as_json)
    if jobs > 1:
        raise typer.BadParameter("--jobs shares the runs of a sweep: it needs --sweep")
    return _once(section, request, settings, score, as_json)


def _once(
    section: "RgbSection | SkeletonSection",
    request: "Request",
    settings: list[str],
    score: str | None,
    as_json: bool,
) -> int:
    from poselens.data.folder import open_folder
    from poselens.recipes.scoring import require_part, score_run
    from poselens.training.config import override
    from poselens.training.run import train

    if score is not None:
        require_part(score)
    section, out = override(section, settings), request.out
    folder = open_folder(request.root)
    finished = train(folder, section, request)
    if not finished.leads:
        return finished.exit_code
    if finished.exit_code:
        if as_json:
            give_json({"run": str(out), "complete": False})
        tell(f"stopped and saved; go on with --resume ({out})")
        return finished.exit_code
    if score is not None:
        workers = section.training.workers
        score_run(out, folder, request.protocol, score, device=request.device, workers=workers)
    facts: dict[str, Any] = {"run": str(out), **finished.facts}
    if as_json:
        give_json(facts)
    else:
        tell(f"{out}: {facts['selection']}; {facts['data']['skipped']} clips skipped")
    return 0


def _sweep(
    branch: str,
    section: "RgbSection | SkeletonSection",
    request: "Request",
    settings: list[str],
    axes: list[str],
    jobs: int,
    score: str | None,
    as_json: bool,
) -> int:
    from poselens.cli.progress import Board
    from poselens.data.audit import refuse_leaks
    from poselens.data.folder import open_folder
    from poselens.recipes.combinations import parse_axes
    from poselens.recipes.sweep_file import Sweep
    from poselens.recipes.sweeping import run_sweep

    # a wrong folder or protocol is one error, not one for each run
    folder = open_folder(request.root)
    folder.indices(request.protocol, "train")
    refuse_leaks(folder, request.protocol, allowed=request.allow_leakage)
    sweep = Sweep(request, branch, parse_axes(axes), settings, jobs, score)
    board = Board(f"{branch} sweep", jobs)
    with board.shown():
        swept = run_sweep(section, sweep, told=board.tell)
    if as_json:
        give_json({"sweep": str(request.out), **swept.facts})
    outcomes = [run["outcome"] for run in swept.facts["runs"]]
    counts = {name: outcomes.count(name) for name in dict.fromkeys(outcomes)}
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if swept.exit_code > 1:
        tell(f"stopped and saved; go on with --resume ({request.out}: {told})")
    else:
        tell(f"{request.out}: {told}")
    return swept.exit_code
