"""``poselens table``: the paper's tables, with measured results beside the printed ones."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poselens.cli.output import Device, Json, give_json, tell


def table(
    number: Annotated[int, typer.Argument(min=1, max=5, help="Table of the paper.")],
    given: Annotated[
        list[Path] | None, typer.Argument(help="Runs, sweeps, bundles and score files (.npz).")
    ] = None,
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", help="The same; repeat it for more.")
    ] = None,
    bundles: Annotated[
        list[Path] | None, typer.Option("--bundle", help="Bundle; repeat it for more.")
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option("--scores", help="Scores (.npz) as FILE or ROW=FILE; repeat it for more."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data set folder, to score what has no scores yet.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Split, or a name of `poselens protocols`.")
    ] = None,
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    weights: Annotated[
        str, typer.Option(help="Fusion of runs: paper, equal or fitted on validation.")
    ] = "paper",
    cluster: Annotated[
        str | None, typer.Option(help="Draw whole subjects, views or sources; needs --data.")
    ] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="Table 3: recipe to count; repeat it for more.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this .md, .html or .tex file.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Print a table of the paper beside our own numbers.

    Runs are matched to rows by their settings. Cells are empty where nothing was run; other data
    sets than the paper's fill tables 4 and 5 likewise.
    """
    from poselens.recipes.table_runs import Given
    from poselens.recipes.tables import PRESETS, make_table

    write = _writer(out)
    paths = [*(given or ()), *(runs or ())]
    files = [str(path) for path in paths if path.suffix == ".npz"]
    folders = [path for path in paths if path.suffix != ".npz"]
    read = (folders, bundles or (), [*files, *(scores or ())])
    asked = Given(*read, data, protocol, part, weights, cluster, device)
    facts = make_table(number, asked, presets=recipe or PRESETS)
    if out is not None:
        _keep(out, write(facts), len(facts["rows"]))
    if as_json:
        give_json(facts)
    elif out is None:
        typer.echo(write(facts), nl=False)
    return 0


def _writer(out: Path | None) -> Callable[[Mapping[str, Any]], str]:
    """Return what writes a table as this kind of file, before anything is read."""
    from poselens.errors import UsageError
    from poselens.evaluation.table_page import as_html, as_latex, as_markdown

    writers = {".md": as_markdown, ".html": as_html, ".tex": as_latex}
    if out is None:
        return as_markdown
    if out.suffix not in writers:
        raise UsageError(
            "CFG-112", f"found --out {out.name!r}", mend=f"end it in {', '.join(writers)}"
        )
    return writers[out.suffix]


def _keep(out: Path, text: str, rows: int) -> None:
    from poselens.checkpoint import make_folder, write_bytes

    make_folder(out.parent)
    write_bytes(out, text.encode())
    tell(f"{out}: {rows} rows")
