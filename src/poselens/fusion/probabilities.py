"""Class probabilities of aligned streams at a temperature, as the fits of weights read them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.fusion.calibration import ROWS, below_best
from poselens.types import Scores


def class_probabilities(
    aligned: Sequence[Scores],
    rows: Int[np.ndarray, " n"],
    temperatures: Float[np.ndarray, " streams"],
) -> NDArray[np.float32]:
    """Return ``(s, n, k)`` probabilities of some clips; zeros where a stream has no scores."""
    classes = len(aligned[0].classes)
    shares = np.empty((len(aligned), len(rows), classes), dtype=np.float32)
    for stream, temperature, out in zip(aligned, temperatures, shares, strict=True):
        for start in range(0, len(rows), ROWS):
            block = below_best(stream.logits[rows[start : start + ROWS]])
            block *= np.float32(1 / temperature)
            powers = np.exp(block, out=block)
            powers /= powers.sum(axis=1, keepdims=True)
            out[start : start + ROWS] = np.nan_to_num(powers, copy=False, nan=0.0)
    return shares


def true_probabilities(
    aligned: Sequence[Scores],
    rows: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    temperatures: Float[np.ndarray, " streams"],
) -> Float[np.ndarray, "streams n"]:
    """Return the probability of the true class alone, in double precision; 0 where absent."""
    true = np.empty((len(aligned), len(rows)))
    for stream, temperature, out in zip(aligned, temperatures, true, strict=True):
        for start in range(0, len(rows), ROWS):
            block = below_best(stream.logits[rows[start : start + ROWS]]) / temperature
            known = labels[start : start + ROWS]
            best = block[np.arange(len(block)), known]
            out[start : start + ROWS] = np.exp(best) / np.exp(block).sum(axis=1)
    return np.nan_to_num(true, copy=False, nan=0.0)
