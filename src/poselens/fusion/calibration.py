"""Temperature scaling of one stream (Guo et al., 2017, *On calibration of modern networks*)."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.errors import UsageError

TEMPERATURES = (0.05, 20.0)
"""Range that is searched."""

ROWS = 4096
"""Clips taken at a time: a block of them stays in a processor's cache."""

_STEPS = 60
_CLOSE = 1e-8


def fit_temperature(
    logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], *, prior_clips: float = 1.0
) -> float:
    r"""Return the temperature that makes held-out labels most likely.

    .. math::
        T = \arg\min_T \; -\sum_i \log q_{i y_i} - \frac{c}{nk} \sum_{i,j} \log q_{ij},
        \qquad q_i = \mathrm{softmax}(z_i / T)

    The sum is convex in :math:`1 / T`: Newton's steps, kept between the ends of what is searched.

    Args:
        logits: Scores before the softmax.
        labels: Class indices; rows of -1 are left out.
        prior_clips: :math:`c`, the weight of the second term, in clips.

    Departure: temperature scaling has no second term. A small validation set without a mistake
    would send :math:`T` to zero and with it every other stream's say; one clip's worth of doubt
    (Laplace's rule, as in Platt's targets) keeps the confidence near :math:`1 - 1/n`.

    Raises:
        UsageError: ``FUS-007`` without any labelled clip.
    """
    known = labels >= 0
    if not known.any():
        raise UsageError(
            "FUS-007",
            "no labelled clip to calibrate on",
            mend="give a validation split with labels, or fixed weights",
        )
    every = bool(known.all())
    rows = below_best(logits if every else logits[known])
    columns = np.asarray(labels if every else labels[known])
    target = rows[np.arange(len(rows)), columns].sum(dtype=np.float64)
    target += prior_clips * rows.mean(dtype=np.float64)
    doubt = 1.0 + prior_clips / len(rows)
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    inverse = 1.0
    for _ in range(_STEPS):
        mean, variance = _moments(rows, inverse)
        slope, bend = doubt * mean - target, doubt * variance
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        wanted = inverse - slope / bend if bend > 0 else np.inf
        if not low < wanted < high:
            wanted = float(np.sqrt(low * high))
        if abs(wanted - inverse) <= _CLOSE * inverse:
            break
        inverse = wanted
    return float(np.clip(1 / inverse, *TEMPERATURES))


def below_best(logits: Float[np.ndarray, "n k"]) -> NDArray[np.float32]:
    """Return a copy of logits as float32, each row less its largest, which no softmax sees."""
    rows: NDArray[np.float32] = logits - logits.max(axis=1, keepdims=True)
    return rows.astype(np.float32, copy=False)


def _moments(rows: NDArray[np.float32], inverse: float) -> tuple[float, float]:
    """Return the sums over clips of the mean and the variance of the logits under the softmax."""
    mean = variance = 0.0
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        powers = np.exp(np.float32(inverse) * block)
        total = powers.sum(axis=1)
        powers *= block
        first = powers.sum(axis=1) / total
        powers *= block
        second = powers.sum(axis=1) / total
        mean += float(first.sum(dtype=np.float64))
        variance += float((second - first * first).sum(dtype=np.float64))
    return mean, variance
