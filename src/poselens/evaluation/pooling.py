"""Scores of folds as one: every clip judged once, by networks that have not seen its group.

Departure: the networks of the folds differ in the scale of their logits. Class probabilities of
pooled scores are each fold's own; only the order of classes is compared over folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from poselens.errors import UsageError
from poselens.evaluation.intervals import judged_rows
from poselens.evaluation.metrics import Evaluation, evaluate
from poselens.types import ONE_VIEW, Scores

FEW_GROUPS = 10
"""Below this, a bootstrap over groups covers less than it says."""


@dataclass(frozen=True)
class Fold:
    """How one fold does on the clips it was kept from."""

    name: str
    n: int
    top1: float
    mean_class: float


@dataclass(frozen=True, eq=False)
class Pooled:
    """How a stream does over all folds.

    Attributes:
        evaluation: Of all out-of-fold clips together; its intervals are over groups where there are
            groups.
        folds: The same, fold by fold.
        groups: Number of groups, None where clips were drawn.
    """

    evaluation: Evaluation
    folds: Sequence[Fold]
    groups: int | None

    def spread(self, metric: str) -> tuple[float, float | None]:
        """Return mean and sample standard deviation of ``top1`` or ``mean_class`` over folds."""
        values = [getattr(fold, metric) for fold in self.folds]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return float(np.mean(values)), deviation

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        over = {metric: self.spread(metric) for metric in ("top1", "mean_class")}
        return {
            **self.evaluation.as_dict(),
            "groups": self.groups,
            "folds": [
                {"fold": f.name, "n": f.n, "top1": f.top1, "mean_class": f.mean_class}
                for f in self.folds
            ],
            "over_folds": {
                metric: {"mean": mean, "deviation": deviation}
                for metric, (mean, deviation) in over.items()
            },
        }


def pool(folds: Mapping[str, Scores]) -> Scores:
    """Join the scores of folds, one after another.

    Raises:
        UsageError: ``EVAL-045`` there are none, a clip is in two of them, or they are of different
            streams; ``FUS-002`` their classes differ.
    """
    if not folds:
        raise UsageError("EVAL-045", "there are no scores to pool")
    first_name, first = next(iter(folds.items()))
    place: dict[str, str] = {}
    for name, scores in folds.items():
        if list(scores.classes) != list(first.classes):
            raise UsageError(
                "FUS-002",
                f"the folds {first_name} and {name} differ in their classes",
                mend="pool folds of one data set",
            )
        if scores.stream != first.stream:
            raise UsageError(
                "EVAL-045",
                f"{first_name} holds the stream {first.stream!r}, {name} {scores.stream!r}",
                mend="pool one stream at a time",
            )
        for clip in scores.ids:
            if clip in place:
                raise UsageError(
                    "EVAL-045",
                    f"clip {clip!r} is in {place[clip]} and in {name}",
                    mend="give each fold once, and folds that do not share clips",
                )
            place[clip] = name
    views = dict.fromkeys(scores.views for scores in folds.values())
    return Scores(
        np.concatenate([np.asarray(scores.logits) for scores in folds.values()]),
        list(place),
        np.concatenate([np.asarray(scores.labels) for scores in folds.values()]),
        list(first.classes),
        first.stream,
        ONE_VIEW if list(views) == [ONE_VIEW] else ", ".join(views),
    )


def judge_pooled(
    folds: Mapping[str, Scores],
    *,
    groups: Mapping[str, str] | None = None,
    selection: str | None = None,
    data_fingerprint: str | None = None,
) -> Pooled:
    r"""Judge scores of folds together and one by one.

    The pooled accuracy is :math:`\sum_f n_f a_f / \sum_f n_f`; its interval draws whole groups, as
    clips of one group were left out together and resemble each other.

    Args:
        folds: Scores by fold.
        groups: Group of each clip, None to draw clips.
        selection: How weights were chosen; passed on.
        data_fingerprint: Fingerprint of the data; passed on.

    Raises:
        UsageError: ``EVAL-045``, ``FUS-002`` as :func:`pool`; ``EVAL-002`` a clip without a group;
            ``EVAL-001`` no clip has a label and scores.
    """
    pooled = pool(folds)
    members = None
    if groups is not None:
        lacking = [clip for clip in pooled.ids if not groups.get(clip)]
        if lacking:
            raise UsageError(
                "EVAL-002",
                f"{len(lacking)} of {len(pooled.ids)} clips have no group, the first "
                f"{lacking[0]!r}",
                mend="give one group per clip",
            )
        members = [groups[clip] for clip in pooled.ids]
    judged = evaluate(
        pooled, groups=members, selection=selection, data_fingerprint=data_fingerprint
    )
    counted = None
    if members is not None:
        counted = len({members[row] for row in judged_rows(pooled).tolist()})
    return Pooled(judged, [_fold(name, scores) for name, scores in folds.items()], counted)


def _fold(name: str, scores: Scores) -> Fold:
    judged = evaluate(scores, resamples=2)
    return Fold(name, judged.n, judged.top1, judged.mean_class)
