"""Temperature scaling of one stream (Guo et al., 2017, *On calibration of modern networks*)."""

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from poselens.errors import UsageError

TEMPERATURES = (0.05, 20.0)
"""Range that is searched."""


def fit_temperature(
    logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], *, prior_clips: float = 1.0
) -> float:
    r"""Return the temperature that makes held-out labels most likely.

    .. math::
        T = \arg\min_T \; -\sum_i \log q_{i y_i} - \frac{c}{nk} \sum_{i,j} \log q_{ij},
        \qquad q_i = \mathrm{softmax}(z_i / T)

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
    rows = np.asarray(logits, dtype=np.float64)[known]
    columns = labels[known]

    def loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(rows / np.exp(log_temperature), axis=1)
        likelihood = log_probabilities[np.arange(len(rows)), columns].sum()
        return float(-likelihood - prior_clips * log_probabilities.mean())

    found = minimize_scalar(
        loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))
