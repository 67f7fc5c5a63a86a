"""Cross-validation: train and fuse every fold, and pool what the folds say of clips unseen."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poselens.checkpoint import make_folder, write_bytes, write_json
from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
from poselens.evaluation.intervals import paired_difference
from poselens.evaluation.pooling import FEW_GROUPS, Pooled, judge_pooled, pool
from poselens.fusion.scores import fuse, read_scores, write_scores
from poselens.fusion.weights import fit_weights, fixed_weights
from poselens.recipes.folding import Folded, FoldedPart, Folding, fold_data
from poselens.recipes.pipeline import settings_for
from poselens.recipes.scoring import score_run, scores_file
from poselens.training.config import Recipe, RgbSection, SkeletonSection, override
from poselens.training.run import Request, train
from poselens.types import Scores

RESULT_FILE = "crossval.json"
FOLDS_FILE = "folds.csv"
FUSED = "fused"


@dataclass(frozen=True)
class Validation:
    """What is to be trained in every fold.

    Attributes:
        recipe: Settings of both branches.
        streams: ``rgb`` and skeleton streams.
        out: Folder of all folds.
        weights: ``paper``, ``equal`` or ``fitted`` on each fold's validation.
        settings: ``key=value`` for every run.
        device: ``cpu``, ``cuda`` or ``auto``.
        allow_leakage: Train folds although test shares something with train.
    """

    recipe: Recipe
    streams: tuple[str, ...]
    out: Path
    weights: str = "paper"
    settings: tuple[str, ...] = ()
    device: str = "auto"
    allow_leakage: bool = False


@dataclass(frozen=True, eq=False)
class Crossed:
    """What came of it: exit code of a run that was stopped, else 0, and the facts."""

    exit_code: int
    facts: dict[str, Any]


def cross_validate(
    folder: ClipFolder,
    wanted: Folding,
    plan: Validation,
    *,
    told: Callable[[str], None],
) -> Crossed:
    """Train and score every fold, and write pooled scores, ``crossval.json`` and ``folds.csv``.

    ``OUT/fold-K/STREAM`` is the run of a stream; finished ones are kept and stopped ones resumed,
    so the same call goes on. ``OUT/oof_STREAM.npz``, and ``oof_fused.npz`` of several streams, hold
    each clip once, as the fold says that was kept from it.

    Raises:
        UsageError: ``RUN-009`` no stream; as ``fold_data``, ``pipeline.settings_for``,
            ``training.run.train``; ``FUS-005``, ``FUS-010`` for weights; ``CKPT-011`` the folder
            holds other folds.
    """
    if not plan.streams:
        raise UsageError("RUN-009", "there is no stream to train", mend="give --streams")
    folded = fold_data(folder, wanted)
    held_out = all("val" in fold.folder.parts(fold.protocol) for fold in folded.folds)
    sections = {name: _section(folder, plan, name, held_out) for name in plan.streams}
    _require_weights(sections, plan.weights)
    make_folder(plan.out)
    _write_folds(plan.out / FOLDS_FILE, folded)
    found: dict[str, dict[str, Scores]] = {}
    selection: dict[str, dict[str, None]] = {}
    total = len(folded.folds)
    for number, fold in enumerate(folded.folds, start=1):
        runs = {}
        for stream, section in sections.items():
            told(f"fold {number} of {total}, {stream}: without {_shown(fold, folded.by)}")
            run = plan.out / fold.name / stream
            finished = train(fold.folder, section, _request(plan, fold, run))
            if finished.exit_code:
                return Crossed(finished.exit_code, {"crossval": str(plan.out), "complete": False})
            workers = section.training.workers
            score_run(run, fold.folder, fold.protocol, "test", device=plan.device, workers=workers)
            runs[stream] = run
            found.setdefault(stream, {})[fold.name] = read_scores(scores_file(run, "test"))
            selection.setdefault(stream, {})[str(finished.facts.get("selection"))] = None
        if len(runs) > 1:
            found.setdefault(FUSED, {})[fold.name] = _fuse(runs, plan.weights)
    rules = {stream: "; ".join(rule) for stream, rule in selection.items()}
    facts = _facts(folder, folded, plan, found, rules)
    write_json(plan.out / RESULT_FILE, facts)
    return Crossed(0, facts)


def _section(
    folder: ClipFolder, plan: Validation, stream: str, held_out: bool
) -> RgbSection | SkeletonSection:
    """Return the settings of a stream; without a validation slice nothing is kept apart."""
    chosen = [*settings_for(folder, plan.recipe, stream), *plan.settings]
    chosen += [] if held_out else ["training.validation=none"]
    if stream == "rgb":
        return override(plan.recipe.rgb, chosen)
    return override(plan.recipe.skeleton, chosen)


def _require_weights(sections: Mapping[str, RgbSection | SkeletonSection], weights: str) -> None:
    """Refuse weights before hours of training."""
    if weights != "fitted":
        fixed_weights(list(sections), weights)
        return
    for stream, section in sections.items():
        if section.training.validation == "none":
            raise UsageError(
                "FUS-010",
                f"{stream} is to be trained on the validation slice too, so weights cannot be "
                "fitted on it",
                mend="train with training.validation=hold-out, or use --weights paper",
            )


def _request(plan: Validation, fold: FoldedPart, run: Path) -> Request:
    about = (fold.folder.root, fold.protocol, plan.recipe.name, run, plan.device)
    return Request(*about, resume=True, allow_leakage=plan.allow_leakage)


def _shown(fold: FoldedPart, by: str) -> str:
    if not fold.groups:
        return "its test clips"
    more = f" and {len(fold.groups) - 5} more" if len(fold.groups) > 5 else ""
    return f"{by} {', '.join(fold.groups[:5])}{more}"


def _fuse(runs: Mapping[str, Path], weights: str) -> Scores:
    """Fuse the streams of one fold, with weights that have not seen the clips left out."""
    if weights == "fitted":
        chosen = fit_weights([read_scores(scores_file(run, "val")) for run in runs.values()])
    else:
        chosen = fixed_weights(list(runs), weights)
    scores = [read_scores(scores_file(run, "test")) for run in runs.values()]
    return fuse(scores, chosen.weights, chosen.temperatures)


def _write_folds(path: Path, folded: Folded) -> None:
    """Write which fold each clip is left out of, so that anybody can look."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "fold", folded.by if folded.group is not None else "group", "label"])
    for fold in folded.folds:
        there = fold.folder
        for clip in there.indices(fold.protocol, "test").tolist():
            name = str(there.ids[clip])
            label = int(there.labels[clip])
            group = "" if folded.group is None else folded.group[name]
            writer.writerow(
                [name, fold.name, group, there.info.classes[label] if label >= 0 else ""]
            )
    write_bytes(path, out.getvalue().encode())


