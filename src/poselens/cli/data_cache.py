"""``poselens data cache``: decode a data set once, or make copies of it that cost little."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from poselens.cli.data_import import MAX_BAD
from poselens.cli.output import Json, give_json, tell
from poselens.errors import UsageError

if TYPE_CHECKING:
    from poselens.recipes.copying import Copied


class Kept(StrEnum):
    """How frames are kept."""

    RAW = "raw"
    PACKED = "packed"
    VIDEO = "video"


class Crop(StrEnum):
    """What of a picture a copy keeps."""

    REGION = "region"
    SQUARE = "square"
    NONE = "none"


Recipe = Annotated[
    str | None, typer.Option(help="Recipe whose input is cut (raw, packed): a name or a YAML file.")
]
Form = Annotated[
    Kept,
    typer.Option(
        "--format", help="packed: JPEG; raw: pixels, 12 times the size; video: a new data set."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="key=value of the RGB section, as given to train rgb (raw, packed)."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="raw, packed: folder on another disk, to which the data set gets a link; "
        "video: the new data set."
    ),
]
Preview = Annotated[
    Path | None, typer.Option(help="Also write a PNG of cached frames to look at (raw, packed).")
]
Workers = Annotated[int | None, typer.Option(min=0, help="Processes; one per core by default.")]
ShortSide = Annotated[
    int | None,
    typer.Option(
        min=16, help="video: pixels of the shorter side of what a network looks at (256)."
    ),
]
Gop = Annotated[
    int | None, typer.Option(min=1, help="video: most frames from key frame to key frame (15).")
]
Crf = Annotated[
    int | None, typer.Option(min=0, max=51, help="video: quality, lower is better (18).")
]
CropOption = Annotated[
    Crop | None, typer.Option(help="video: what of a picture is kept (region where joints are).")
]
Margin = Annotated[
    float | None,
    typer.Option(min=0, max=10, help="video: margin of the region on each side, a share (0.5)."),
]
Seconds = Annotated[
    float | None, typer.Option(min=1, help="video: time that one clip may take (600).")
]


def cache(
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    recipe: Recipe = None,
    protocol: Annotated[str, typer.Option(help="Clips of this split; all for every clip.")] = "all",
    form: Form = Kept.PACKED,
    workers: Workers = None,
    settings: Settings = None,
    out: Out = None,
    preview: Preview = None,
    short_side: ShortSide = None,
    gop: Gop = None,
    crf: Crf = None,
    crop: CropOption = None,
    margin: Margin = None,
    seconds: Seconds = None,
    as_json: Json = False,
) -> int:
    """Decode every clip once, so that training reads small frames, or make small copies.

    raw and packed keep the regions that one recipe looks at, beside the videos. video writes a data
    set of its own, whose short, small videos every command reads. What was stopped goes on where it
    was, and what is there already is kept. Exit code 1 when more than 1 % of the clips cannot be
    read.
    """
    copying = {
        "short_side": short_side, "gop": gop, "crf": crf, "margin": margin, "seconds": seconds,
        "crop": None if crop is None else crop.value,
    }  # fmt: skip
    caching = {"recipe": recipe, "set": settings, "preview": preview}
    video = form is Kept.VIDEO
    _refuse(form, caching if video else copying)
    if video:
        if out is None or workers == 0:
            raise UsageError(
                "DATA-068",
                "copies need a folder" if out is None else "copies are made in child processes",
                mend="give --out NEWDIR" if out is None else "give --workers 1 or more",
            )
        return _copy(folder, out, protocol, workers, copying, as_json=as_json)
    if recipe is None:
        raise UsageError(
            "DATA-068", f"--format {form.value} needs --recipe", mend="give the recipe you train"
        )
    return _decode(
        folder, recipe, protocol, form, workers, settings or [], out, preview, as_json=as_json
    )


def _refuse(form: Kept, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value:
            raise UsageError(
                "DATA-068",
                f"--format {form.value} has no use for --{name.replace('_', '-')}",
                mend="leave it out",
            )


def _decode(
    folder: Path,
    recipe: str,
    protocol: str,
    form: Kept,
    workers: int | None,
    settings: list[str],
    out: Path | None,
    preview: Path | None,
    *,
    as_json: bool,
) -> int:
    from poselens.cli.progress import bar
    from poselens.data.folder import open_folder
    from poselens.recipes import load
    from poselens.recipes.caching import cache_clips, wanted_clips, write_preview
    from poselens.training.config import override

    section = override(load(recipe).rgb, settings)
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


def _copy(
    folder: Path,
    out: Path,
    protocol: str,
    workers: int | None,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> int:
    from poselens.cli.progress import bar
    from poselens.clips.copies import CopySettings
    from poselens.data.children import Limits
    from poselens.data.folder import open_folder
    from poselens.recipes.caching import wanted_clips
    from poselens.recipes.copying import LIMITS, copy_folder

    data = open_folder(folder)
    given = {name: value for name, value in options.items() if value is not None}
    limits = Limits(given.pop("seconds", LIMITS.seconds))
    if "crop" not in given and "pixels" not in data.info.skeletons:
        given["crop"] = Crop.NONE.value
    clips = wanted_clips(data, protocol)
    with bar("copying clips", len(clips)) as told:
        copied = copy_folder(
            data, clips, out, CopySettings(**given), workers=workers, limits=limits, told=told
        )
    if as_json:
        give_json(copied.as_dict())
    else:
        _say(copied)
    return 1 if len(copied.report.skipped) > MAX_BAD * len(clips) else 0


def _say(copied: "Copied") -> None:
    skipped = copied.report.skipped
    tell(
        f"{copied.out}: {copied.clips} clips, {copied.made} copied now "
        f"({copied.as_dict()['clips_per_s']:.1f} a second), {len(skipped)} left out; "
        f"{copied.before / 1e6:,.1f} MB of videos became {copied.after / 1e6:,.1f} MB"
    )
    if copied.whole:
        tell(f"  {copied.whole} clips keep the whole picture: nobody was found in them")
    for clip, text in list(copied.short.items())[:10]:
        tell(f"  {clip}: {text}")
    for entry in skipped[:10]:
        tell(f"  {entry.code} {entry.file}: {entry.message}")
