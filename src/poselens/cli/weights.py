"""``poselens weights``: published weights by name."""

from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.output import Json, give_json, give_table

app = typer.Typer(help="Pretrained weights by name.", no_args_is_help=True)


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
