"""``poselens evaluate``: how right a bundle or run is, with everything the number depends on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import Device, Json, give_json, give_results, tell

if TYPE_CHECKING:
    from poselens.data.folder import ClipFolder
    from poselens.recipes.abstaining import Abstention, Asked
    from poselens.recipes.costing import MeasuredCost
    from poselens.recipes.evaluating import Result
    from poselens.recipes.protocols import Resolved
    from poselens.recognition.bundle import Bundle


def evaluate(
    model: Annotated[Path, typer.Argument(help="Bundle, run or score file.")],
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
    ids: Annotated[
        str | None,
        typer.Option(help="Names of a score file's rows: a list, or ANNOTATIONS.pkl:SPLIT."),
    ] = None,
    cluster: Annotated[
        str,
        typer.Option(
            help="What intervals draw: clip, subject, source, view, session, event, or auto: "
            "subjects where there are 5 or more."
        ),
    ] = "auto",
    unknown: Annotated[
        float | None,
        typer.Option(help="Choose on val below which score `unknown` is said, at this rate."),
    ] = None,
    outside: Annotated[
        Path | None, typer.Option(help="Scores (.npz) of clips of other classes, for --unknown.")
    ] = None,
    conformal: Annotated[
        float | None,
        typer.Option(help="Choose on val label sets that miss the right label at this rate."),
    ] = None,
    sets: Annotated[str, typer.Option(help="How sets are made: lac or aps.")] = "lac",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Sets that keep the rate for every class.")
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure what a clip costs each stream.")
    ] = True,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Judge a bundle, run or score file on one part of a split.

    Every figure comes with its 95 % interval, which draws whole subjects where it can. Exit code 1
    when a clip could not be read.
    """
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.evaluation.foreign import is_score_file
    from poselens.recipes.abstaining import as_asked
    from poselens.recipes.protocols import resolve_protocol
    from poselens.recognition.bundle import load_bundle

    data = open_folder(folder)
    named = resolve_protocol(data, protocol, part)
    question = as_asked(unknown, conformal, sets, per_class=per_class, outside=outside)
    how = _How(data, named, part, question, views, cluster, scores)
    if is_score_file(model):
        judged = _judge_file(model, ids, how)
    else:
        judged = _judge_bundle(load_bundle(model, device=choose_device(device)), cost, how)
    result = replace(judged.result, notes=[*named.notes, *judged.result.notes, *judged.doubt.notes])
    if as_json:
        published = None if named.published is None else named.published.as_dict()
        measured = [entry.as_dict() for entry in judged.costs]
        give_json(
            {
                **result.as_dict(),
                **judged.doubt.as_dict(),
                "published": published,
                "cost": measured,
            }
        )
    else:
        title = f"{data.info.name}, {named.title}"
        _tell(title, replace(judged, result=result), data.fingerprint()[:16])
    return 1 if result.skipped else 0


@dataclass(frozen=True, eq=False)
class _How:
    """What is judged, and how."""

    data: "ClipFolder"
    named: "Resolved"
    part: str
    question: "Asked"
    views: str
    cluster: str
    scores: Path | None


@dataclass(frozen=True, eq=False)
class _Judged:
    """What came of it."""

    result: "Result"
    doubt: "Abstention"
    selection: str
    costs: Sequence["MeasuredCost"] = ()


def _judge_file(file: Path, ids: str | None, how: _How) -> _Judged:
    from poselens.recipes.abstaining import abstain_from_scores
    from poselens.recipes.fusing_scores import Clips
    from poselens.recipes.judging_scores import SELECTION, evaluate_scores

    result = evaluate_scores(
        file,
        Clips(how.data, how.named.name, how.part, ids),
        only=how.named.clips,
        views=how.views,
        cluster=how.cluster,
        scores_out=how.scores,
    )
    return _Judged(result, abstain_from_scores(result, how.question), SELECTION)


def _judge_bundle(bundle: "Bundle", cost: bool, how: _How) -> _Judged:
    from poselens.cli.progress import bar
    from poselens.recipes.abstaining import abstain, require_possible
    from poselens.recipes.costing import measured_cost
    from poselens.recipes.evaluating import evaluate_bundle

    data, name = how.data, how.named.name
    require_possible(bundle, data, name, how.part, how.question)
    with bar("scoring", None) as told:
        result = evaluate_bundle(
            bundle,
            data,
            name,
            how.part,
            views=how.views,
            cluster=how.cluster,
            clips=how.named.clips,
            told=told,
            scores_out=how.scores,
        )
        doubt = abstain(bundle, data, name, result, how.question, told=told)
    costs = [measured_cost(trained) for trained in bundle.streams] if cost else []
    return _Judged(result, doubt, bundle.selection, costs)


def _tell(title: str, judged: _Judged, fingerprint: str) -> None:
    from poselens.cli.figures import give_figures, give_hierarchy, tell_abstention

    result, costs = judged.result, judged.costs
    give_results(title, result, costs)
    give_figures(result)
    if result.hierarchy is not None:
        give_hierarchy(result.hierarchy)
    tell_abstention(judged.doubt)
    tell(f"selection: {judged.selection}")
    tell(f"data: {fingerprint}; {len(result.skipped)} clips skipped")
    if costs:
        tell(_told(costs))
    for clip, reason in list(result.skipped.items())[:10]:
        tell(f"  {clip}: {reason}")
    said = {leak.sentence() for leak in result.leakage}  # below the table already
    for note in result.notes:
        if note not in said:
            tell(f"note: {note}")


def _told(costs: Sequence["MeasuredCost"]) -> str:
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
