"""The weights of Eq. 14: fixed by name or number, or fitted on validation scores."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize

from poselens.errors import CheckpointError, UsageError
from poselens.fusion.calibration import fit_temperature
from poselens.fusion.scores import (
    align,
    clip_weights,
    per_stream,
    present,
    stacked_log_probabilities,
)
from poselens.types import Scores

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
        objective: Mean negative log-likelihood, in nats, of the fusion on those clips.
    """

    weights: Mapping[str, float]
    temperatures: Mapping[str, float]
    method: Literal["fitted", "paper", "equal", "given"]
    n: int = 0
    objective: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts for a bundle's JSON."""
        return asdict(self)


def fusion_weights_from(facts: Mapping[str, Any], *, file: str | None = None) -> FusionWeights:
    """Read what :meth:`FusionWeights.as_dict` wrote.

    Raises:
        CheckpointError: ``CKPT-005`` when a key is missing or a number is out of range.
    """
    try:
        weights = {str(name): float(value) for name, value in facts["weights"].items()}
        temperatures = {str(name): float(value) for name, value in facts["temperatures"].items()}
        objective = facts.get("objective")
        read = FusionWeights(
            weights,
            temperatures,
            facts["method"],
            int(facts["n"]),
            None if objective is None else float(objective),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise CheckpointError(
            "CKPT-005", f"fusion weights cannot be read: {fault!r}", file=file
        ) from fault
    sound = (
        weights.keys() == temperatures.keys()
        and sum(weights.values()) > 0
        and all(0 <= value < np.inf for value in weights.values())
        and all(0 < value < np.inf for value in temperatures.values())
        and read.method in ("fitted", "paper", "equal", "given")
    )
    if not sound:
        raise CheckpointError(
            "CKPT-005",
            "fusion weights must be 0 or more, temperatures above 0, of the same streams; "
            f"found {weights} and {temperatures}",
            file=file,
        )
    return read


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


def fit_weights(scores: Sequence[Scores], *, prior_clips: float = 1.0) -> FusionWeights:
    r"""Fit temperatures, then weights, on the scores of validation clips.

    Each stream's temperature comes first (:func:`fit_temperature`); then

    .. math::
        \lambda = \arg\max_{\lambda \in \Delta} \; \sum_i \log \sum_s \lambda_{si} \, p_{s i y_i}
        + \frac{c}{S} \sum_s \log \lambda_s

    where :math:`\lambda_{si}` is :math:`\lambda_s` renormalised over the streams clip i has.

    Args:
        scores: One entry per stream, on clips that no stream was trained on.
        prior_clips: :math:`c`, the weight in clips of the second term.

    Departure: the paper does not say how its weights are found. The second term, worth one clip,
    keeps a small validation set from silencing a stream altogether.

    Raises:
        UsageError: ``FUS-007`` without labelled clips, for a stream or for all; ``FUS-001``,
            ``FUS-002`` as :func:`align`.
        AnnotationError: ``FUS-003`` as :func:`align`.
        InputError: ``FUS-004`` as :func:`align`.
    """
    aligned = align(scores)
    temperatures = np.array(
        [
            fit_temperature(
                stream.logits[present(stream)],
                np.asarray(stream.labels)[present(stream)],
                prior_clips=prior_clips,
            )
            for stream in aligned
        ]
    )
    log_probabilities, mask = stacked_log_probabilities(aligned, temperatures)
    labels = np.asarray(aligned[0].labels)
    usable = np.flatnonzero((labels >= 0) & mask.any(axis=0))
    true = np.exp(log_probabilities[:, usable, labels[usable]])
    weights = _maximise(true, mask[:, usable], prior_clips)
    names = [stream.stream for stream in aligned]
    fused = (clip_weights(weights, mask[:, usable]) * true).sum(axis=0)
    return FusionWeights(
        dict(zip(names, weights.tolist(), strict=True)),
        dict(zip(names, temperatures.tolist(), strict=True)),
        "fitted",
        len(usable),
        float(-np.log(fused).mean()),
    )


def _maximise(
    true: Float[np.ndarray, "streams n"], mask: Bool[np.ndarray, "streams n"], prior_clips: float
) -> Float[np.ndarray, " streams"]:
    """Return the simplex point of highest likelihood, through a softmax of free numbers."""
    streams = len(true)
    if streams == 1:
        return np.ones(1)
    true = np.where(mask, np.maximum(true, 1e-300), 0.0)

    def loss(free: Float[np.ndarray, " streams"]) -> tuple[float, Float[np.ndarray, " streams"]]:
        weights = np.exp(free - free.max())
        weights /= weights.sum()
        fused, shown = weights @ true, weights @ mask  # (n,), (n,)
        value = np.log(fused).sum() - np.log(shown).sum()
        value += prior_clips / streams * np.log(weights).sum()
        slope = (true / fused - mask / shown).sum(axis=1) + prior_clips / streams / weights
        gradient = weights * (slope - weights @ slope)
        return float(-value / true.shape[1]), -gradient / true.shape[1]

    # the bounds keep every weight above e^-20, so that no logarithm is taken of zero
    found = minimize(
        loss, np.zeros(streams), jac=True, method="L-BFGS-B", bounds=[(-10.0, 10.0)] * streams
    )
    weights: Float[np.ndarray, " streams"] = np.exp(found.x - found.x.max())
    weights /= weights.sum()
    return weights
