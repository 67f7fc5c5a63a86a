"""Scores of clips that several ranks share, as one process would give them."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor, nn

from poselens.evaluation.collect import collect_scores
from poselens.training.objectives import Batch
from poselens.training.ranks import Ranks
from poselens.types import Scores


def gathered_scores(
    network: nn.Module,
    batches: Iterator[Batch],
    index: Sequence[Int[Tensor, " n"]],
    ranks: Ranks,
    *,
    order: Int[np.ndarray, " c"],
    ids: NDArray[np.str_],
    classes: Sequence[str],
    **how: Any,
) -> Scores:
    """Score this rank's clips and return the scores of all ranks, on every rank.

    Args:
        network: The network to judge.
        batches: This rank's clips; exhausted even where there are none.
        index: Filled with their positions in the data set, batch by batch, as they are yielded.
        ranks: Those that share the clips.
        order: Positions in the data set, each once, in the order of the result.
        ids: Clip ids by position.
        classes: Class names.
        how: Stream, device and precision, as ``collect_scores`` takes them.

    Raises:
        UsageError: ``EVAL-004`` where no rank has a clip; ``EVAL-007`` as ``collect_scores``.
        NumericFault: ``EVAL-005`` as ``collect_scores``.
    """
    first = list(itertools.islice(batches, 1))
    logits, labels = torch.zeros(0, len(classes)), torch.zeros(0, dtype=torch.int64)
    if first or ranks.size == 1:
        own = collect_scores(network, itertools.chain(first, batches), classes=classes, **how)
        if ranks.size == 1:
            return own
        logits, labels = torch.from_numpy(own.logits), torch.from_numpy(own.labels)
    logits, labels = ranks.rows(logits), ranks.rows(labels)
    found = ranks.rows(torch.cat([torch.zeros(0, dtype=torch.int64), *index])).numpy()
    if not len(found):
        return collect_scores(network, (), classes=classes, **how)
    rank = np.argsort(order)[np.searchsorted(order, found, sorter=np.argsort(order))]
    rows = np.argsort(rank)
    return Scores(
        logits.numpy()[rows],
        [str(ids[clip]) for clip in found[rows]],
        labels.numpy()[rows],
        list(classes),
        how["stream"],
    )
