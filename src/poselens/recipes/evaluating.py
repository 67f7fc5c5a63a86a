"""Evaluate a bundle on one part of a split: every stream, and their fusion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from poselens.checkpoint import make_folder
from poselens.clips.stream import RgbStream
from poselens.clips.views import choose_views, count_views
from poselens.data.audit import Audit, audit, kept_leaks, leak_facts
from poselens.data.folder import ClipFolder
from poselens.data.info import Part
from poselens.data.leakage import Leak
from poselens.errors import UsageError
from poselens.evaluation.hierarchy import HierarchyEvaluation, evaluate_hierarchy
from poselens.evaluation.metrics import Evaluation, evaluate
from poselens.fusion.scores import write_scores
from poselens.fusion.weights import fuse_with
from poselens.recipes.clustering import AUTO, Units, choose_units
from poselens.recognition.bundle import Bundle
from poselens.recognition.score import score_folder
from poselens.types import ONE_VIEW, Scores

PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Result:
    """How a bundle does.

    Attributes:
        streams: One evaluation per stream.
        fused: That of their fusion; of the only stream where there is one.
        scores: Scores per stream, and the fused ones last.
        skipped: Clip id to reason, over all streams.
        notes: What makes the numbers less than they seem, one sentence each.
        protocol: Name of the split.
        part: Part of the split.
        leakage: What this part shares with those that were trained and chosen on, by the data set.
        units: What the intervals draw.
        hierarchy: The fusion on every level of the classes, where the data set declares levels.
    """

    streams: Sequence[Evaluation]
    fused: Evaluation
    scores: Sequence[Scores]
    skipped: Mapping[str, str]
    notes: Sequence[str]
    protocol: str
    part: str
    leakage: Sequence[Leak] = ()
    units: Units = field(default_factory=Units)
    hierarchy: HierarchyEvaluation | None = None

    @property
    def views(self) -> int:
        """How many views of each clip the stream with the most of them was shown."""
        return max(count_views(scores.views) for scores in self._stream_scores())

    def _stream_scores(self) -> Sequence[Scores]:
        return self.scores[: len(self.streams)]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``: those of the fusion, and each stream's below."""
        return {
            **self.fused.as_dict(),
            "protocol": self.protocol,
            "part": self.part,
            "views": self.views,
            "views_name": self.scores[-1].views,
            "streams": {
                entry.stream: {**entry.as_dict(), "views": count_views(scores.views)}
                for entry, scores in zip(self.streams, self._stream_scores(), strict=True)
            },
            "interval_notes": list(self.units.told),
            "hierarchy": None if self.hierarchy is None else self.hierarchy.as_dict(),
            "skipped": dict(self.skipped),
            "leakage": leak_facts(self.leakage),
            "notes": list(self.notes),
        }


def evaluate_bundle(
    bundle: Bundle,
    folder: ClipFolder,
    protocol: str,
    part: str,
    *,
    views: str = ONE_VIEW,
    cluster: str = AUTO,
    clips: NDArray[np.int64] | None = None,
    told: Callable[[int], None] | None = None,
    scores_out: Path | None = None,
) -> Result:
    """Score one part of a split with every stream and judge streams and fusion.

    Args:
        bundle: Trained streams and their fusion.
        folder: The data set.
        protocol: Name of the split.
        part: ``train``, ``val`` or ``test``.
        views: Views of each clip for the RGB stream (``poselens.clips.views``).
        cluster: What the intervals draw (``poselens.recipes.clustering.choose_units``).
        clips: The clips of the part to judge; None for all of them.
        told: Called with the number of clips after each batch.
        scores_out: File for the fused scores, or None.

    Raises:
        UsageError: ``CFG-009`` for an unknown part, ``CFG-004`` for an unknown protocol,
            ``CFG-038`` for views that no stream of the bundle can have, ``CMP-005`` for groups that
            cannot be drawn; else as ``poselens.recognition.score``.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when ``scores_out`` cannot be written.
    """
    if part not in PARTS:
        raise UsageError("CFG-009", f"found part {part!r}, expected {', '.join(PARTS)}")
    clips = folder.indices(protocol, cast(Part, part)) if clips is None else clips
    _require_views(bundle, views)
    units = choose_units(folder, folder.ids[clips].tolist(), cluster)
    if scores_out is not None:
        make_folder(scores_out.parent)
    scores, skipped = _scored(bundle, folder, clips, views, told)
    fused = scores[-1]
    if scores_out is not None:
        write_scores(scores_out, fused)
    fingerprint = folder.fingerprint()
    streams = [
        evaluate(
            scored,
            selection=str(trained.facts.get("selection")),
            data_fingerprint=fingerprint,
            **units.about(scored.ids),
        )
        for scored, trained in zip(scores, bundle.streams, strict=False)
    ]
    about = units.about(fused.ids)
    judged = evaluate(fused, selection=bundle.selection, data_fingerprint=fingerprint, **about)
    levels = folder.info.hierarchy
    tree = evaluate_hierarchy(fused, levels, **about) if levels else None
    leaks = (found := audit(folder, protocol)).about(cast(Part, part))
    notes = [*_cost_of(views, bundle), *shared(bundle, part, found, leaks)]
    notes += doubts(bundle, fingerprint, protocol, part)
    return Result(streams, judged, scores, skipped, notes, protocol, part, leaks, units, tree)


