"""``poselens data``: make data set folders, and decode them ahead of training."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from poselens.cli.data_check import check
from poselens.cli.data_import import MAX_BAD, import_
from poselens.cli.data_split import split
from poselens.cli.output import Json, give_json, tell

app = typer.Typer(help="Import, part, draw or cache data sets.", no_args_is_help=True)


class Kept(StrEnum):
    """How cached frames are kept."""

    RAW = "raw"
    PACKED = "packed"


app.command("import")(import_)
app.command("check")(check)
app.command("split")(split)


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


@app.command("cache")
def cache(
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    recipe: Annotated[str, typer.Option(help="Recipe whose input is cut: a name or a YAML file.")],
    protocol: Annotated[str, typer.Option(help="Clips of this split; all for every clip.")] = "all",
    form: Annotated[
        Kept, typer.Option("--format", help="packed: JPEG; raw: pixels, 12 times the size.")
    ] = Kept.PACKED,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding processes; one per core by default.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value of the RGB section, as given to train rgb."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder on another disk; the data set gets a link to it.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Also write a PNG of cached frames to look at.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Decode every clip's region once, so that training reads small frames.

    A build that was stopped goes on where it was, and what is there already is kept. Exit code 1
    when more than 1 % of the clips cannot be read.
    """
    from poselens.cli.progress import bar
    from poselens.data.folder import open_folder
    from poselens.recipes import load
    from poselens.recipes.caching import cache_clips, wanted_clips, write_preview
    from poselens.training.config import override

    section = override(load(recipe).rgb, settings or [])
    data = open_folder(folder)
    kept: Literal["raw", "packed"] = "raw" if form is Kept.RAW else "packed"
    clips = wanted_clips(data, protocol)
    with bar("decoding regions", len(clips)) as told:
        found = cache_clips(
            data, clips, section.input, kept, workers=workers, out=out, told=lambda _clip: told()
        )
    if preview is not None:
        write_preview(data, clips, section.input, kept, preview)
    facts = found.as_dict()
    if as_json:
        give_json(facts)
    else:
        new = f"{found.added} decoded now" if found.added else "all of them there already"
        tell(
            f"{found.folder}: {found.clips} clips, {new}, {len(found.skipped)} skipped; "
            f"{found.size / 1e6:,.1f} MB on disk, {facts['bytes_per_clip'] / 1e3:,.0f} kB a clip"
        )
        for clip, reason in list(found.skipped.items())[:10]:
            tell(f"  {clip}: {reason}")
        tell(f"use it with: poselens train rgb {folder} --set {facts['use']} ...")
    return 1 if len(found.skipped) > MAX_BAD * found.clips else 0
