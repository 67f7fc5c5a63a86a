"""Fused scores of clips that the weights were not fitted on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from poselens.errors import UsageError
from poselens.fusion.scores import align, fuse, present
from poselens.fusion.weights import FusionWeights, fuse_with
from poselens.types import Scores

FOLDS = 5

Fit = Callable[[Sequence[Scores]], FusionWeights]
"""Fits weights on scores; ``fit_weights``, with its options bound."""


def fuse_held_out(
    scores: Sequence[Scores],
    fit: Fit,
    *,
    groups: Sequence[str] | None = None,
    folds: int = FOLDS,
) -> Scores:
    """Fuse every labelled clip with weights fitted on the other folds.

    What fitted weights gain on the clips they were fitted on flatters them; this does not. Clips
    that no stream knows, or without a label, are left out.

    Args:
        scores: One entry per stream.
        fit: Fits weights on some of the clips.
        groups: Group of each clip of the aligned streams; groups stay together, where there are as
            many as folds.
        folds: Number of parts; fewer where there are fewer clips.

    Departure: parts are every ``folds``-th clip of a class in the order given (every
    ``folds``-th group in alphabetical order), so that the same scores give the same parts.

    Raises:
        UsageError: ``FUS-022`` with fewer than two clips; else as ``fit`` and ``fuse``.
    """
    aligned = align(scores)
    labels = np.asarray(aligned[0].labels)
    known = np.any([present(stream) for stream in aligned], axis=0)
    rows = np.flatnonzero(known & (labels >= 0))
    if len(rows) < 2:
        raise UsageError(
            "FUS-022",
            f"found {len(rows)} labelled clips, expected two or more to fit on some and judge "
            "on others",
            mend="give a larger validation split, or fixed weights",
        )
    member = _parts(rows, labels, groups, min(folds, len(rows)))
    parts = []
    for number in np.unique(member):
        fitted = fit([_some(stream, rows[member != number]) for stream in aligned])
        judged = [_some(stream, rows[member == number]) for stream in aligned]
        parts.append(fuse_with(judged, fitted))
    logits = np.concatenate([part.logits for part in parts])
    ids = [clip for part in parts for clip in part.ids]
    joined = np.concatenate([part.labels for part in parts])
    return Scores(logits, ids, joined, parts[0].classes, "fused", parts[0].views)


def _parts(
    rows: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " all"],
    groups: Sequence[str] | None,
    folds: int,
) -> Int[np.ndarray, " n"]:
    if groups is not None:
        member = np.unique([groups[row] for row in rows.tolist()], return_inverse=True)[1].ravel()
        if member.max() + 1 >= folds:
            return member % folds
    # ranks within the sorted classes: every class is spread over the parts
    order = np.argsort(labels[rows], kind="stable")
    places = np.empty(len(rows), dtype=np.int64)
    places[order] = np.arange(len(rows))
    spread: Int[np.ndarray, " n"] = places % folds
    return spread


def _some(stream: Scores, rows: Int[np.ndarray, " n"]) -> Scores:
    ids = [stream.ids[row] for row in rows.tolist()]
    return Scores(
        stream.logits[rows], ids, stream.labels[rows], stream.classes, stream.stream, stream.views
    )


def fixed(fusion: FusionWeights) -> Callable[[Sequence[Scores]], Scores]:
    """Return what fuses some streams with weights that stay as they are.

    Clips that none of these streams knows are left out.
    """
    return lambda scores: fuse_with(_known(scores), fusion)


def refitted(
    fit: Fit, groups: Mapping[str, str] | None = None
) -> Callable[[Sequence[Scores]], Scores]:
    """Return what fuses some streams out of fold, their weights fitted anew.

    Clips that none of these streams knows are left out.
    """

    def fused(scores: Sequence[Scores]) -> Scores:
        known = _known(scores)
        if len(known) == 1:
            return fuse(known, [1.0])
        members = None if groups is None else [groups[clip] for clip in known[0].ids]
        return fuse_held_out(known, fit, groups=members)

    return fused


def _known(scores: Sequence[Scores]) -> list[Scores]:
    aligned = align(scores)
    rows = np.flatnonzero(np.any([present(stream) for stream in aligned], axis=0))
    return [_some(stream, rows) for stream in aligned]
