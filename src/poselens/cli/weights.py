"""``poselens weights``: published weights by name, and published checkpoints converted."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.output import Json, give_json, give_table

app = typer.Typer(help="Pretrained weights.", no_args_is_help=True)


class Network(StrEnum):
    """Published networks whose checkpoints can be converted."""

    ctr_gcn = "ctr-gcn"


@app.command("list")
def list_(as_json: Json = False) -> int:
    """Show every named file, its licence, its hash, and whether it is in the cache."""
    from poselens.pose.weights import WEIGHTS, cached

    rows = [
        {
            "name": entry.name,
            "file": entry.file,
            "sha256": entry.sha256,
            "licence": entry.licence,
            "sources": list(entry.sources),
            "cached": None if cached(entry.name) is None else str(cached(entry.name)),
        }
        for entry in WEIGHTS.values()
    ]
    if as_json:
        give_json({"weights": rows})
    else:
        give_table(
            "weights",
            ["name", "file", "sha256", "licence", "cached"],
            [
                [
                    str(row["name"]),
                    str(row["file"]),
                    str(row["sha256"])[:12],
                    str(row["licence"]),
                    "yes" if row["cached"] else "no",
                ]
                for row in rows
            ],
        )
    return 0


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the weights.")],
    file: Annotated[Path | None, typer.Option(help="Copy this file instead of fetching.")] = None,
    as_json: Json = False,
) -> int:
    """Put weights into the cache: from their sources, or from a file given."""
    from poselens.pose.weights import locate, sha256_of, store

    path = locate(name) if file is None else store(name, file)
    if as_json:
        give_json({"name": name, "path": str(path), "sha256": sha256_of(path)})
    else:
        typer.echo(path)
    return 0


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Published checkpoint: .pt, .pth or .safetensors.")],
    network: Annotated[Network, typer.Option("--as", help="The network it belongs to.")],
    layout: Annotated[str, typer.Option(help="Joint layout it was trained with.")],
    classes: Annotated[int, typer.Option(min=1, help="Classes of the network it is for.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
    people: Annotated[int, typer.Option(min=1, help="People it was trained with.")] = 1,
    as_json: Json = False,
) -> int:
    """Convert a published checkpoint to weights that `train` can start from."""
    if out.suffix != ".safetensors":
        raise typer.BadParameter(f"found {out.name!r}, expected a name that ends in .safetensors")

    from poselens.checkpoint import write_tensors
    from poselens.pose.layouts import get_layout
    from poselens.pose.weights import sha256_of
    from poselens.skeleton.build import build_skeleton_network
    from poselens.skeleton.published import CLASSIFIER, from_published
    from poselens.training.initial import read_state

    ours = build_skeleton_network(layout=get_layout(layout), num_classes=classes, people=people)
    state, converted = from_published(read_state(file), ours, file=file)
    facts = {
        "network": network.value,
        "layout": layout,
        "people": people,
        "classes": classes,
        "source": file.name,
        "source_sha256": sha256_of(file),
        "taken": converted.taken,
        "left_out": list(converted.left_out),
    }
    # a classifier that nothing was taken for would be random numbers
    dropped = CLASSIFIER if converted.left_out else ()
    kept = {name: values for name, values in state.items() if name not in dropped}
    write_tensors(out, kept, facts=facts)
    if as_json:
        give_json({**facts, "out": str(out)})
    else:
        left_out = ", ".join(converted.left_out)
        typer.echo(f"{out}: {converted.taken} tensors taken, left out: {left_out or 'none'}")
    return 0
