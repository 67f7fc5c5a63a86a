"""The weights of Eq. 14: fixed by name or number, or fitted on validation scores."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from poselens.errors import CheckpointError, UsageError
from poselens.fusion.accuracy import contest, most_right
from poselens.fusion.calibration import ROWS, fit_temperature
from poselens.fusion.leaning import lean
from poselens.fusion.likelihood import maximise, maximise_per_class
from poselens.fusion.probabilities import class_probabilities, true_probabilities
from poselens.fusion.scores import (
    align,
    class_shares,
    clip_weights,
    fuse,
    per_stream,
    present,
)
from poselens.types import Scores

Objective = Literal["likelihood", "accuracy"]

CLASS_PRIOR_CLIPS = 20.0
"""Clips a class by which fitted weights per class are held near the shared ones."""

SKELETON_SHARES = {"joint": 2.0, "bone": 2.0, "joint-motion": 1.0, "bone-motion": 1.0}
"""Inner weights of the four skeleton streams under ``paper``."""


@dataclass(frozen=True)
class FusionWeights:
    """How streams are fused, and where that comes from.

    Attributes:
        weights: Weight of each stream; they sum to one.
        temperatures: Temperature of each stream.
        method: ``fitted``, ``paper``, ``equal`` or ``given``.
        n: Labelled clips the fit used, 0 for fixed weights.
        objective: What the fit sought, ``likelihood`` or ``accuracy``; None for fixed weights.
        nll: Mean negative log-likelihood, in nats, of the fusion on those clips.
        accuracy: Top-1 of the fusion on those clips.
        per_class: Weights of each stream by class, which take the place of ``weights``; None where
            all classes share them.
    """

    weights: Mapping[str, float]
    temperatures: Mapping[str, float]
    method: Literal["fitted", "paper", "equal", "given"]
    n: int = 0
    objective: Objective | None = None
    nll: float | None = None
    accuracy: float | None = None
    per_class: Mapping[str, tuple[float, ...]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts for a bundle's JSON."""
        return asdict(self)

    def of(self, names: Sequence[str]) -> "FusionWeights":
        """Return the same for some of the streams, whose weights are made to sum to one.

        Departure: the paper always has every stream. Streams that share a weight of zero count
        alike where no other has anything to say.
        """
        kept = {name: self.weights[name] for name in names}
        total = sum(kept.values())
        return replace(
            self,
            weights={
                name: value / total if total > 0 else 1 / len(kept) for name, value in kept.items()
            },
            temperatures={name: self.temperatures[name] for name in names},
            per_class=None
            if self.per_class is None
            else {name: self.per_class[name] for name in names},
        )


def fuse_with(scores: Sequence[Scores], fusion: FusionWeights) -> Scores:
    """Fuse streams as ``fusion`` says, over those of its streams that are given.

    Raises:
        UsageError: ``FUS-020`` for a stream that the weights do not know, else as ``fuse``.
        AnnotationError: ``FUS-003`` as ``fuse``.
        InputError: ``FUS-004`` as ``fuse``.
    """
    names = [stream.stream for stream in scores]
    unknown = [name for name in names if name not in fusion.weights]
    if unknown:
        raise UsageError(
            "FUS-020",
            f"the weights know {', '.join(fusion.weights)}, but not {unknown[0]!r}",
            mend="name the streams as they were when the weights were made",
        )
    part = fusion.of(names)
    return fuse(scores, part.weights, part.temperatures, part.per_class)


