"""Which estimator finds the joints where none are given."""

from pathlib import Path

from poselens.errors import EnvironmentFault, UsageError
from poselens.pose.estimators import PoseEstimator
from poselens.pose.movenet import open_movenet
from poselens.pose.weights import cached, locate

MOVENET = "movenet-lightning"


def choose_estimator(
    choice: str, weights: Path | None = None
) -> tuple[PoseEstimator | None, str | None]:
    """Return the estimator called ``movenet``, ``none`` or ``auto``, and what to tell the user.

    ``auto`` takes MoveNet where its package and weights are at hand, and nothing is downloaded for
    it; ``movenet`` insists, and fetches the weights.

    Raises:
        UsageError: ``CFG-012`` for another name.
        EnvironmentFault: ``ENV-005`` LiteRT is missing, ``ENV-006`` the weights cannot be fetched.
        CheckpointError: ``WGT-002``, ``POSE-003`` for a file that is not MoveNet.
    """
    if choice not in ("movenet", "none", "auto"):
        raise UsageError("CFG-012", f"found pose {choice!r}, expected movenet, none or auto")
    if choice == "none":
        return None, None
    if choice == "movenet" or weights is not None:
        return open_movenet(locate(MOVENET, file=weights)), None
    stored = cached(MOVENET)
    if stored is None:
        return None, (
            "no pose estimator: skeleton streams are left out where no skeleton is given; "
            f"poselens weights fetch {MOVENET}"
        )
    try:
        return open_movenet(stored), None
    except EnvironmentFault as fault:
        return None, f"no pose estimator: {fault}"
