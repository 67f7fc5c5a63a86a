"""``poselens explain share``: how much of what networks look at is the moving body."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poselens.cli.output import Device, Json, give_json, give_table, percent, tell

if TYPE_CHECKING:
    from collections.abc import Mapping


def share(
    runs: Annotated[
        list[Path], typer.Argument(help="Runs of one branch; differences are to the first.")
    ],
    data: Annotated[Path, typer.Option(help="Data set folder.")],
    protocol: Annotated[str, typer.Option(help="Split of the data set.")],
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Look at so many clips, spread over the part.")
    ] = None,
    moving: Annotated[
        float, typer.Option(help="Share of a clip's joints that count as moving.")
    ] = 0.25,
    radius: Annotated[
        float, typer.Option(help="Of the body around joints, in mean bone lengths; RGB only.")
    ] = 0.5,
    method: Annotated[
        str | None, typer.Option(help="gradcam for RGB, integrated-gradients for skeletons, ...")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the RGB networks.")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="What intervals draw whole: subject, source or clip."),
    ] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Also measure the first run, weights shuffled.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also draw the shares (.svg) here.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Measure how much of each run's attribution falls on the moving body.

    The number for Figure 3. Exit code 1 when a clip has no share.
    """
    from poselens.cli.progress import bar
    from poselens.data.folder import open_folder
    from poselens.recipes.moving_share import moving_shares
    from poselens.recipes.share_of_clip import ShareQuestion

    if out is not None and out.suffix.lower() != ".svg":
        raise typer.BadParameter(f"--out expects a file ending in .svg, found {out.name!r}")
    folder = open_folder(data)
    question = ShareQuestion(part, limit, moving, radius, method, layer, cluster, control)
    with bar("explaining", None) as told:
        facts = moving_shares(runs, folder, protocol, question, device=device, told=told)
    if out is not None:
        _draw(facts, out)
        facts["figure"] = str(out)
    if as_json:
        give_json(facts)
    else:
        _tell(facts)
    return 1 if facts["skipped"] else 0


def _draw(facts: "Mapping[str, Any]", out: Path) -> None:
    from poselens.checkpoint import make_folder, write_bytes
    from poselens.evaluation.figures import standalone
    from poselens.evaluation.share_figure import ShareBar, share_figure

    bars = [
        ShareBar(
            entry["run"],
            entry["share"]["mean"],
            entry["share"]["low"],
            entry["share"]["high"],
            entry["chance"],
        )
        for entry in facts["runs"]
        if entry["share"] is not None
    ]
    label = f"share of attribution on the moving body, {facts['clips']} clips"
    make_folder(out.parent)
    write_bytes(out, standalone(share_figure(bars, label=label)).encode())


def _tell(facts: "Mapping[str, Any]") -> None:
    drawn = facts["interval_unit"]
    unit = "clips" if drawn == "clip" else f"{facts['units']} whole {drawn}s"
    give_table(
        f"{facts['dataset']}, {facts['protocol']}, {facts['part']}: {facts['clips']} of "
        f"{facts['asked']} clips",
        ["run", "on the moving body % [95 %]", "chance %", "times chance", "difference [95 %]"],
        [
            [
                entry["run"],
                _with_interval(entry["share"]),
                percent(entry["chance"]),
                f"{entry['times_chance']:.2f}",
                "" if entry["difference"] is None
                else _with_interval(entry["difference"], sign="+"),
            ]
            for entry in facts["runs"]
            if entry["share"] is not None
        ],
        caption=f"{facts['attribution']}; intervals over {unit}",
    )  # fmt: skip
    for note in facts["notes"]:
        tell(f"note: {note}")
    for name, reason in list(facts["skipped"].items())[:10]:
        tell(f"  {name}: {reason}")
    if "figure" in facts:
        tell(facts["figure"])


def _with_interval(found: "Mapping[str, float]", sign: str = "") -> str:
    mean, low, high = (f"{100 * found[end]:{sign}.1f}" for end in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
