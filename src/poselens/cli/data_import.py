"""``poselens data import``: make a data set folder out of recordings."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poselens.cli.output import Json, give_json, tell
from poselens.errors import UsageError

if TYPE_CHECKING:
    from poselens.data.importing import ImportReport

MAX_BAD = 0.01
"""Largest share of damaged clips that still counts as a clean import."""

NO_CLIP = ("DATA-012", "DATA-021", "DATA-030", "PKL-008")
"""Codes of what was never meant as a clip or is listed as unusable, or lost its video or joints."""

PROGRESS = "told"
"""The keyword of importers that say how far they are."""


class Format(StrEnum):
    """What can be imported."""

    UTD_MHAD = "utd-mhad"
    NW_UCLA = "nw-ucla"
    BANDAI2 = "bandai2"
    FOLDER = "folder"
    CSV = "csv"
    PYSKL = "pyskl"
    FINEGYM = "finegym"
    NTU60 = "ntu60"
    NTU120 = "ntu120"
    CTR_GCN = "ctr-gcn"
    KEYPOINTS = "keypoints"
    BORIS = "boris"
    ELAN = "elan"


class Subset(StrEnum):
    """Which classes of FineGym."""

    GYM99 = "gym99"
    GYM288 = "gym288"


class Version(StrEnum):
    """Which train list of FineGym."""

    V1_0 = "v1.0"
    V1_1 = "v1.1"


class Linked(StrEnum):
    """How a video comes into the data set."""

    COPY = "copy"
    HARD = "hard"
    SYMBOLIC = "symbolic"


Picture = Annotated[str | None, typer.Option(help="utd-mhad as published: colour or depth.")]
Tool = Annotated[
    str | None, typer.Option(help="keypoints: the tool, where it is not told by content.")
]
Size = Annotated[
    str | None, typer.Option(help="keypoints: WIDTHxHEIGHT, for MediaPipe without videos.")
]
Tier = Annotated[str | None, typer.Option(help="elan: the tier whose annotations are the classes.")]
PointWindow = Annotated[
    float | None,
    typer.Option(min=0.01, help="boris: seconds of a clip around an event without duration."),
]


def import_(
    kind: Annotated[Format, typer.Argument(help="What SRC is.")],
    src: Annotated[Path, typer.Argument(help="Folder or file to read.")],
    out: Annotated[Path, typer.Option(help="Data set folder to write.")],
    videos: Annotated[
        Path | None, typer.Option(help="Folder of the videos, where they lie elsewhere.")
    ] = None,
    link: Annotated[
        Linked | None, typer.Option(help="Whether videos are copied (default) or linked.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a random split.")] = None,
    missing: Annotated[
        Path | None, typer.Option(help="List of recordings to leave out, instead of NTU's own.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="Folder with the names of an archive's clips.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Reading processes; one per core by default.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Joint layout, where files do not say it: a name or a YAML file."),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="File of class names, one a line, in the order of labels.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Least confidence of a joint that counts as seen.")
    ] = None,
    skeletons: Annotated[
        Path | None, typer.Option(help="Annotation pickle with the joints of FineGym's clips.")
    ] = None,
    subset: Annotated[Subset | None, typer.Option(help="Classes of FineGym.")] = None,
    version: Annotated[Version | None, typer.Option(help="Train list of FineGym.")] = None,
    picture: Picture = None,
    tool: Tool = None,
    size: Size = None,
    tier: Tier = None,
    point_window: PointWindow = None,
    as_json: Json = False,
) -> int:
    """Make a data set folder out of recordings.

    A published data set, a folder of videos per class, a CSV, key points of a tool, or annotations
    of BORIS or ELAN. Options that the format has no use for are refused. Exit code 1 when more than
    1 % of the clips were left out as damaged.
    """
    given: dict[str, Any] = {
        "videos": videos,
        "link": None if link is None else link.value,
        "seed": seed,
        "picture": picture,
        "tool": tool,
        "size": size,
        "tier": tier,
        "point_window": point_window,
        "missing": missing,
        "names": names,
        "workers": workers,
        "layout": layout,
        "classes": classes,
        "min_score": min_score,
        "skeletons": skeletons,
        "subset": None if subset is None else subset.value,
        "version": None if version is None else version.value,
    }
    report = _call(
        kind, src, out, {name: value for name, value in given.items() if value is not None}
    )
    if as_json:
        give_json(report.as_dict())
    else:
        tell(f"{out}: {report.imported} clips, {len(report.skipped)} skipped")
        for skipped in report.skipped[:10]:
            tell(f"  {skipped.code} {skipped.file}: {skipped.message}")
        for note in report.notes:
            tell(f"  {note}")
    return 1 if _unreadable(report) > MAX_BAD * (report.imported + len(report.skipped)) else 0


def importers() -> dict[Format, "Callable[..., ImportReport]"]:
    """Return the function that imports each format; its keywords are the options it takes."""
    from poselens.data import (
        bandai2,
        boris,
        class_folders,
        csv_clips,
        ctr_gcn,
        elan,
        finegym,
        keypoint_clips,
        ntu,
        nw_ucla,
        pyskl,
        utd_mhad,
    )

    return {
        Format.UTD_MHAD: utd_mhad.import_utd_mhad,
        Format.NW_UCLA: nw_ucla.import_nw_ucla,
        Format.BANDAI2: bandai2.import_bandai2,
        Format.FOLDER: class_folders.import_class_folders,
        Format.CSV: csv_clips.import_csv,
        Format.NTU60: ntu.import_ntu60,
        Format.NTU120: ntu.import_ntu120,
        Format.CTR_GCN: ctr_gcn.import_ctr_gcn,
        Format.PYSKL: pyskl.import_pyskl,
        Format.FINEGYM: finegym.import_finegym,
        Format.KEYPOINTS: keypoint_clips.import_keypoints,
        Format.BORIS: boris.import_boris,
        Format.ELAN: elan.import_elan,
    }


def _call(kind: Format, src: Path, out: Path, options: dict[str, Any]) -> "ImportReport":
    importer = importers()[kind]
    words = inspect.signature(importer).parameters
    taken = [name for name in words if name not in ("src", "out", PROGRESS)]
    for name in options:
        if name not in taken:
            flags = ", ".join(f"--{known.replace('_', '-')}" for known in taken)
            raise UsageError(
                "CFG-016",
                f"{kind.value} has no use for --{name.replace('_', '-')}",
                mend=f"leave it out; {kind.value} takes {flags or 'no options'}",
            )
    if PROGRESS not in words:
        return importer(src, out, **options)
    from poselens.cli.progress import counted

    with counted("importing clips") as told:
        return importer(src, out, **options, **{PROGRESS: told})


def _unreadable(report: "ImportReport") -> int:
    """Count what was left out as damaged, not what was no clip in the first place."""
    return sum(skipped.code not in NO_CLIP for skipped in report.skipped)
