"""Evaluate a bundle on one part of a split: every stream, and their fusion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from poselens.checkpoint import make_folder
from poselens.data.folder import ClipFolder
from poselens.data.info import Part
from poselens.errors import UsageError
from poselens.evaluation.metrics import Evaluation, evaluate
from poselens.fusion.scores import fuse, write_scores
from poselens.recognition.bundle import Bundle
from poselens.recognition.score import score_folder
from poselens.types import Scores

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
    """

    streams: Sequence[Evaluation]
    fused: Evaluation
    scores: Sequence[Scores]
    skipped: Mapping[str, str]
    notes: Sequence[str]
    protocol: str
    part: str

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``: those of the fusion, and each stream's below."""
        return {
            **self.fused.as_dict(),
            "protocol": self.protocol,
            "part": self.part,
            "views": 1,
            "streams": {entry.stream: entry.as_dict() for entry in self.streams},
            "skipped": dict(self.skipped),
            "notes": list(self.notes),
        }


def evaluate_bundle(
    bundle: Bundle,
    folder: ClipFolder,
    protocol: str,
    part: str,
    *,
    told: Callable[[int], None] | None = None,
    scores_out: Path | None = None,
) -> Result:
    """Score one part of a split with every stream and judge streams and fusion.

    Raises:
        UsageError: ``CFG-009`` for an unknown part, ``CFG-004`` for an unknown protocol; else as
            ``poselens.recognition.score``.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when ``scores_out`` cannot be written.
    """
    if part not in PARTS:
        raise UsageError("CFG-009", f"found part {part!r}, expected {', '.join(PARTS)}")
    clips = folder.indices(protocol, cast(Part, part))
    if scores_out is not None:
        make_folder(scores_out.parent)
    skipped: dict[str, str] = {}
    scores: list[Scores] = []
    for trained in bundle.streams:
        scored = score_folder(trained, folder, clips, told=told)
        skipped.update({f"{k} ({trained.stream.name})": v for k, v in scored.skipped.items()})
        scores.append(scored.scores)
    fused = scores[0]
    if len(scores) > 1:
        fused = fuse(scores, bundle.fusion.weights, bundle.fusion.temperatures)
        scores.append(fused)
    if scores_out is not None:
        write_scores(scores_out, fused)
    fingerprint = folder.fingerprint()
    streams = [
        evaluate(
            scored,
            selection=str(trained.facts.get("selection")),
            data_fingerprint=fingerprint,
        )
        for scored, trained in zip(scores, bundle.streams, strict=False)
    ]
    judged = evaluate(fused, selection=bundle.selection, data_fingerprint=fingerprint)
    notes = list(_doubts(bundle, fingerprint, protocol, part))
    return Result(streams, judged, scores, skipped, notes, protocol, part)


def _doubts(bundle: Bundle, fingerprint: str, protocol: str, part: str) -> Iterator[str]:
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
