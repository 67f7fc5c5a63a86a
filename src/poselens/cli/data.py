"""``poselens data``: make data set folders, and decode them ahead of training."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.data_cache import cache
from poselens.cli.data_check import check
from poselens.cli.data_import import import_
from poselens.cli.data_split import split
from poselens.cli.output import Json, give_json, tell

app = typer.Typer(help="Import, part, draw, cache or copy data sets.", no_args_is_help=True)


app.command("import")(import_)
app.command("check")(check)
app.command("split")(split)
app.command("cache")(cache)


@app.command("synth")
def synth(
    out: Annotated[Path, typer.Option(help="Data set folder to write.")],
    clips: Annotated[int, typer.Option(min=16, help="Number of clips.")] = 320,
    seed: Annotated[int, typer.Option(help="Equal seeds draw equal bytes.")] = 0,
    difficulty: Annotated[str, typer.Option(help="easy, standard or hard.")] = "standard",
    motion: Annotated[
        Path | None, typer.Option(help="Joint file that drives the bodies, instead of formulas.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Drawing processes.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write a contact sheet PNG.")] = None,
    as_json: Json = False,
) -> int:
    """Draw people performing near-identical actions."""
    from poselens.cli.progress import bar
    from poselens.synth.make import make_dataset
    from poselens.synth.sheet import write_contact_sheet

    with bar("drawing clips", clips) as told:
        summary = make_dataset(
            out,
            clips=clips,
            seed=seed,
            difficulty=difficulty,
            motion=motion,
            workers=workers,
            progress=lambda done, total: told(),
        )
    if sheet is not None:
        write_contact_sheet(out, sheet)
    if as_json:
        give_json({"out": str(out), "seed": seed, "difficulty": difficulty, **asdict(summary)})
    else:
        tell(f"{out}: {clips} clips drawn")
    return 0