def _scored(
    bundle: Bundle,
    folder: ClipFolder,
    clips: NDArray[np.int64],
    views: str,
    told: Callable[[int], None] | None,
) -> tuple[list[Scores], dict[str, str]]:
    """Return scores of every stream, of the fusion last where there are several, and the skips."""
    skipped, scores = dict[str, str](), list[Scores]()
    for trained in bundle.streams:
        scored = score_folder(trained, folder, clips, views=views, told=told)
        skipped.update({f"{k} ({trained.stream.name})": v for k, v in scored.skipped.items()})
        scores.append(scored.scores)
    if len(scores) > 1:
        scores.append(fuse_with(scores, bundle.fusion))
    return scores, skipped


def _require_views(bundle: Bundle, views: str) -> None:
    """Refuse views before anything is scored."""
    inputs = [each.stream.input for each in bundle.streams if isinstance(each.stream, RgbStream)]
    for settings in inputs:
        choose_views(views, settings)
    if not inputs and views != ONE_VIEW:
        raise UsageError(
            "CFG-038",
            f"found views {views!r}, but no stream sees pictures",
            mend=f"use {ONE_VIEW}",
        )


def _cost_of(views: str, bundle: Bundle) -> Iterator[str]:
    """Say what more than one view means."""
    if views == ONE_VIEW:
        return
    count = count_views(views)
    yield f"rgb saw {count} views of each clip ({views}), which cost {count} times one"
    if bundle.fusion.n:
        yield "the fusion was fitted on one view of each clip"


def shared(bundle: Bundle, part: str, found: Audit, leaks: Sequence[Leak]) -> Iterator[str]:
    """Say what the part shares, and what it shared when a stream was trained, as far as it differs.

    It differs where the data set was changed, or a protocol declares since what it shares.
    """
    yield from (leak.sentence() for leak in leaks)
    yield from found.notes
    now = {(leak.kind, leak.parts) for leak in leaks if leak.severe}
    for trained in bundle.streams:
        data = trained.facts.get("data", {})
        for leak in kept_leaks(data):
            known = (leak.get("kind"), tuple(leak["parts"])) in now
            if leak.get("severe") and part in leak["parts"] and not known:
                yield f"when {trained.stream.name} was trained: {leak['told']}"


def doubts(bundle: Bundle, fingerprint: str, protocol: str, part: str) -> Iterator[str]:
    """Say where clips may have been seen before they are judged."""
    for trained in bundle.streams:
        data = trained.facts.get("data", {})
        name = trained.stream.name
        if data.get("fingerprint") != fingerprint:
            yield f"{name} was trained on another data set, or another version of this one"
        elif data.get("protocol") != protocol:
            yield (
                f"{name} was trained under the protocol {data.get('protocol')!r}: "
                f"clips of this {part} part may have been among its training clips"
            )
        elif part == "train":
            yield f"{name} was trained on these clips"
        elif part == "val" and not data.get("val"):
            yield f"{name} was trained on these clips: its validation slice was not kept apart"
    if part == "val" and bundle.fusion.n:
        yield "the fusion was fitted on these clips"
