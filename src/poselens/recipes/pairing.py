"""Set two runs, bundles or score files side by side, clip by clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from poselens.checkpoint import read_json
from poselens.data.audit import kept_leaks
from poselens.data.folder import ClipFolder
from poselens.data.info import Part
from poselens.errors import UsageError
from poselens.evaluation.paired import compare_pair
from poselens.fusion.scores import read_scores
from poselens.recipes.abstaining import answers
from poselens.recipes.clustering import AUTO, CLIP, Units, choose_units
from poselens.recipes.scoring import require_part, scores_file
from poselens.recognition.bundle import load_bundle
from poselens.recognition.score import score_folder
from poselens.training.claim import RUN_FILE
from poselens.types import Scores


def require_two(paths: Sequence[Path], options: Sequence[str]) -> None:
    """Refuse more than two things to compare, and options of sweeps.

    Raises:
        UsageError: ``EVAL-030``.
    """
    if len(paths) > 2:
        raise UsageError(
            "EVAL-030", f"found {len(paths)} things to compare, expected a sweep or two runs",
            mend="give two runs, bundles or score files",
        )  # fmt: skip
    if options:
        raise UsageError(
            "EVAL-030", f"{', '.join(options)} belongs to a sweep, found two things to compare",
            mend="leave it out",
        )  # fmt: skip


def compare_two(
    first: Path,
    second: Path,
    *,
    folder: ClipFolder | None = None,
    protocol: str | None = None,
    part: str = "test",
    cluster: str = AUTO,
    device: torch.device,
) -> dict[str, Any]:
    """Compare two runs, bundles or score files on the clips that both have.

    Scores that lie in a run's folder (``train --score``) are read; else it is scored.

    Args:
        first: Score file, run or bundle.
        second: The other.
        folder: The data set, for what has to be scored, and for groups of clips.
        protocol: Name of the split, for what has to be scored.
        part: ``train``, ``val`` or ``test``.
        cluster: What the intervals draw (``choose_units``); clips without a data set.
        device: Where to score.

    Raises:
        UsageError: ``CFG-009`` for an unknown part, ``EVAL-029`` when something has no scores and
            data set or split to score it on are not given, ``CMP-005`` for groups without data set
            or as ``choose_units``; else as ``poselens.evaluation.paired`` and
            ``poselens.recognition.score``.
        CheckpointError: As ``poselens.recognition.bundle``.
        InputError: ``FUS-006`` for damaged scores.
    """
    require_part(part)
    told: list[str] = []
    scores = [_scores(path, folder, protocol, part, device, told) for path in (first, second)]
    known = set(scores[1].ids)
    units = _units(folder, [clip for clip in scores[0].ids if clip in known], cluster)
    found = compare_pair(*scores, groups=units.groups, unit=units.name)
    if found.left_out:
        told.append(f"{found.left_out} labelled clips are left out: one of the two has no scores")
    views = {each.views for each in scores}
    if len(views) > 1:
        told.append(f"the two saw other views: {', '.join(sorted(views))}")
    return {
        "first": str(first),
        "second": str(second),
        "streams": [each.stream for each in scores],
        "part": part,
        "protocol": protocol,
        "data_fingerprint": None if folder is None else folder.fingerprint(),
        **found.as_dict(),
        "interval_notes": list(units.told),
        "notes": list(dict.fromkeys(told)),
    }


def _units(folder: ClipFolder | None, ids: list[str], cluster: str) -> Units:
    if folder is not None:
        return choose_units(folder, ids, cluster)
    if cluster not in (AUTO, CLIP):
        raise UsageError(
            "CMP-005",
            f"groups by {cluster} are asked for, but no data set says which clips form one",
            mend="give --data",
        )
    return Units(told=("the intervals are over clips: without --data nobody knows who acts",))


def _scores(
    path: Path,
    folder: ClipFolder | None,
    protocol: str | None,
    part: str,
    device: torch.device,
    told: list[str],
) -> Scores:
    if path.is_file():
        return read_scores(path)
    stored = scores_file(path, part)
    if (path / RUN_FILE).is_file() and stored.is_file():
        told.extend(_doubts(path, folder, protocol))
        told.extend(_leaks(read_json(path / RUN_FILE), part))
        return read_scores(stored)
    if folder is None or protocol is None:
        raise UsageError(
            "EVAL-029",
            f"it holds no scores of {part}, and is not to be scored without data and split",
            file=path,
            mend="give --data and --protocol, or a score file",
        )
    bundle = load_bundle(path, device=device)
    clips = folder.indices(protocol, cast(Part, part))
    scored = [score_folder(trained, folder, clips) for trained in bundle.streams]
    for trained in bundle.streams:
        told.extend(_leaks(trained.facts, part))
    skipped = {clip for each in scored for clip in each.skipped}
    if skipped:
        told.append(f"{path}: {len(skipped)} clips could not be read by every stream")
    return answers([each.scores for each in scored], bundle.fusion)


def _leaks(facts: Mapping[str, Any], part: str) -> list[str]:
    """Say what the part shared with what a stream was trained and chosen on."""
    leaks = kept_leaks(facts.get("data", {}))
    return [str(leak["told"]) for leak in leaks if leak["parts"][-1:] == [part]]


def _doubts(run: Path, folder: ClipFolder | None, protocol: str | None) -> list[str]:
    """Say where the scores that lie in a run are not of the data that was named."""
    data = read_json(run / RUN_FILE).get("data", {})
    doubts = []
    if folder is not None and data.get("fingerprint") != folder.fingerprint():
        doubts.append(f"{run} was trained on another data set, or another version of this one")
    if protocol is not None and data.get("protocol") != protocol:
        doubts.append(f"{run} was trained and scored under the protocol {data.get('protocol')!r}")
    return doubts
