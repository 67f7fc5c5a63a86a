"""Judge scores on every level of a hierarchy of classes, and say how far mistakes lie off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from poselens.errors import UsageError
from poselens.evaluation.intervals import RESAMPLES, Interval, Metric, accuracy_interval
from poselens.evaluation.resampling import (
    Judged,
    figures,
    group_units,
    intervals,
    judge,
    ratio_interval,
)
from poselens.types import Scores

CLASS_LEVEL = "class"
"""Name of the finest level."""
ACCURACIES: tuple[Metric, ...] = ("top1", "mean_class")
ROOT = "nothing"
"""Name of what classes have in common that fall under different names on every level."""


@dataclass(frozen=True)
class LevelAccuracy:
    """How right the predictions are on one level.

    Attributes:
        level: Name of the level.
        nodes: Names on it.
        top1: Share of clips whose predicted class falls under the right name.
        mean_class: Mean over the names that occur of the share of their clips that are right.
        top1_interval: Bootstrap interval of ``top1``.
        mean_class_interval: The same of ``mean_class``.
    """

    level: str
    nodes: int
    top1: float
    mean_class: float
    top1_interval: Interval
    mean_class_interval: Interval


@dataclass(frozen=True, eq=False)
class HierarchyEvaluation:
    """What a hierarchy of classes says about scores.

    Attributes:
        levels: Coarsest first; the classes themselves come last.
        mistakes: Clips with a wrong class.
        within_parent: Share of the mistakes whose class has the same parent as the right one; None
            without a mistake.
        within_parent_interval: Its bootstrap interval.
        within_parent_by_guess: The same share if a mistake took any other class alike.
        distance: Mean height of the lowest common ancestor of a mistake and the truth: 1 for
            classes of one parent, one more for each level up; None without a mistake.
        distance_interval: Its bootstrap interval.
        by_ancestor: Mistakes by the level of that ancestor, the nearest first; ``nothing`` where
            not even the coarsest name is shared.
    """

    levels: Sequence[LevelAccuracy]
    mistakes: int
    within_parent: float | None
    within_parent_interval: Interval | None
    within_parent_by_guess: float | None
    distance: float | None
    distance_interval: Interval | None
    by_ancestor: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "levels": [
                {
                    "level": each.level,
                    "nodes": each.nodes,
                    "top1": each.top1,
                    "interval": [each.top1_interval.low, each.top1_interval.high],
                    "mean_class": each.mean_class,
                    "mean_class_interval": [
                        each.mean_class_interval.low,
                        each.mean_class_interval.high,
                    ],
                }
                for each in self.levels
            ],
            "mistakes": self.mistakes,
            "within_parent": self.within_parent,
            "within_parent_interval": _ends(self.within_parent_interval),
            "within_parent_by_guess": self.within_parent_by_guess,
            "distance": self.distance,
            "distance_interval": _ends(self.distance_interval),
            "by_ancestor": dict(self.by_ancestor),
        }


def evaluate_hierarchy(
    scores: Scores,
    hierarchy: Mapping[str, Sequence[str]],
    *,
    groups: Sequence[str] | None = None,
    unit: str = "group",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> HierarchyEvaluation:
    """Judge the best class of each clip on every level of a hierarchy.

    The distance of a mistake is the height of the lowest common ancestor (Bertinetto et al.,
    *Making better mistakes*, CVPR 2020); FineGym (Shao et al., CVPR 2020) has the levels event, set
    and element.

    Args:
        scores: Scores of one stream.
        hierarchy: For each level, coarsest first, the name that every class falls under
            (``hierarchy`` of dataset.yaml).
        groups: Group of each clip, as ``evaluate`` takes them.
        unit: What a group is called.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Departure: a name counts together with the names above it, so that *dismount* under *beam* is
    not *dismount* under *bars*. On a coarse level the prediction is the name above the best class,
    not the name with the highest sum of probabilities.

    Raises:
        UsageError: ``EVAL-021`` when the hierarchy has no level or does not name every class; else
            as ``poselens.evaluation.metrics.evaluate``.
    """
    numbers = _numbered(hierarchy, len(scores.classes))
    judged = judge(scores)
    units = None if groups is None else group_units(judged, groups, scores)
    about: dict[str, Any] = {
        "unit": "clip" if units is None else unit,
        "resamples": resamples,
        "seed": seed,
    }
    levels = [_level(name, judged, column, units, about) for name, column in numbers.items()]
    values, ends = figures(judged), intervals(judged, units, **about)
    finest = (values["top1"], values["mean_class"], ends["top1"], ends["mean_class"])
    levels.append(LevelAccuracy(CLASS_LEVEL, len(scores.classes), *finest))
    wrong = ~judged.right
    height = _heights(judged, list(numbers.values()))
    near = height == 1
    mistakes = int(wrong.sum())
    up = [*reversed(numbers), ROOT]
    return HierarchyEvaluation(
        levels=levels,
        mistakes=mistakes,
        within_parent=float(near.sum() / mistakes) if mistakes else None,
        within_parent_interval=ratio_interval(near, wrong, units, **about),
        within_parent_by_guess=_by_guess(judged, list(numbers.values())[-1]),
        distance=float(height.sum() / mistakes) if mistakes else None,
        distance_interval=ratio_interval(height, wrong, units, share=False, **about),
        by_ancestor={name: int((height == place).sum()) for place, name in enumerate(up, start=1)},
    )


def _numbered(
    hierarchy: Mapping[str, Sequence[str]], classes: int
) -> dict[str, Int[np.ndarray, " k"]]:
    """Return the number of the name of each class by level, a name being all names down to it."""
    if not hierarchy:
        raise UsageError("EVAL-021", "the hierarchy has no level", mend="name one, or leave it out")
    paths: list[tuple[str, ...]] = [()] * classes
    numbers = {}
    for level, names in hierarchy.items():
        if len(names) != classes:
            raise UsageError(
                "EVAL-021",
                f"level {level!r} has {len(names)} names for {classes} classes",
                mend="give every class its name on this level",
            )
        paths = [(*path, name) for path, name in zip(paths, names, strict=True)]
        order = {path: number for number, path in enumerate(dict.fromkeys(paths))}
        numbers[level] = np.array([order[path] for path in paths])
    return numbers


def _level(
    name: str,
    judged: Judged,
    column: Int[np.ndarray, " k"],
    units: Int[np.ndarray, " n"] | None,
    about: Mapping[str, Any],
) -> LevelAccuracy:
    labels = column[judged.labels]
    right = labels == column[judged.predicted]
    often = {key: about[key] for key in ("resamples", "seed")}
    ends = [
        replace(accuracy_interval(labels, right, metric, units, **often), unit=about["unit"])
        for metric in ACCURACIES
    ]
    support = np.bincount(labels)
    recall = np.bincount(labels, weights=right)[support > 0] / support[support > 0]
    return LevelAccuracy(
        name, int(column.max()) + 1, float(right.mean()), float(recall.mean()), ends[0], ends[1]
    )


def _heights(judged: Judged, levels: Sequence[Int[np.ndarray, " k"]]) -> Int[np.ndarray, " n"]:
    """Return the height of the lowest common ancestor of label and prediction; 0 where right."""
    height = (~judged.right).astype(int)
    for column in levels:
        # a name holds the names above it, so what differs here differs on every level below
        height += column[judged.labels] != column[judged.predicted]
    return height


def _by_guess(judged: Judged, parents: Int[np.ndarray, " k"]) -> float | None:
    """Return the share of mistakes within the parent if every other class were taken alike."""
    labels = judged.labels[~judged.right]
    if len(labels) == 0:
        return None
    siblings = np.bincount(parents)[parents[labels]] - 1
    return float(siblings.mean() / (judged.classes - 1))


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