def _facts(
    folder: ClipFolder,
    folded: Folded,
    plan: Validation,
    found: Mapping[str, Mapping[str, Scores]],
    rules: Mapping[str, str],
) -> dict[str, Any]:
    """Pool every stream, write its scores, and say how it does."""
    pooled: dict[str, Pooled] = {}
    files = {}
    for stream, folds in found.items():
        files[stream] = str(plan.out / f"oof_{stream}.npz")
        write_scores(plan.out / f"oof_{stream}.npz", pool(folds))
        rule = rules.get(stream, f"{'; '.join(rules.values())}; fusion: {plan.weights} weights")
        pooled[stream] = judge_pooled(
            folds,
            groups=folded.group,
            selection=rule,
            data_fingerprint=folder.fingerprint(),
        )
    return {
        "crossval": str(plan.out),
        "complete": True,
        "data": {"name": folder.info.name, "fingerprint": folder.fingerprint()},
        "recipe": plan.recipe.name,
        "by": folded.by,
        "folds": [
            {"fold": fold.name, "protocol": fold.protocol, "left_out": list(fold.groups)}
            for fold in folded.folds
        ],
        "kept_out": {"clips": folded.kept_out[0], "test_part_of": folded.kept_out[1]},
        "streams": {stream: judged.as_dict() for stream, judged in pooled.items()},
        "gain": _gain(found, pooled, folded),
        "files": files,
        "notes": [*folded.notes, *pooled_notes(list(pooled.values()))],
    }


def _gain(
    found: Mapping[str, Mapping[str, Scores]], pooled: Mapping[str, Pooled], folded: Folded
) -> dict[str, Any] | None:
    """Return the pooled gain of the fusion over the best single stream, paired by clip."""
    if FUSED not in found:
        return None
    singles = [stream for stream in pooled if stream != FUSED]
    best = max(singles, key=lambda stream: pooled[stream].evaluation.top1)
    ours, other = pool(found[FUSED]), pool(found[best])
    groups = None if folded.group is None else [folded.group[clip] for clip in ours.ids]
    gain = paired_difference(ours, other, groups=groups)
    return {
        "over": best,
        "value": gain.value,
        "interval": [gain.interval.low, gain.interval.high],
        "interval_unit": gain.interval.unit,
        "n": gain.n,
    }


def pooled_notes(judged: Sequence[Pooled]) -> list[str]:
    """Return what makes pooled numbers less than they seem."""
    notes = []
    groups = [entry.groups for entry in judged if entry.groups is not None]
    if groups and min(groups) < FEW_GROUPS:
        notes.append(
            f"intervals over {min(groups)} groups, fewer than {FEW_GROUPS}, are too narrow"
        )
    folds = max((len(entry.folds) for entry in judged), default=0)
    if folds > 1:
        notes.append(
            "folds share training clips: their spread is not that of independent trainings, and "
            "one seed was trained per fold"
        )
    return notes
