"""``poselens evaluate``: how right a bundle or run is, with everything the number depends on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import Device, Json, give_json, give_results, tell

if TYPE_CHECKING:
    from poselens.recipes.costing import MeasuredCost
    from poselens.recipes.evaluating import Result


def evaluate(
    model: Annotated[Path, typer.Argument(help="Bundle or run.")],
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    protocol: Annotated[
        str, typer.Option(help="Split of the data set, or a name of `poselens protocols`.")
    ],
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    scores: Annotated[Path | None, typer.Option(help="Also write the scores (.npz) here.")] = None,
    views: Annotated[
        str,
        typer.Option(help="RGB views averaged: centre, 3-crops, 6-offsets or 3-crops+6-offsets."),
    ] = "centre",
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure what a clip costs each stream.")
    ] = True,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Judge a bundle or run on one part of a split.

    Accuracies come with 95 % intervals. Exit code 1 when a clip could not be read.
    """
    from dataclasses import replace

    from poselens.cli.progress import bar
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.recipes.costing import measured_cost
    from poselens.recipes.evaluating import evaluate_bundle
    from poselens.recipes.protocols import resolve_protocol
    from poselens.recognition.bundle import load_bundle

    data = open_folder(folder)
    asked = resolve_protocol(data, protocol, part)
    bundle = load_bundle(model, device=choose_device(device))
    with bar("scoring", None) as told:
        result = evaluate_bundle(
            bundle,
            data,
            asked.name,
            part,
            views=views,
            clips=asked.clips,
            told=told,
            scores_out=scores,
        )
    result = replace(result, notes=[*asked.notes, *result.notes])
    costs = [measured_cost(trained) for trained in bundle.streams] if cost else []
    if as_json:
        published = None if asked.published is None else asked.published.as_dict()
        measured = [entry.as_dict() for entry in costs]
        give_json({**result.as_dict(), "published": published, "cost": measured})
    else:
        give_results(f"{data.info.name}, {asked.title}", result, costs)
        tell(f"selection: {bundle.selection}")
        tell(f"data: {data.fingerprint()[:16]}; {len(result.skipped)} clips skipped")
        _tell_rest(result, costs)
    return 1 if result.skipped else 0


def _tell_rest(result: "Result", costs: "list[MeasuredCost]") -> None:
    if costs:
        tell(_told(costs))
    for clip, reason in list(result.skipped.items())[:10]:
        tell(f"  {clip}: {reason}")
    for note in result.notes:
        tell(f"note: {note}")


def _told(costs: "list[MeasuredCost]") -> str:
    memory = ", ".join(
        f"{cost.stream} {cost.weight_bytes / 1e6:.1f} + {cost.activation_bytes / 1e6:.1f}"
        for cost in costs
    )
    first = costs[0]
    return (
        f"cost: one view of one clip, the network alone, {first.hardware}, median of "
        f"{min(cost.calls for cost in costs)} calls; MB of weights + activations "
        f"({first.memory_by}): {memory}"
    )
