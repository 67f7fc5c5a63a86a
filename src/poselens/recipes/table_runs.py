"""Runs, bundles and score files as the paper's tables look at them: settings, seed, scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from poselens.clips.device import choose_device
from poselens.clips.stream import RgbStream, SkeletonStream, read_stream
from poselens.data.audit import kept_leaks
from poselens.data.folder import ClipFolder, open_folder
from poselens.data.info import Column
from poselens.errors import UsageError
from poselens.evaluation.protocols import recognised
from poselens.evaluation.tables import On, Unmatched
from poselens.fusion.scores import read_scores
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.protocols import Resolved, resolve_protocol
from poselens.recipes.scoring import require_part, score_run, scores_file
from poselens.recipes.sweep_file import SWEEP_FILE, read_sweep
from poselens.recognition.bundle import BUNDLE_FILE, load_bundle
from poselens.recognition.streams import read_facts
from poselens.training.claim import RUN_FILE
from poselens.training.config import HOW_NOT_WHAT, flat
from poselens.training.resuming import read_config
from poselens.types import Scores

CLUSTERS = ("subject", "view", "source", "session", "event")


@dataclass(frozen=True)
class Given:
    """What a table is to be filled with.

    Attributes:
        runs: Run folders.
        bundles: Bundle folders.
        scores: Score files, as ``FILE`` or ``ROW=FILE``.
        data: Data set folder, to score what has no scores yet, or None.
        protocol: The split, by its own name or a published one; None for that of each run.
        part: Part of the split.
        weights: Fusion of runs: ``paper``, ``equal`` or ``fitted``.
        cluster: Column whose groups are drawn whole, or None.
        device: Where to score: ``cpu``, ``cuda`` or ``auto``.
    """

    runs: Sequence[Path] = ()
    bundles: Sequence[Path] = ()
    scores: Sequence[str] = ()
    data: Path | None = None
    protocol: str | None = None
    part: str = "test"
    weights: str = "paper"
    cluster: str | None = None
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Item:
    """One thing that was given, with scores.

    Attributes:
        source: Where it lies.
        streams: Its streams; none for a bare score file.
        config: Resolved settings by their whole names; empty for bundles and score files.
        seed: Name of the seed.
        scores: Scores of the part; of the fusion for a bundle.
        on: What they are of.
        selection: How the weights were chosen.
        row: Row that the user named, or None.
        weights: How a bundle fuses.
        leaks: What the part shares with training, a sentence each.
    """

    source: str
    streams: tuple[RgbStream | SkeletonStream, ...]
    config: Mapping[str, Any]
    seed: str
    scores: Scores
    on: On
    selection: str
    row: str | None = None
    weights: str = ""
    leaks: tuple[str, ...] = ()

    @property
    def setting(self) -> tuple[tuple[str, str], ...]:
        """Return what makes two runs seeds of one setting: every setting but the seed."""
        return tuple(
            sorted((key, repr(value)) for key, value in self.config.items() if not _is_how(key))
        )


@dataclass(frozen=True, eq=False)
class Read:
    """All that was given: what can be used, what cannot, and the groups of its clips."""

    items: list[Item]
    unusable: list[Unmatched]
    groups: dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)


def read_given(given: Given) -> Read:
    """Read runs, bundles and score files; score those that have none where the data is given.

    Raises:
        UsageError: ``CFG-009`` unknown part, ``CFG-004``, ``EVAL-040``, ``EVAL-041`` as
            ``resolve_protocol``, ``CMP-005`` a cluster that is none or without data, ``EVAL-043`` a
            bundle without data.
        CheckpointError: As ``poselens.recognition``; ``CKPT-024`` settings that cannot be read.
        InputError: ``FUS-006`` damaged scores.
    """
    require_part(given.part)
    folder = None if given.data is None else open_folder(given.data)
    asked = None
    if folder is not None and given.protocol is not None:
        asked = resolve_protocol(folder, given.protocol, given.part)
    everything: list[Item | Unmatched] = []
    for run in _expanded(given.runs):
        is_bundle = (run / BUNDLE_FILE).is_file()
        found = (_bundle if is_bundle else _run)(run, given, folder, asked)
        everything.append(found)
    everything += [_bundle(path, given, folder, asked) for path in given.bundles]
    everything += [_file(text, given) for text in given.scores]
    items = [found for found in everything if isinstance(found, Item)]
    leaks = dict.fromkeys(leak for item in items for leak in item.leaks)
    return Read(
        items,
        [found for found in everything if isinstance(found, Unmatched)],
        _groups(given, folder),
        [*leaks, *(asked.notes if asked else [])],
    )


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """Return the folders, those of a sweep's finished runs in the place of the sweep."""
    found = []
    for path in paths:
        if (path / SWEEP_FILE).is_file():
            folders = [path / run["folder"] for run in read_sweep(path / SWEEP_FILE)["runs"]]
            found += [folder for folder in folders if (folder / RUN_FILE).is_file()]
        else:
            found.append(path)
    return found


