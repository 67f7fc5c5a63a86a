"""Read the runs of a sweep and set its settings side by side, from the runs' own files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import yaml

from poselens.checkpoint import read_json
from poselens.data.audit import kept_leaks
from poselens.data.folder import open_folder
from poselens.data.info import Column, nearest
from poselens.errors import UsageError
from poselens.evaluation.compare import METRICS, Seeded, compare, summarise
from poselens.evaluation.intervals import RESAMPLES
from poselens.fusion.scores import read_scores
from poselens.fusion.weights import FusionWeights, fit_weights, fixed_weights, fuse_with
from poselens.recipes.combinations import label, split_values
from poselens.recipes.scoring import require_part, scores_file
from poselens.recipes.sweep_file import SWEEP_FILE, read_sweep
from poselens.training.claim import RUN_FILE
from poselens.types import ONE_VIEW, Scores

LEVEL = 0.95
FEW_GROUPS = 10
"""Below this, a bootstrap over groups covers less than it says."""
ONLY_SEED = "-"
"""Name of the seed in a sweep that has one only."""

Streams = Mapping[str, Scores]


@dataclass(frozen=True)
class Question:
    """How the runs of a sweep are to be set side by side.

    Attributes:
        part: Part whose scores are read.
        rows: Axes whose values become rows; all that are left over where there is none.
        seeds: Axis of the seeds.
        fuse: Axis of the streams to fuse, or None.
        weights: ``paper``, ``equal``, ``fitted``, or numbers as ``2:2:1:1`` in the order of
            ``fuse``.
        baseline: Values of the row that the others are compared with, or None.
        cluster: Column whose groups are drawn whole, or None for clips.
        data: Data set, for ``cluster``; None for the one that the sweep names.
    """

    part: str
    rows: tuple[str, ...] = ()
    seeds: str = "training.seed"
    fuse: str | None = None
    weights: str = "paper"
    baseline: str | None = None
    cluster: str | None = None
    data: Path | None = None


@dataclass(frozen=True, eq=False)
class _Run:
    """A finished run with scores."""

    folder: Path
    values: Mapping[str, str]
    scores: Scores
    facts: Mapping[str, Any]


def compare_sweep(sweep: Path, question: Question) -> dict[str, Any]:
    """Return one entry per row, with spread over seeds, intervals, and differences to the baseline.

    With ``fuse``, a row has entries for every stream, for joint and bone together where there are
    more, and for all streams; each seed is fused by itself.

    Raises:
        UsageError: ``CFG-009`` unknown part, ``CMP-001`` to ``CMP-005``, ``FUS-005``, ``FUS-010``,
            ``FUS-011`` for weights; else as ``poselens.evaluation.compare``.
        CheckpointError: ``CKPT-001`` no sweep at this path, else as ``read_sweep``.
        InputError: ``FUS-006`` for damaged scores.
    """
    require_part(question.part)
    about = read_sweep(sweep / SWEEP_FILE)
    rows, seeds, streams = _roles(about, question)
    runs, notes = _read(sweep, about, question.part)
    data = _one_data(runs, sweep)
    groups = None if question.cluster is None else _groups(question, about, data, runs)
    table: dict[str, Mapping[str, Seeded]] = {}
    for name, members in _by_row(runs, rows).items():
        table[name] = _variants(members, seeds, streams, about, question)
    notes += _unbalanced(table)
    baseline = None if question.baseline is None else _baseline(question.baseline, rows, table)
    entries = [
        _entry(name, variant, scores, groups, table.get(baseline or "", {}).get(variant), baseline)
        for name, variants in table.items()
        for variant, scores in variants.items()
    ]
    return {
        "sweep": str(sweep),
        "data": {**data, "protocol": about["protocol"], "part": question.part},
        "recipe": about["recipe"],
        "branch": about["branch"],
        "selection": sorted({str(run.facts.get("selection")) for run in runs}),
        "axes": {"rows": rows, "seeds": seeds, "fuse": streams},
        "weights": question.weights if streams else None,
        "baseline": baseline,
        "interval_level": LEVEL,
        "interval_unit": question.cluster or "clip",
        "units": None if groups is None else len(set(groups.values())),
        "resamples": RESAMPLES,
        "rows": entries,
        "leakage": _leakage(runs, question.part),
        "notes": [*notes, *_leakage(runs, question.part), *_doubts(runs, question.part, groups)],
    }


def _roles(
    about: Mapping[str, Any], question: Question
) -> tuple[list[str], str | None, str | None]:
    """Return the axes of rows, seeds and streams; every other axis must have one value."""
    axes = list(about["axes"])
    streams = None if question.fuse is None else _axis(question.fuse, axes)
    seeds = _axis(question.seeds, axes, required=question.seeds != Question.seeds)
    left = [axis for axis in axes if axis not in (seeds, streams)]
    rows = [_axis(name, axes, required=True) or "" for name in question.rows] or left
    for axis in axes:
        named = axis in (*rows, seeds, streams)
        if not named and len(about["axes"][axis]) > 1:
            raise UsageError(
                "CMP-001",
                f"{axis} has {len(about['axes'][axis])} values and is named nowhere",
                mend="name it in --rows, --seeds or --fuse",
            )
        if [*rows, seeds, streams].count(axis) > 1:
            raise UsageError("CMP-001", f"{axis} is named twice", mend="name each axis once")
    return rows, seeds, streams


def _axis(name: str, axes: Sequence[str], *, required: bool = True) -> str | None:
    """Return the axis of this name, or the only one that has it as a part."""
    found = [name] if name in axes else [axis for axis in axes if name in axis.split(".")]
    if len(found) == 1:
        return found[0]
    if not found and not required:
        return None
    what = f"{len(found)} axes are called" if found else "no axis is called"
    raise UsageError(
        "CMP-001",
        f"{what} {name!r}{'' if found else nearest(name, axes)}",
        mend=f"use one of {', '.join(axes)}",
    )


def _read(sweep: Path, about: Mapping[str, Any], part: str) -> tuple[list[_Run], list[str]]:
    runs, missing = [], []
    for run in about["runs"]:
        folder = sweep / run["folder"]
        if not (folder / RUN_FILE).is_file():
            missing.append(f"{run['folder']} ({run['outcome']})")
        elif not scores_file(folder, part).is_file():
            missing.append(f"{run['folder']} (no scores of {part})")
        else:
            values = {axis: label(value) for axis, value in run["values"].items()}
            scores = read_scores(scores_file(folder, part))
            runs.append(_Run(folder, values, scores, read_json(folder / RUN_FILE)))
    if not runs:
        raise UsageError(
            "CMP-002",
            f"no finished run has scores of {part}; of {len(missing)}, the first: {missing[0]}"
            if missing
            else "the sweep has no runs",
            file=sweep,
            mend=f"train again with --resume --score {part}",
        )
    notes = []
    if missing:
        notes.append(f"{len(missing)} of {len(about['runs'])} runs left out: {', '.join(missing)}")
    return runs, notes


def _one_data(runs: Sequence[_Run], sweep: Path) -> dict[str, Any]:
    """Return what all runs were trained on."""
    first = runs[0].facts.get("data", {})
    for run in runs:
        other = run.facts.get("data", {})
        if any(other.get(key) != first.get(key) for key in ("fingerprint", "protocol")):
            raise UsageError(
                "CMP-004",
                f"{runs[0].folder.name} and {run.folder.name} were trained on different data, or "
                "versions of them",
                file=sweep,
                mend="train all of them on one version",
            )
    return {"name": first.get("name"), "fingerprint": first.get("fingerprint")}


def _groups(
    question: Question, about: Mapping[str, Any], data: Mapping[str, Any], runs: Sequence[_Run]
) -> dict[str, str]:
    """Return the group of each scored clip; two groups at least, or nothing would vary."""
    folder = open_folder(question.data or Path(about["data"]))
    if folder.fingerprint() != data["fingerprint"]:
        raise UsageError(
            "CMP-004",
            "the runs were trained on another data set, or another version of this one",
            file=folder.root,
            mend="give the data set of the sweep with --data",
        )
    if question.cluster not in ("subject", "view", "source"):
        raise UsageError(
            "CMP-005", f"found cluster {question.cluster!r}, expected subject, view or source"
        )
    column = folder.column(cast(Column, question.cluster)).tolist()
    group = dict(zip(folder.ids.tolist(), column, strict=True))
    groups = {clip: group[clip] for run in runs for clip in run.scores.ids}
    known = set(groups.values()) - {""}
    if len(known) < 2:
        raise UsageError(
            "CMP-005",
            f"the clips of {question.part} are of {len(known)} {question.cluster}(s), expected 2 "
            "or more",
            file=folder.root,
            mend="leave --cluster out",
        )
    return groups


def _by_row(runs: Sequence[_Run], rows: Sequence[str]) -> dict[str, list[_Run]]:
    found: dict[str, list[_Run]] = {}
    for run in runs:
        found.setdefault(_row_name([run.values[axis] for axis in rows], rows), []).append(run)
    return found


def _row_name(values: Sequence[str], rows: Sequence[str]) -> str:
    if len(rows) == 1:
        return values[0]
    return ", ".join(f"{axis}={value}" for axis, value in zip(rows, values, strict=True)) or "all"


def _variants(
    members: Sequence[_Run],
    seeds: str | None,
    streams: str | None,
    about: Mapping[str, Any],
    question: Question,
) -> Mapping[str, Seeded]:
    """Return scores by seed, of every stream and every fusion of a row."""
    if streams is None:
        return {"": {run.values[seeds] if seeds else ONLY_SEED: run.scores for run in members}}
    names = [label(value) for value in about["axes"][streams]]
    found: dict[str, dict[str, _Run]] = {}
    for run in members:
        found.setdefault(run.values[seeds] if seeds else ONLY_SEED, {})[run.values[streams]] = run
    pairs = [("joint", "bone")] if len(names) > 2 and {"joint", "bone"} <= set(names) else []
    wanted = [*((name,) for name in names), *pairs, *([tuple(names)] if len(names) > 1 else [])]
    variants: dict[str, dict[str, Scores]] = {}
    for chosen in wanted:
        title = chosen[0] if len(chosen) == 1 else f"{len(chosen)} streams: {'+'.join(chosen)}"
        for seed, runs in found.items():
            if all(name in runs for name in chosen):
                fused = _fused({name: runs[name] for name in chosen}, names, question)
                variants.setdefault(title, {})[seed] = fused
    return variants


def _fused(chosen: Mapping[str, _Run], names: Sequence[str], question: Question) -> Scores:
    scores = [_named(run.scores, name) for name, run in chosen.items()]
    if len(scores) == 1:
        return scores[0]
    weights = _weights(chosen, names, question.weights)
    return fuse_with(scores, weights)


def _named(scores: Scores, stream: str) -> Scores:
    return replace(scores, stream=stream)


def _weights(chosen: Mapping[str, _Run], names: Sequence[str], given: str) -> FusionWeights:
    if given == "fitted":
        for run in chosen.values():
            if not run.facts.get("data", {}).get("val"):
                raise UsageError(
                    "FUS-010",
                    f"{run.folder.name} was trained on the validation slice too, so weights "
                    "cannot be fitted on it",
                    mend="train with training.validation=hold-out, or use --weights paper",
                )
        return fit_weights(
            [_named(read_scores(scores_file(run.folder, "val")), name)
             for name, run in chosen.items()]
        )  # fmt: skip
    if ":" not in given:
        return fixed_weights(list(chosen), given)
    try:
        numbers = [float(text) for text in given.split(":")]
    except ValueError as fault:
        raise UsageError(
            "FUS-011", f"found weights {given!r}, expected numbers as in 2:2:1:1"
        ) from fault
    table = fixed_weights(names, numbers).weights
    return fixed_weights(list(chosen), {name: table[name] for name in chosen})


def _baseline(text: str, rows: Sequence[str], table: Mapping[str, Any]) -> str:
    """Return the name of the row whose values are given as on the command line of the sweep."""
    try:
        parts = [label(yaml.safe_load(part)) for part in split_values(text)]
    except yaml.YAMLError as fault:
        raise UsageError("CMP-003", f"--baseline {text!r} is not valid YAML") from fault
    name = _row_name(parts, rows) if len(parts) == len(rows) else text
    for known in (name, text):
        if known in table:
            return known
    raise UsageError(
        "CMP-003",
        f"no row is {text!r}{nearest(text, table)}",
        mend=f"use one of {'; '.join(table)}",
    )


def _unbalanced(table: Mapping[str, Mapping[str, Seeded]]) -> list[str]:
    sets = {tuple(sorted(scores)) for variants in table.values() for scores in variants.values()}
    return ["rows differ in their seeds"] if len(sets) > 1 else []


def _entry(
    name: str,
    variant: str,
    scores: Seeded,
    groups: Mapping[str, str] | None,
    other: Seeded | None,
    baseline: str | None,
) -> dict[str, Any]:
    clips, spreads = summarise(scores, groups=groups, level=LEVEL)
    difference = None
    if other is not None and name != baseline:
        difference = {
            metric: compare(scores, other, metric, groups=groups, level=LEVEL).as_dict()
            for metric in METRICS
        }
    return {
        "row": name,
        "streams": variant or None,
        "seeds": list(scores),
        "n": clips,
        **{metric: spread.as_dict() for metric, spread in spreads.items()},
        "difference": difference,
    }


def _leakage(runs: Sequence[_Run], part: str) -> list[str]:
    """Return what the part shares with those that were trained and chosen on, as the runs say."""
    told = {
        leak["told"]: None
        for run in runs
        for leak in kept_leaks(run.facts.get("data"))
        if leak["parts"][-1:] == [part]
    }
    return list(told)


def _doubts(runs: Sequence[_Run], part: str, groups: Mapping[str, str] | None) -> list[str]:
    """Say where clips were seen in training, and where an interval is less than it seems."""
    seen = part == "train" or (
        part == "val" and any(not run.facts.get("data", {}).get("val") for run in runs)
    )
    doubts = [f"some runs were trained on the clips of {part}"] if seen else []
    views = sorted({run.scores.views for run in runs} - {ONE_VIEW})
    doubts += [f"some scores are means over views: {', '.join(views)}"] if views else []
    if groups is not None and len(set(groups.values())) < FEW_GROUPS:
        doubts.append(f"intervals over fewer than {FEW_GROUPS} groups are too narrow")
    return doubts