def fusion_weights_from(facts: Mapping[str, Any], *, file: str | None = None) -> FusionWeights:
    """Read what :meth:`FusionWeights.as_dict` wrote, in this version or an earlier one.

    Raises:
        CheckpointError: ``CKPT-005`` when a key is missing or a number is out of range.
    """
    try:
        objective: Any = facts.get("objective")
        nll = facts.get("nll")
        if isinstance(objective, int | float):
            # before there was a choice, the likelihood itself stood here
            objective, nll = "likelihood", objective
        table = facts.get("per_class")
        read = FusionWeights(
            _numbers(facts["weights"]),
            _numbers(facts["temperatures"]),
            facts["method"],
            int(facts["n"]),
            objective,
            None if nll is None else float(nll),
            None if facts.get("accuracy") is None else float(facts["accuracy"]),
            None
            if table is None
            else {str(name): tuple(map(float, row)) for name, row in table.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise CheckpointError(
            "CKPT-005", f"fusion weights cannot be read: {fault!r}", file=file
        ) from fault
    _require_sound(read, file)
    return read


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in table.items()}


def _require_sound(read: FusionWeights, file: str | None) -> None:
    sound = (
        read.weights.keys() == read.temperatures.keys()
        and sum(read.weights.values()) > 0
        and all(0 <= value < np.inf for value in read.weights.values())
        and all(0 < value < np.inf for value in read.temperatures.values())
        and read.method in ("fitted", "paper", "equal", "given")
        and read.objective in ("likelihood", "accuracy", None)
    )
    if not sound:
        raise CheckpointError(
            "CKPT-005",
            "fusion weights must be 0 or more, temperatures above 0, of the same streams; "
            f"found {read.weights} and {read.temperatures}",
            file=file,
        )
    if read.per_class is None:
        return
    rows = list(read.per_class.values())
    lengths = {len(row) for row in rows}
    sound = (
        read.per_class.keys() == read.weights.keys()
        and len(lengths) == 1
        and all(0 <= value < np.inf for row in rows for value in row)
        and all(sum(column) > 0 for column in zip(*rows, strict=True))
    )
    if not sound:
        raise CheckpointError(
            "CKPT-005",
            "weights per class must be 0 or more, not all 0 for any class, and as many for every "
            f"stream; found {sorted(lengths)} for {', '.join(read.per_class)}",
            file=file,
            where="per_class",
        )


def fixed_weights(
    streams: Sequence[str], choice: str | Mapping[str, float] | Sequence[float]
) -> FusionWeights:
    """Return weights given by name or number; every temperature is one.

    Args:
        streams: Stream names.
        choice: ``paper`` (RGB 1 : skeleton 1, and within the skeleton joint 2 : bone 2 : joint
            motion 1 : bone motion 1, over the streams there are), ``equal``, numbers by stream
            name, or numbers in the order of ``streams``.

    Departure: the paper does not print its weights; 1 : 1 between branches is ours, 2 : 2 : 1 : 1
    is common practice for four-stream skeleton networks.

    Raises:
        UsageError: ``FUS-005`` for an unknown name, a stream that ``paper`` has no weight for, or
            numbers that do not fit the streams or are out of range.
    """
    if isinstance(choice, str):
        if choice not in ("paper", "equal"):
            raise UsageError(
                "FUS-005",
                f"unknown fusion weights {choice!r}",
                mend="use paper, equal, fitted, or one number per stream",
            )
        method: Literal["paper", "equal", "given"] = "paper" if choice == "paper" else "equal"
        raw = _paper_weights(streams) if choice == "paper" else dict.fromkeys(streams, 1.0)
    else:
        method = "given"
        blank = np.zeros((0, 0), dtype=np.float32)
        nobody = np.zeros(0, dtype=np.int64)
        named = [Scores(blank, [], nobody, [], stream) for stream in streams]
        values = per_stream(choice, named, "weight")
        raw = dict(zip(streams, values.tolist(), strict=True))
    total = sum(raw.values())
    if not (0 < total < np.inf) or min(raw.values()) < 0:
        raise UsageError(
            "FUS-005",
            f"found weights {list(raw.values())}, expected numbers from 0 up, not all 0",
        )
    return FusionWeights(
        {stream: value / total for stream, value in raw.items()},
        dict.fromkeys(streams, 1.0),
        method,
    )


def _paper_weights(streams: Sequence[str]) -> dict[str, float]:
    unknown = [stream for stream in streams if stream not in ("rgb", *SKELETON_SHARES)]
    if unknown:
        raise UsageError(
            "FUS-005",
            f"the paper has no weight for stream {unknown[0]!r}",
            mend="fit the weights, or give one number per stream",
        )
    inner = sum(SKELETON_SHARES[stream] for stream in streams if stream in SKELETON_SHARES)
    return {
        stream: 1.0 if stream == "rgb" else SKELETON_SHARES[stream] / inner for stream in streams
    }


def fit_weights(
    scores: Sequence[Scores],
    *,
    objective: Objective = "likelihood",
    per_class: bool = False,
    prior_clips: float = 1.0,
    class_prior_clips: float = CLASS_PRIOR_CLIPS,
) -> FusionWeights:
    """Fit temperatures, then weights, on the scores of validation clips.

    Each stream's temperature comes first (:func:`fit_temperature`); then the weights of all classes
    together: the likeliest (:func:`maximise`), or those under which most clips are right
    (:func:`most_right`); then, where asked for, those of each class near them
    (:func:`maximise_per_class`, :func:`lean`). The same scores give the same weights.

    Args:
        scores: One entry per stream, on clips that no stream was trained on.
        objective: ``likelihood`` or ``accuracy``; temperatures are always the likeliest.
        per_class: Also fit weights per stream and class.
        prior_clips: Weight, in clips, of what speaks for equal weights and for doubt.
        class_prior_clips: Weight, in clips a class, of what speaks for the shared weights.

    Departure: the paper does not say how its weights are found. A prior worth one clip keeps a
    small validation set from silencing a stream altogether. The paper has no weights per class;
    ours are held near the shared ones by a prior worth 20 clips a class, whichever the objective.

    Raises:
        UsageError: ``FUS-007`` without labelled clips, for a stream or for all; ``FUS-001``,
            ``FUS-002`` as :func:`align`; ``FUS-021`` for an unknown objective.
        AnnotationError: ``FUS-003`` as :func:`align`.
        InputError: ``FUS-004`` as :func:`align`.
    """
    if objective not in ("likelihood", "accuracy"):
        raise UsageError(
            "FUS-021", f"found objective {objective!r}, expected likelihood or accuracy"
        )
    aligned = align(scores)
    masks = np.stack([present(stream) for stream in aligned])
    labels = np.asarray(aligned[0].labels)
    temperatures = np.array(
        [
            _temperature(stream, mask, prior_clips)
            for stream, mask in zip(aligned, masks, strict=True)
        ]
    )
    usable = np.flatnonzero((labels >= 0) & masks.any(axis=0))
    mask, known = masks[:, usable], labels[usable]
    true = true_probabilities(aligned, usable, known, temperatures)
    weights = maximise(true, mask, prior_clips)
    shares = class_probabilities(aligned, usable, temperatures)
    if objective == "accuracy":
        weights = most_right(contest(shares, known), weights)
    table = None
    if per_class:
        refine = maximise_per_class if objective == "likelihood" else lean
        table = refine(shares, mask, known, weights, class_prior_clips)
    nll, accuracy = _told(shares, true, mask, known, weights, table)
    names = [stream.stream for stream in aligned]
    return FusionWeights(
        dict(zip(names, weights.tolist(), strict=True)),
        dict(zip(names, temperatures.tolist(), strict=True)),
        "fitted",
        len(usable),
        objective,
        nll,
        accuracy,
        None
        if table is None
        else {name: tuple(row.tolist()) for name, row in zip(names, table, strict=True)},
    )


def _temperature(stream: Scores, mask: Bool[np.ndarray, " n"], prior_clips: float) -> float:
    logits, labels = stream.logits, np.asarray(stream.labels)
    if not mask.all():
        logits, labels = logits[mask], labels[mask]
    return fit_temperature(logits, labels, prior_clips=prior_clips)


def _told(
    shares: NDArray[np.float32],
    true: Float[np.ndarray, "streams n"],
    mask: Bool[np.ndarray, "streams n"],
    labels: Int[np.ndarray, " n"],
    weights: Float[np.ndarray, " streams"],
    table: Float[np.ndarray, "streams k"] | None,
) -> tuple[float, float]:
    """Return the mean negative log-likelihood and the accuracy of fitted weights."""
    likelihood, right = 0.0, 0
    for start in range(0, len(labels), ROWS):
        part = slice(start, start + ROWS)
        known, rows = labels[part], np.arange(len(labels[part]))
        if table is None:
            each = clip_weights(weights, mask[:, part])
            fused = np.einsum("sn,snk->nk", each.astype(np.float32), shares[:, part])
            likelihood += float(
                np.log(np.maximum((each * true[:, part]).sum(axis=0), 1e-300)).sum()
            )
        else:
            fused = (class_shares(table, mask[:, part]) * shares[:, part]).sum(axis=0)
            likely = fused[rows, known] / fused.sum(axis=1)
            likelihood += float(np.log(np.maximum(likely, 1e-300)).sum())
        right += int((fused.argmax(axis=1) == known).sum())
    return -likelihood / len(labels), right / len(labels)
