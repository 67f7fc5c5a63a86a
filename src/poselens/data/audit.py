"""What can be said about the leakage of a protocol from the data set alone, and what cannot."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poselens.data.folder import ClipFolder
from poselens.data.info import Part
from poselens.data.leakage import Leak, find_leaks, unknown_columns
from poselens.errors import AnnotationError

CHECK_FILE = "check/check.json"
CHECK_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Audit:
    """The leaks of a protocol.

    Attributes:
        leaks: What parts share, the severe first.
        unknown: Columns that clips leave empty, a sentence each.
        notes: Why copies of clips that a check found were not looked at, where they were not.
    """

    leaks: list[Leak]
    unknown: list[str]
    notes: list[str]

    @property
    def severe(self) -> list[Leak]:
        """What training refuses."""
        return [leak for leak in self.leaks if leak.severe]

    def about(self, part: Part) -> list[Leak]:
        """Return what concerns a number measured on ``part``."""
        return [leak for leak in self.leaks if leak.parts[1] == part]


def audit(folder: ClipFolder, protocol: str) -> Audit:
    """Look for leakage, with the duplicates that the last `poselens data check` found.

    Args:
        folder: The data set.
        protocol: Name of the split.

    Raises:
        UsageError: ``CFG-004`` for an unknown protocol.
    """
    unknown = [
        f"{count} clips of {protocol!r} name no {name}, so nobody can tell whether parts share one"
        for name, count in unknown_columns(folder, protocol).items()
    ]
    twins, note = _twins(folder)
    leaks = find_leaks(folder, protocol, twins=twins)
    return Audit(leaks, unknown, [note] if note else [])


def refuse_leaks(folder: ClipFolder, protocol: str, *, allowed: bool) -> Audit:
    """Look for leakage, and refuse to train where there is some that nothing declares.

    Raises:
        UsageError: ``CFG-004`` for an unknown protocol.
        AnnotationError: ``DATA-060`` train or validation share something with test, and it is not
            ``allowed``.
    """
    found = audit(folder, protocol)
    if not found.severe or allowed:
        return found
    between: dict[tuple[Part, Part], list[str]] = {}
    for leak in found.severe:
        between.setdefault(leak.parts, []).append(_counted(leak))
    raise AnnotationError(
        "DATA-060",
        "; ".join(
            f"{', '.join(told)} {'is' if told[0].startswith('1 ') and len(told) == 1 else 'are'} "
            f"in both {early} and {late}"
            for (early, late), told in between.items()
        ),
        file=folder.root,
        where=f"protocol {protocol!r}",
        mend="make another split with `poselens data split`; name under `shares` in dataset.yaml "
        "what the protocol shares by its definition; or train with --allow-leakage: every number "
        "then says so",
    )  # fmt: skip


def _counted(leak: Leak) -> str:
    clips = "1 clip" if leak.clips == 1 else f"{leak.clips} clips"
    return {"clip": clips, "time": f"moments of {clips}"}.get(leak.kind, leak.what)


def leak_facts(leaks: Sequence[Leak]) -> list[dict[str, Any]]:
    """Return leaks as they are kept with a run: each with the sentence that tells of it."""
    return [
        {
            **leak.as_dict(),
            "parts": list(leak.parts),
            "examples": list(leak.examples[:3]),
            "told": leak.sentence(),
        }
        for leak in leaks
    ]


def kept_leaks(data: object) -> list[Mapping[str, Any]]:
    """Return the leaks kept in ``data`` of a ``run.json``; none where it is older, or damaged."""
    kept = data.get("leakage") if isinstance(data, Mapping) else None
    if not isinstance(kept, list):
        return []
    return [
        entry
        for entry in kept
        if isinstance(entry, Mapping)
        and isinstance(entry.get("told"), str)
        and isinstance(entry.get("parts"), list)
    ]


def _twins(folder: ClipFolder) -> tuple[list[tuple[int, int]], str | None]:
    """Return the duplicates that the last check of these clips found; else none, and why."""
    path = folder.root / CHECK_FILE
    damaged = f"{CHECK_FILE} is damaged: copies of clips that it names are not looked at"
    try:
        if path.stat().st_size > CHECK_LIMIT:
            return [], damaged
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return [], None
    except (OSError, ValueError, RecursionError):
        return [], damaged
    if not isinstance(content, dict) or not isinstance(content.get("twins"), list):
        return [], damaged
    if content.get("clips_fingerprint") != folder.clips_fingerprint():
        return [], (
            f"{CHECK_FILE} is about other clips than this data set has: copies of clips that it "
            "names are not looked at"
        )
    pairs = content["twins"]
    if not all(_is_pair(pair) for pair in pairs):
        return [], damaged
    if not pairs:
        return [], None
    place = {name: position for position, name in enumerate(folder.ids.tolist())}
    if not all(name in place for pair in pairs for name in pair):
        return [], damaged
    return [(place[one], place[other]) for one, other in pairs], None


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair)
