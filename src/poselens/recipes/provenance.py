"""Where the numbers of a report come from: data, networks, machine and code, in tables."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

import poselens
from poselens.data.folder import ClipFolder
from poselens.data.info import PARTS
from poselens.evaluation.page import count_text
from poselens.evaluation.sections import Section, SectionTable
from poselens.recipes.costing import hardware_name
from poselens.recipes.evaluating import Result
from poselens.recognition.bundle import Bundle
from poselens.recognition.streams import read_facts

_UNKNOWN = "–"


def provenance(
    bundle: Bundle, folder: ClipFolder, result: Result, *, runs: Sequence[Path], commit: str | None
) -> list[Section]:
    """Return what the numbers depend on.

    Args:
        bundle: What was evaluated.
        folder: The data set.
        result: How the bundle does.
        runs: The run folders in the order of the streams, where they are at hand; a bundle does
            not say on which machine it was trained.
        commit: Commit of the code that evaluates, where it runs from a checkout.

    Raises:
        CheckpointError: As ``poselens.recognition.streams.read_facts``, for a run.
    """
    trained = [dict(each.facts) for each in bundle.streams]
    for facts, run in zip(trained, runs, strict=False):
        if "environment" not in facts and (run / "run.json").is_file():
            facts["environment"] = read_facts(run).get("environment")
    names = [each.stream.name for each in bundle.streams]
    return [
        _data(folder, result),
        _networks(names, trained, bundle),
        _machines(names, trained, commit, hardware_name(bundle.streams[0].device)),
    ]


def _data(folder: ClipFolder, result: Result) -> Section:
    info = folder.info
    parts = folder.parts(result.protocol)
    subjects = folder.column("subject")
    rows = [
        ["Data set", info.name],
        ["Fingerprint", folder.fingerprint()],
        ["Fingerprint of clips and joints", folder.clips_fingerprint()],
        ["Source", info.source],
        ["Licence", info.licence],
        ["Protocol", f"{result.protocol}: {info.protocols[result.protocol].description}"],
        *(
            [f"Clips of {part}", _clips(parts == part, subjects)]
            for part in PARTS
            if (parts == part).any()
        ),
        ["Clips evaluated", f"{result.fused.n} of {result.part}, {len(result.skipped)} skipped"],
    ]
    told = [leak.sentence() for leak in result.leakage]
    if not told:
        told = [f"{result.part} shares nothing that is known with the parts trained or chosen on."]
    return Section(
        "Data",
        table=SectionTable(["", ""], [row for row in rows if row[1]], text_columns=[1]),
        notes=told,
    )


def _clips(chosen: Any, subjects: Any) -> str:
    text = count_text(int(chosen.sum()))
    people = np.unique(subjects[chosen])
    named = people[people != ""]
    noun = "subject" if len(named) == 1 else "subjects"
    return f"{text} by {len(named)} {noun}" if len(named) else text


def _networks(
    names: Sequence[str], trained: Sequence[Mapping[str, Any]], bundle: Bundle
) -> Section:
    heads = ["Weights chosen by", "Seed", "Recipe", "Clips of train", "Clips of val"]
    heads += ["Parameters", "Started from", "Data fingerprint"]
    columns = []
    for facts in trained:
        data = _mapping(facts.get("data"))
        told = [facts.get("selection"), facts.get("seed"), facts.get("recipe")]
        told += [data.get("train"), data.get("val"), facts.get("params")]
        told += [_start(facts.get("initial_weights"))]
        columns.append([*map(_said, told), _said(data.get("fingerprint"))[:16]])
    notes = [f"Selection: {bundle.selection}."] if len(names) > 1 else []
    return Section("Networks", table=_turned(heads, names, columns), notes=notes)


def _machines(
    names: Sequence[str], trained: Sequence[Mapping[str, Any]], commit: str | None, hardware: str
) -> Section:
    heads = ["poselens", "Commit", "Python", "torch", "Hardware", "System", "Started"]
    here = {
        "poselens": poselens.__version__,
        "hardware": hardware,
        "environment": {
            "commit": commit,
            "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
            "platform": platform.platform(),
        },
    }
    columns = [list(_machine(facts)) for facts in [*trained, here]]
    used = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy"))
    return Section(
        "Code and machine",
        table=_turned(heads, [*names, "this report"], columns),
        notes=[f"Figures and intervals of this page are computed by {used}."],
    )


def _turned(
    heads: Sequence[str], names: Sequence[str], columns: Sequence[Sequence[str]]
) -> SectionTable:
    """Return a table with a column per stream."""
    rows = [[head, *told] for head, *told in zip(heads, *columns, strict=True)]
    return SectionTable(["", *names], rows, text_columns=range(1, len(names) + 1))


def _machine(facts: Mapping[str, Any]) -> Iterator[str]:
    made = _mapping(facts.get("environment"))
    versions = _mapping(made.get("versions"))
    yield _said(facts.get("poselens"))
    yield _said(made.get("commit"))[:12]
    yield _said(versions.get("python"))
    yield _said(versions.get("torch", facts.get("torch")))
    yield _said(facts.get("hardware"))
    yield _said(made.get("platform"))
    yield _said(made.get("started"))


def _start(weights: object) -> str:
    """Name what training began with, without the folder it lay in."""
    if isinstance(weights, Mapping):
        return f"{Path(str(weights.get('source'))).name} ({weights.get('kind')})"
    return "random weights" if weights is None else Path(str(weights)).name


def _mapping(value: object) -> Mapping[str, Any]:
    """Return a part of ``run.json``, or nothing where an older version wrote none."""
    return value if isinstance(value, Mapping) else {}


def _said(value: object) -> str:
    return _UNKNOWN if value is None else str(value)
