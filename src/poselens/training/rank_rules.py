"""What several ranks cannot train together."""

from poselens.errors import UsageError
from poselens.training.ranks import Ranks


def require_clips(ranks: Ranks, batch_size: int) -> None:
    """Refuse ranks that would never have anything to do.

    Raises:
        UsageError: ``DIST-005`` with fewer clips a step than ranks.
    """
    if batch_size < ranks.size:
        raise UsageError(
            "DIST-005",
            f"training.batch_size is {batch_size}, for all {ranks.size} ranks together",
            mend=f"use at least {ranks.size}, or fewer processes",
        )


def require_apart(ranks: Ranks, *, halves: bool, together: bool) -> None:
    """Refuse halving where ranks wait for each other within a pass.

    One whose memory ends in the middle of it would keep the others waiting.

    Args:
        ranks: Those that train.
        halves: Whether micro-batches are halved where memory runs out.
        together: Whether passes hold exchanges: of a contrast, or of shared statistics.

    Raises:
        UsageError: ``DIST-008`` for such halving with several ranks.
    """
    if halves and together and ranks.size > 1:
        raise UsageError(
            "DIST-008",
            "training.micro_batch=auto with contrast or training.sync_batchnorm is for one "
            f"process, and {ranks.size} were started",
            mend="set training.accumulate to what memory holds; or use one process",
        )
