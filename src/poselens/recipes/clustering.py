"""Choose what the bootstrap draws: clips, or all clips of a subject, a source, a view at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from poselens.data.folder import ClipFolder
from poselens.data.info import COLUMN_NAMES, Column
from poselens.errors import UsageError

AUTO = "auto"
CLIP = "clip"
ENOUGH = 5
"""With fewer groups, a bootstrap over them has hardly anything to draw from."""
FEW_GROUPS = 10
"""Below this, a bootstrap over groups covers less than it says."""


@dataclass(frozen=True)
class Units:
    """What is drawn.

    Attributes:
        name: ``clip``, or the column whose values are drawn whole.
        groups: Group of each clip by its id, empty where it has none; None for clips.
        told: What a reader of the intervals has to know, one sentence each.
    """

    name: str = CLIP
    groups: Mapping[str, str] | None = None
    told: Sequence[str] = field(default_factory=tuple)

    def of(self, ids: Sequence[str]) -> list[str] | None:
        """Return the group of each clip, None for clips."""
        return None if self.groups is None else [self.groups.get(clip, "") for clip in ids]

    def about(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the arguments ``groups`` and ``unit`` of an evaluation."""
        return {"groups": self.of(ids), "unit": self.name}


def choose_units(folder: ClipFolder, ids: Sequence[str], cluster: str = AUTO) -> Units:
    """Return the units of the bootstrap for these clips.

    ``auto`` draws subjects where all clips have one and there are at least 5 of them: clips of one
    person resemble each other, and who reads an accuracy thinks of other people. Fewer subjects say
    too little about people for a bootstrap to show it, so that clips are drawn then, and it is
    said that the interval speaks of these people only. Where no subject is known, recordings
    (``source``) take their place, if there are 5 or more of 2 clips or more on average.

    Args:
        folder: The data set.
        ids: Clips that are judged.
        cluster: ``auto``, ``clip``, or a column: ``subject``, ``view``, ``source``, ``session``,
            ``event``.

    Raises:
        UsageError: ``CMP-005`` for an unknown column, or one with fewer than two values among
            these clips.
    """
    if cluster == CLIP:
        return Units()
    if cluster == AUTO:
        return _automatic(folder, ids)
    if cluster not in COLUMN_NAMES:
        raise UsageError(
            "CMP-005",
            f"found cluster {cluster!r}, expected {AUTO}, {CLIP}, {', '.join(COLUMN_NAMES)}",
        )
    groups = _column(folder, ids, cluster)
    named = set(groups.values()) - {""}
    if len(named) < 2:
        raise UsageError(
            "CMP-005",
            f"the clips are of {len(named)} {cluster}(s), expected 2 or more",
            file=folder.root,
            mend=f"use --cluster {CLIP}",
        )
    alone = sum(not group for group in groups.values())
    told = _rough(len(named) + alone, cluster)
    if alone:
        told.append(f"{alone} clips have no {cluster}, each of them is drawn by itself")
    return Units(cluster, groups, tuple(told))


def _automatic(folder: ClipFolder, ids: Sequence[str]) -> Units:
    groups = _column(folder, ids, "subject")
    named = set(groups.values()) - {""}
    if not named:
        sources = _column(folder, ids, "source")
        count = len(set(sources.values()))
        if "" not in sources.values() and ENOUGH <= count <= len(ids) / 2:
            return Units("source", sources, tuple(_rough(count, "source")))
        return Units(told=("the intervals are over clips: the data set does not say who acts",))
    if "" in groups.values():
        return Units(
            told=("the intervals are over clips: not every clip has a subject (--cluster subject)",)
        )
    if len(named) < ENOUGH:
        few = "1 subject is" if len(named) == 1 else f"{len(named)} subjects are"
        return Units(
            told=(
                f"the intervals are over clips: {few} too few to draw, "
                "so they speak of these people, not of others",
            )
        )
    return Units("subject", groups, tuple(_rough(len(named), "subject")))


def _rough(count: int, column: str) -> list[str]:
    if count >= FEW_GROUPS:
        return []
    return [f"the intervals are over {count} {column}s, so few that they are rough"]


def _column(folder: ClipFolder, ids: Sequence[str], column: Column) -> dict[str, str]:
    values = folder.column(column)
    return {clip: str(values[folder.index_of(clip)]) for clip in ids}
