"""``poselens weights``: published weights by name, and published checkpoints converted."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from poselens.cli.output import Json, give_json, give_table

if TYPE_CHECKING:
    from torch import Tensor

    from poselens.training.initial import Stored

app = typer.Typer(help="Pretrained weights.", no_args_is_help=True)


class Network(StrEnum):
    """Whose checkpoints can be converted."""

    auto = "auto"
    ctr_gcn = "ctr-gcn"
    torchvision = "torchvision"
    tsm = "tsm"
    mmaction = "mmaction"


class Backbone(StrEnum):
    """Backbones of the RGB network."""

    resnet18 = "resnet18"
    resnet34 = "resnet34"
    resnet50 = "resnet50"
    mobilenetv2 = "mobilenetv2"


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
    file: Annotated[Path, typer.Argument(help="Published file: .pt, .pth, .tar or .safetensors.")],
    classes: Annotated[int, typer.Option(min=1, help="Classes of the network it is for.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
    network: Annotated[
        Network, typer.Option("--as", help="Whose names it has; auto looks.")
    ] = Network.auto,
    backbone: Annotated[
        Backbone | None, typer.Option(help="For an RGB network: its backbone.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="For ctr-gcn: joint layout it was trained with, or its YAML file."),
    ] = None,
    people: Annotated[
        int | None, typer.Option(min=1, help="For ctr-gcn: people it was trained with, else 1.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Convert a published file to weights that `train` can start from, and say what was taken."""
    if out.suffix != ".safetensors":
        raise typer.BadParameter(f"found {out.name!r}, expected a name that ends in .safetensors")
    if network is not Network.auto:
        _require_options(network, backbone=backbone, layout=layout, people=people)

    from poselens.checkpoint import write_tensors
    from poselens.pose.weights import sha256_of
    from poselens.training.initial import read_stored

    stored = read_stored(file)
    if network is Network.auto:
        network = _recognised(stored.tensors, file)
        _require_options(network, backbone=backbone, layout=layout, people=people)
    about: dict[str, Any] = {"network": network.value}
    source = {"classes": classes, "source": file.name, "source_sha256": sha256_of(file)}
    if network is Network.ctr_gcn:
        about |= {"layout": layout, "people": people or 1} | source
        weights, report = _ctr_gcn(stored, str(layout), people or 1, classes, file)
    else:
        about |= {"backbone": str(backbone)} | source
        weights, report = _rgb(stored, network, str(backbone), classes, file)
    facts = about | report
    write_tensors(out, weights, facts=facts)
    if as_json:
        give_json({**facts, "out": str(out)})
    else:
        _tell(facts, out)
    return 0


def _require_options(network: Network, **given: object) -> None:
    """Refuse an import without what its network needs, or with what it has no use for."""
    needed, useful = (
        (("layout",), ("layout", "people"))
        if network is Network.ctr_gcn
        else (("backbone",), ("backbone",))
    )
    for name, value in given.items():
        if value is None and name in needed:
            raise typer.BadParameter(f"--{name} is missing; --as {network.value} needs it")
        if value is not None and name not in useful:
            raise typer.BadParameter(f"--as {network.value} has no use for --{name}")


def _recognised(tensors: "Mapping[str, Tensor]", file: Path) -> Network:
    """Say whose names the weights have."""
    from poselens.errors import CheckpointError
    from poselens.rgb.published import kind_of
    from poselens.skeleton.published import is_published

    kind = "ctr-gcn" if is_published(tensors) else kind_of(tensors)
    if kind in ("ours", None):
        found = "those of poselens, which need no import" if kind else "of no network known here"
        raise CheckpointError(
            "CKPT-004",
            f"the names are {found}: {', '.join(list(tensors)[:5])}",
            file=file,
            mend="start from the file itself" if kind else "give --as",
        )
    return Network(kind)


def _ctr_gcn(
    stored: "Stored", layout: str, people: int, classes: int, file: Path
) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from poselens.pose.declared import find_layout
    from poselens.skeleton.build import build_skeleton_network
    from poselens.skeleton.published import CLASSIFIER, from_published

    ours = build_skeleton_network(layout=find_layout(layout), num_classes=classes, people=people)
    state, converted = from_published(stored.tensors, ours, file=file)
    # a classifier that nothing was taken for would be random numbers
    dropped = CLASSIFIER if converted.left_out else ()
    weights = {name: values for name, values in state.items() if name not in dropped}
    return weights, {"taken": converted.taken, "left_out": list(converted.left_out)}


def _rgb(
    stored: "Stored", network: Network, backbone: str, classes: int, file: Path
) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from poselens.rgb.build import Backbone as Name
    from poselens.rgb.build import build_rgb_network
    from poselens.rgb.published import Kind
    from poselens.training.initial import fill, told

    plain = build_rgb_network(
        backbone=cast("Name", backbone), num_classes=classes, attend=False, aggregate=False
    )
    loaded = fill(plain, stored, kind=cast("Kind", network.value), file=file)
    state = plain.state_dict()
    report = told(loaded, stored)
    del report["kind"]
    return {name: state[name] for name in loaded.taken.values()}, report


def _tell(facts: dict[str, Any], out: Path) -> None:
    """Say for people what was and was not taken."""
    left_out = facts["left_out"]
    if facts["network"] == Network.ctr_gcn:
        named = ", ".join(left_out) or "none"
        typer.echo(f"{out}: {facts['taken']} tensors taken, left out: {named}")
        return
    typer.echo(
        f"{out}: {facts['taken']} tensors taken under the names of {facts['network']}, "
        f"for {facts['backbone']} and {facts['classes']} classes"
    )
    rows = [
        *(["left out", name, why] for name, why in left_out.items()),
        *(["not in the file", name, "the network keeps its own"] for name in facts["kept"]),
    ]
    if rows:
        give_table(facts["source"], ["", "name", "why"], rows)
    for note in facts["notes"]:
        typer.echo(note)
