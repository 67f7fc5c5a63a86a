"""Which clips are explained, and which class of each is asked about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from poselens.data.folder import ClipFolder
from poselens.data.info import Part, nearest
from poselens.errors import UsageError
from poselens.fusion.scores import align, fuse
from poselens.recipes.scoring import require_part
from poselens.recognition.bundle import Bundle
from poselens.recognition.score import score_folder

PICKS = ("wrong", "right", "both")


@dataclass(frozen=True, eq=False)
class Chosen:
    """Clips to explain, and what a model says of them.

    Attributes:
        clips: Positions in the data set.
        labels: Class of each, -1 unknown.
        predicted: Class the model gives each; -1 where no stream could read it.
        probabilities: ``(n, k)`` of the model; NaN where no stream could read it.
        streams: Stream to its own ``(n, k)`` probabilities.
        skipped: Clip id and stream to reason.
    """

    clips: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    streams: Mapping[str, NDArray[np.float64]]
    skipped: Mapping[str, str]

    def read(self) -> "Chosen":
        """Return those that the model could read; why not the others is in ``skipped``."""
        return self.at(np.flatnonzero(self.predicted >= 0))

    def at(self, rows: NDArray[np.int64]) -> "Chosen":
        """Return some of them, in this order."""
        streams = {name: each[rows] for name, each in self.streams.items()}
        return Chosen(
            self.clips[rows],
            self.labels[rows],
            self.predicted[rows],
            self.probabilities[rows],
            streams,
            self.skipped,
        )


def score_clips(
    bundle: Bundle,
    folder: ClipFolder,
    clips: NDArray[np.int64],
    told: Callable[[int], None] | None = None,
) -> Chosen:
    """Score clips with every stream and their fusion; raises as ``recognition.score``."""
    skipped: dict[str, str] = {}
    found = []
    for trained in bundle.streams:
        scored = score_folder(trained, folder, clips, told=told)
        skipped.update({f"{k} ({trained.stream.name})": v for k, v in scored.skipped.items()})
        found.append(scored.scores)
    ids = [str(folder.ids[clip]) for clip in clips]
    aligned = align(found)
    rows = {name: row for row, name in enumerate(aligned[0].ids)}
    every = (
        aligned
        if len(aligned) == 1
        else [*aligned, fuse(found, bundle.fusion.weights, bundle.fusion.temperatures)]
    )
    tables = []
    for scores in every:
        table = np.full((len(clips), len(bundle.classes)), np.nan)
        for place, name in enumerate(ids):
            if name in rows:
                table[place] = softmax(scores.logits[rows[name]].astype(np.float64))
        tables.append(table)
    fused = tables[-1]
    known = np.isfinite(fused).all(axis=1)
    predicted = np.where(known, np.argmax(np.nan_to_num(fused, nan=-1.0), axis=1), -1)
    names = [trained.stream.name for trained in bundle.streams]
    return Chosen(
        clips, folder.labels[clips], predicted, fused,
        dict(zip(names, tables, strict=False)), skipped,
    )  # fmt: skip


def choose_clips(
    bundle: Bundle,
    folder: ClipFolder,
    protocol: str,
    *,
    ids: Sequence[str] = (),
    part: str = "test",
    top: int = 4,
    pick: str = "both",
    told: Callable[[int], None] | None = None,
) -> Chosen:
    """Return named clips, or those of a part of which the model is surest.

    Args:
        bundle: Scores the clips.
        folder: The data set.
        protocol: Name of the split.
        ids: Clips by id; none for those of ``part``.
        part: ``train``, ``val`` or ``test``.
        top: How many wrong ones, and how many right ones, the most confident first.
        pick: ``wrong``, ``right`` or ``both``.
        told: Called with the number of clips after each batch.

    Raises:
        UsageError: ``CFG-009`` for an unknown part, ``CFG-004`` for an unknown protocol,
            ``DATA-013`` for an unknown id, ``EXP-008`` for an unknown pick, fewer than one clip,
            or a part without a clip of the kind.
    """
    require_part(part)
    if pick not in PICKS or top < 1:
        raise UsageError(
            "EXP-008",
            f"found pick {pick!r} and top {top}; expected {', '.join(PICKS)} and 1 or more",
        )
    inside = folder.indices(protocol, cast(Part, part))
    if ids:
        wanted = np.array([folder.index_of(name) for name in dict.fromkeys(ids)], np.int64)
        return score_clips(bundle, folder, wanted, told)
    scored = score_clips(bundle, folder, inside, told)
    judged = (scored.labels >= 0) & (scored.predicted >= 0)
    right = scored.labels == scored.predicted
    surest = np.argsort(-np.nan_to_num(scored.probabilities.max(axis=1), nan=-1.0), kind="stable")
    kinds = {"wrong": judged & ~right, "right": judged & right}
    rows = [
        row
        for kind, those in kinds.items()
        if pick in (kind, "both")
        for row in surest[those[surest]][:top]
    ]
    if not rows:
        raise UsageError(
            "EXP-008",
            f"no clip of the {part} part is {pick if pick != 'both' else 'right or wrong'}",
            file=folder.root,
            mend="choose another --pick or --part, or name clips with --clip",
        )
    return scored.at(np.array(rows, np.int64))


def classes_asked(
    asked: str, chosen: Chosen, classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Return the class of each clip that is explained, and the one it is held against.

    Args:
        asked: ``predicted``, ``label``, ``pair`` (the label's lead over the class it was taken
            for, or over the runner-up), or a class's name.
        chosen: Clips and what the model says of them.
        classes: Class names.

    Raises:
        UsageError: ``EXP-010`` for an unknown class, or a clip without a label or prediction.
    """
    if asked in classes:
        return np.full(len(chosen.clips), list(classes).index(asked), np.int64), None
    if asked not in ("predicted", "label", "pair"):
        raise UsageError(
            "EXP-010",
            f"no class {asked!r}{nearest(asked, classes)}",
            mend="give predicted, label, pair or the name of a class",
        )
    wanted = chosen.predicted if asked == "predicted" else chosen.labels
    if (wanted < 0).any():
        raise UsageError(
            "EXP-010",
            f"{int((wanted < 0).sum())} of {len(wanted)} clips have no {asked} class to explain",
            mend="name a class",
        )
    if asked != "pair":
        return wanted, None
    others = np.nan_to_num(chosen.probabilities.copy(), nan=-1.0)
    others[np.arange(len(wanted)), wanted] = -2.0
    return wanted, others.argmax(axis=1)