def _run(
    path: Path, given: Given, folder: ClipFolder | None, asked: Resolved | None
) -> Item | Unmatched:
    facts = read_facts(path)
    data = facts.get("data", {})
    trained = str(data.get("protocol"))
    name = asked.name if asked is not None else given.protocol or trained
    if trained != name:
        return Unmatched(str(path), f"was trained under the protocol {trained!r}, not {name!r}")
    target = scores_file(path, given.part)
    if not target.is_file():
        if folder is None:
            return Unmatched(
                str(path), f"has no scores of {given.part}: give --data, or train with --score"
            )
        if folder.fingerprint() != data.get("fingerprint"):
            return Unmatched(str(path), "was trained on another data set, or version of it")
        score_run(path, folder, name, given.part, device=given.device, workers=None)
    content = read_config(path)
    config = {**flat(content), "contrast": content.get("contrast")}
    scores = _restricted(read_scores(target), folder, asked)
    stream = read_stream(facts.get("stream", {}), file=str(path / "run.json"))
    return Item(
        source=str(path),
        streams=(stream,),
        config=config,
        seed=str(facts.get("seed", 0)),
        scores=scores,
        on=_on(data, name, given, scores, asked),
        selection=str(facts.get("selection")),
        leaks=_leaks([data], given.part),
    )


def _bundle(
    path: Path, given: Given, folder: ClipFolder | None, asked: Resolved | None
) -> Item | Unmatched:
    if folder is None:
        raise UsageError(
            "EVAL-043", "a bundle holds no scores", file=path, mend="give its data set with --data"
        )
    bundle = load_bundle(path, device=choose_device(given.device))
    data = bundle.streams[0].facts.get("data", {})
    name = asked.name if asked is not None else given.protocol or str(data.get("protocol"))
    for trained in bundle.streams:
        said = trained.facts.get("data", {})
        if (said.get("fingerprint"), said.get("protocol")) != (folder.fingerprint(), name):
            return Unmatched(
                str(path), f"{trained.stream.name} was trained on other data, or parts"
            )
    result = evaluate_bundle(bundle, folder, name, given.part)
    scores = _restricted(result.scores[-1], folder, asked)
    seeds = dict.fromkeys(str(trained.facts.get("seed", 0)) for trained in bundle.streams)
    return Item(
        source=str(path),
        streams=tuple(trained.stream for trained in bundle.streams),
        config={},
        seed="+".join(seeds),
        scores=scores,
        on=_on(data, name, given, scores, asked),
        selection=bundle.selection,
        weights=bundle.fusion.method if len(bundle.streams) > 1 else "",
        leaks=_leaks([trained.facts.get("data") for trained in bundle.streams], given.part),
    )


def _file(text: str, given: Given) -> Item:
    row, equals, name = text.rpartition("=")
    path = Path(name if equals else text)
    scores = read_scores(path)
    protocol = given.protocol or ""
    data = {"name": "", "fingerprint": ""}
    return Item(
        source=str(path),
        streams=(),
        config={"file": str(path)},
        seed=str(path),
        scores=scores,
        on=_on(data, protocol, given, scores, None),
        selection="unknown: scores from a file",
        row=row or None,
    )


def _leaks(data: Sequence[object], part: str) -> tuple[str, ...]:
    """Return what the part shared with training when the streams were trained."""
    told = [
        leak["told"] for each in data for leak in kept_leaks(each) if leak["parts"][-1:] == [part]
    ]
    return tuple(dict.fromkeys(told))


def _restricted(scores: Scores, folder: ClipFolder | None, asked: Resolved | None) -> Scores:
    """Return the scores of the clips that the protocol judges."""
    if asked is None or asked.clips is None or folder is None:
        return scores
    judged = set(folder.ids[asked.clips].tolist())
    rows = [row for row, clip in enumerate(scores.ids) if clip in judged]
    return Scores(
        scores.logits[rows],
        [scores.ids[row] for row in rows],
        np.asarray(scores.labels)[rows],
        scores.classes,
        scores.stream,
        scores.views,
    )


def _on(
    data: Mapping[str, Any], name: str, given: Given, scores: Scores, asked: Resolved | None
) -> On:
    published = asked.published if asked is not None else None
    if published is None:
        published = recognised(name, len(scores.classes), len(scores.ids))
    whole = None
    if published is not None and given.part == "test":
        whole = max(published.expected("test"), default=None)
    return On(
        data=str(data.get("name") or ""),
        protocol=name if published is None else published.name,
        part=given.part,
        fingerprint=str(data.get("fingerprint") or ""),
        of=whole,
    )


def _is_how(key: str) -> bool:
    """Tell whether a setting is the seed, or says how a run is carried out, not what is trained."""
    head, _, last = key.rpartition(".")
    return key in ("recipe", "protocol") or (
        head == "training" and (last == "seed" or last in HOW_NOT_WHAT)
    )


def _groups(given: Given, folder: ClipFolder | None) -> dict[str, str] | None:
    if given.cluster is None:
        return None
    if given.cluster not in CLUSTERS or folder is None:
        found = "without --data" if folder is None else f"{given.cluster!r}"
        raise UsageError(
            "CMP-005", f"found cluster {found}, expected {', '.join(CLUSTERS)} of a data set"
        )
    column = folder.column(cast(Column, given.cluster)).tolist()
    return dict(zip(folder.ids.tolist(), column, strict=True))


def val_scores(item: Item) -> Scores:
    """Return the validation scores that a run has kept.

    Raises:
        InputError: ``FUS-006`` there are none.
    """
    return read_scores(Path(item.source) / "scores_val.npz")
