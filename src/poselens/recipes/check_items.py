"""What a check tells: kinds of fault, and the clips, groups or classes that each concerns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselens.recipes.check_rules import Facts, Rule, Severity

SHOWN = 50
"""Items of one finding that page and JSON list; ``bad.csv`` has all."""


@dataclass(frozen=True)
class Item:
    """One clip, group of clips or class that a finding concerns.

    Attributes:
        id: Clip id; empty for what is not about one clip.
        file: Its video, relative to the data set.
        reason: What was found.
        code: Code of this one; a video that cannot be read has its own.
        mend: What to do about this one.
    """

    id: str
    file: str
    reason: str
    code: str
    mend: str

    def as_dict(self) -> dict[str, str]:
        """Return the facts for JSON."""
        return {"id": self.id, "file": self.file, "reason": self.reason, "code": self.code}


@dataclass(frozen=True, eq=False)
class Finding:
    """One kind of fault and what it concerns.

    Attributes:
        code: Stable code.
        severity: How bad it is.
        title: What it is.
        mend: What to do.
        count: How many it concerns.
        unit: What is counted: clips, groups, classes, leaks.
        items: All of them, made as they are asked for.
    """

    code: str
    severity: Severity
    title: str
    mend: str
    count: int
    unit: str
    items: "Items"

    @property
    def counted(self) -> str:
        """The unit, in the number of ``count``."""
        return {"classes": "class"}.get(self.unit, self.unit[:-1]) if self.count == 1 else self.unit

    def shown(self) -> list[Item]:
        """Return the first of the items."""
        return [item for item, _ in zip(self.items, range(SHOWN), strict=False)]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "mend": self.mend,
            "count": self.count,
            "unit": self.unit,
            "items": [item.as_dict() for item in self.shown()],
        }


class Items:
    """The items of a finding: texts that are there, or clips whose texts are made when asked for.

    Args:
        facts: The data set's facts.
        rule: What is said of clips.
        clips: Positions.
        ready: Texts that are there.
    """

    def __init__(
        self,
        facts: Facts | None = None,
        rule: Rule | None = None,
        clips: NDArray[np.int64] | None = None,
        ready: Sequence[Item] = (),
    ) -> None:
        self.clips = np.empty(0, np.int64) if clips is None else clips
        self._facts, self._rule, self._ready = facts, rule, ready

    def __iter__(self) -> Iterator[Item]:
        yield from self._ready
        if self._facts is not None and self._rule is not None:
            for clip in self.clips.tolist():
                yield _clip_item(self._facts, self._rule, clip)


def _clip_item(facts: Facts, rule: Rule, clip: int) -> Item:
    code, mend = rule.code, rule.mend
    if facts.columns.fault[clip] >= 0 and rule.code == "CHK-001":
        fault = facts.fault(clip)
        code, mend = fault["code"] or code, fault["mend"] or mend
    record = facts.folder.record(clip)
    return Item(record.id, record.video or "", rule.say(facts, clip), code, mend)
