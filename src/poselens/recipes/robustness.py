"""The robustness card: a bundle under disturbances of every kind and severity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from poselens.clips.disturb import KINDS, Disturbance, reaches
from poselens.data.audit import audit
from poselens.data.folder import ClipFolder
from poselens.data.info import Part
from poselens.errors import InputError, UsageError
from poselens.evaluation.robustness import Curve, Point, RobustnessCard, Trial, judge
from poselens.fusion.weights import fuse_with
from poselens.pose.weights import sha256_of
from poselens.recipes.evaluating import doubts, shared
from poselens.recipes.robustness_choice import subset
from poselens.recipes.robustness_ledger import Cells
from poselens.recipes.scoring import require_part
from poselens.recognition.bundle import Bundle
from poselens.recognition.score import Scored, score_folder
from poselens.recognition.streams import TrainedStream
from poselens.types import Scores

_UNDISTURBED = "undisturbed"
_Found = dict[tuple[str, float], dict[str, Scored]]
"""Kind and severity, and the scores of every stream."""


@dataclass(frozen=True)
class Manner:
    """What to try, and on what.

    Attributes:
        protocol: Name of the split.
        part: ``train``, ``val`` or ``test``.
        levels: Kinds, and the severities of each, as ``chosen_levels`` returns them.
        limit: Clips at most, drawn by class; None for all.
        seed: Seed of the disturbances and of that draw.
        workers: Processes that read videos; None chooses from the number of cores.
        fresh: Forget what an earlier run has finished.
    """

    protocol: str
    part: str
    levels: Mapping[str, Sequence[float]]
    limit: int | None = None
    seed: int = 0
    workers: int | None = None
    fresh: bool = False


def robustness_card(
    bundle: Bundle,
    folder: ClipFolder,
    manner: Manner,
    work: Path,
    *,
    begun: Callable[[int, int], Callable[[int], None]] | None = None,
    command: str = "",
    facts: Mapping[str, str] | None = None,
) -> RobustnessCard:
    """Score a bundle undisturbed and under every kind and severity, and judge all of it.

    A stream that a kind does not reach keeps its undisturbed scores. The fusion takes the bundle's
    weights and temperatures, over the streams that could read a clip.

    Args:
        bundle: Trained streams and their fusion.
        folder: The data set.
        manner: What to try.
        work: Folder of finished cells; what is there is not computed again.
        begun: Given the clips to score and those that are scored already (each stream and severity
            by itself), returns what is to be called with the number of clips after each batch.
        command: What was typed.
        facts: Further lines of the header.

    Raises:
        UsageError: ``CFG-009`` unknown part, ``CFG-004`` unknown protocol, ``EVAL-063`` work of
            another model or data, ``EVAL-064`` too few clips; else as ``recognition.score``.
    """
    require_part(manner.part)
    part = cast(Part, manner.part)
    whole = folder.indices(manner.protocol, part)
    clips = subset(whole, folder, manner.limit, manner.seed)
    if len(clips) == 0:
        raise UsageError("EVAL-001", f"none of {len(whole)} clips has a label", file=folder.root)
    cells = Cells(work, _about(bundle, folder, manner, clips), fresh=manner.fresh)
    found = _score(bundle, folder, manner, clips, cells, begun)
    base = found[_UNDISTURBED, 0.0]
    of = int((folder.labels[whole] >= 0).sum())
    trials, notes = _trials(bundle, folder, manner, found)
    return RobustnessCard(
        dataset=folder.info.name,
        protocol=manner.protocol,
        part=manner.part,
        clips=len(clips),
        of=of,
        chance=folder.info.protocols[manner.protocol].chance or 1 / len(bundle.classes),
        undisturbed=list(_judged(base, base, bundle, 0.0, compared=False).items()),
        without=_without(base, bundle),
        trials=trials,
        notes=[*_told(bundle, folder, manner, len(clips), of), *_skips(base), *notes],
        facts={**_facts(bundle, folder, manner), **(facts or {})},
        command=command,
    )


def _facts(bundle: Bundle, folder: ClipFolder, manner: Manner) -> dict[str, str]:
    return {
        "selection": bundle.selection,
        "data_fingerprint": folder.fingerprint(),
        "seed": str(manner.seed),
    }


def _trials(
    bundle: Bundle, folder: ClipFolder, manner: Manner, found: _Found
) -> tuple[list[Trial], list[str]]:
    """Judge every kind, and say where clips could not be read."""
    trials, notes = [], []
    for name, levels in manner.levels.items():
        reached = [
            trained.stream.name
            for trained in bundle.streams
            if reaches(name, trained.stream, folder.info.skeletons)
        ]
        steps = {level: found[name, level] for level in levels}
        trials.append(_trial(name, steps, found[_UNDISTURBED, 0.0], reached, bundle))
        notes += _unread(name, steps, reached)
    return trials, notes


def _about(
    bundle: Bundle, folder: ClipFolder, manner: Manner, clips: NDArray[np.int64]
) -> dict[str, Any]:
    return {
        "format": 1,
        "model": {trained.stream.name: sha256_of(trained.weights) for trained in bundle.streams},
        "data": folder.fingerprint(),
        "protocol": manner.protocol,
        "part": manner.part,
        "number of clips": len(clips),
        "seed": manner.seed,
    }


def _score(
    bundle: Bundle,
    folder: ClipFolder,
    manner: Manner,
    clips: NDArray[np.int64],
    cells: Cells,
    begun: Callable[[int, int], Callable[[int], None]] | None,
) -> _Found:
    """Score every cell that is not there, in the order of the card."""
    wanted: list[tuple[str, float]] = [(_UNDISTURBED, 0.0)]
    wanted += [(name, level) for name, levels in manner.levels.items() for level in levels]
    ids = [str(folder.ids[clip]) for clip in clips]
    stored = folder.info.skeletons
    found: _Found = {cell: {} for cell in wanted}
    todo: list[tuple[tuple[str, float], TrainedStream]] = []
    for name, level in wanted:
        for trained in bundle.streams:
            if name != _UNDISTURBED and not reaches(name, trained.stream, stored):
                continue
            stream = trained.stream.name
            known = cells.read(_cell(name, level), stream, ids)
            if known is None:
                todo.append(((name, level), trained))
            else:
                found[name, level][stream] = known
    done = sum(len(streams) for streams in found.values())
    told = begun(len(todo) * len(clips), done * len(clips)) if begun is not None else None
    for (name, level), trained in todo:
        disturb = None if name == _UNDISTURBED else Disturbance(name, level, manner.seed)
        scored = _scored(trained, folder, clips, manner.workers, disturb, told)
        cells.write(_cell(name, level), trained.stream.name, scored)
        found[name, level][trained.stream.name] = scored
    base = found[_UNDISTURBED, 0.0]
    return {
        cell: {trained.stream.name: base[trained.stream.name] for trained in bundle.streams}
        | streams
        for cell, streams in found.items()
    }


def _cell(name: str, level: float) -> str:
    return name if name == _UNDISTURBED else f"{name}-{level!r}"


def _scored(
    trained: TrainedStream,
    folder: ClipFolder,
    clips: NDArray[np.int64],
    workers: int | None,
    disturb: Disturbance | None,
    told: Callable[[int], None] | None,
) -> Scored:
    try:
        return score_folder(trained, folder, clips, workers=workers, told=told, disturb=disturb)
    except InputError as fault:
        if fault.code != "EVAL-011" or disturb is None:
            raise
        # a disturbance that leaves nothing to see is a result, not a fault of the data
        classes, stream = trained.stream.classes, trained.stream.name
        nothing = np.zeros((0, len(classes)), np.float32)
        scores = Scores(nothing, [], np.zeros(0, np.int64), classes, stream)
        return Scored(scores, {str(folder.ids[clip]): fault.message for clip in clips})


def _fused(
    streams: Mapping[str, Scored], bundle: Bundle, names: Sequence[str]
) -> tuple[Scores, int]:
    """Return the fusion of some streams, and how many clips none of them could read."""
    fused = fuse_with([streams[name].scores for name in names], bundle.fusion)
    everybody = {
        clip for scored in streams.values() for clip in (*scored.scores.ids, *scored.skipped)
    }
    return fused, len(everybody) - len(fused.ids)


def _judged(
    streams: Mapping[str, Scored],
    base: Mapping[str, Scored],
    bundle: Bundle,
    level: float,
    *,
    compared: bool = True,
) -> dict[str, Point]:
    """Judge each stream, and the fusion last where there is one; a stream without scores is out."""
    points: dict[str, Point] = {}
    for name, scored in streams.items():
        if len(scored.scores.ids):
            points[name] = judge(
                scored.scores,
                level=level,
                skipped=len(scored.skipped),
                undisturbed=base[name].scores if compared else None,
            )
    if len(streams) > 1 and points:
        fused, unread = _fused(streams, bundle, list(streams))
        whole, _ = _fused(base, bundle, list(base))
        points["fused"] = judge(
            fused, level=level, skipped=unread, undisturbed=whole if compared else None
        )
    return points


def _trial(
    name: str,
    steps: Mapping[float, Mapping[str, Scored]],
    base: Mapping[str, Scored],
    reached: Sequence[str],
    bundle: Bundle,
) -> Trial:
    about = KINDS[name]
    rest = _judged(base, base, bundle, about.rest, compared=False)
    points = {stream: [point] for stream, point in rest.items()}
    for level, streams in steps.items():
        for stream, point in _judged(streams, base, bundle, level).items():
            points[stream].append(point)
    shown = [*reached, *(["fused"] if len(bundle.streams) > 1 else [])]
    curves = [Curve(stream, points[stream]) for stream in shown]
    return Trial(name, about.title, about.unit, about.phrase, curves)


def _without(base: Mapping[str, Scored], bundle: Bundle) -> list[tuple[str, Point]]:
    """Judge the fusion without each stream in turn."""
    if len(base) < 2:
        return []
    whole, _ = _fused(base, bundle, list(base))
    found = []
    for missing in base:
        names = [name for name in base if name != missing]
        fused, unread = _fused({name: base[name] for name in names}, bundle, names)
        fused = replace(fused, stream="fused")
        found.append((missing, judge(fused, level=0.0, skipped=unread, undisturbed=whole)))
    return found


def _told(bundle: Bundle, folder: ClipFolder, manner: Manner, clips: int, of: int) -> list[str]:
    found = audit(folder, manner.protocol)
    leaks = found.about(cast(Part, manner.part))
    told = [*shared(bundle, manner.part, found, leaks)]
    told += doubts(bundle, folder.fingerprint(), manner.protocol, manner.part)
    if clips < of:
        told.insert(
            0,
            f"these are {clips} of {of} clips, drawn from every class in proportion (seed "
            f"{manner.seed}): the accuracy of the whole part is not this one",
        )
    return told


def _skips(base: Mapping[str, Scored]) -> list[str]:
    return [
        f"{name} cannot read {len(scored.skipped)} clips even undisturbed, the first, "
        f"{clip}, because: {scored.skipped[clip]}"
        for name, scored in base.items()
        for clip in list(scored.skipped)[:1]
    ]


def _unread(
    name: str, steps: Mapping[float, Mapping[str, Scored]], reached: Sequence[str]
) -> list[str]:
    """Say where a disturbance leaves clips that cannot be read."""
    return [
        f"{name} {level:g}: {stream} can read none of {len(scored.skipped)} clips"
        if not len(scored.scores.ids)
        else f"{name} {level:g}: {stream} cannot read {len(scored.skipped)} of "
        f"{len(scored.skipped) + len(scored.scores.ids)} clips, which are in none of its numbers"
        for level, streams in steps.items()
        for stream, scored in streams.items()
        if stream in reached and scored.skipped
    ]
