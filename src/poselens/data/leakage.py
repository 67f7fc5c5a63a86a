"""What the parts of a protocol share although they should not: people, recordings, moments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from poselens.data.folder import ClipFolder
from poselens.data.info import Column, Part, ProtocolInfo

EXAMPLES = 10
PAIRS: tuple[tuple[Part, Part], ...] = (("train", "test"), ("val", "test"), ("train", "val"))
Kind = Literal["clip", "time", "subject", "source", "session", "event", "view"]
_ALWAYS: tuple[Column, ...] = ("subject", "source", "event")
_WHERE_GROUPED: tuple[Column, ...] = ("session", "view")


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that two parts of a protocol have in common.

    Attributes:
        kind: ``clip`` for the same clip under two ids, ``time`` for clips of one video that
            overlap, else the column whose values are shared.
        parts: The two parts, the later one last.
        values: How many values of the column, or pairs of clips, they share.
        clips: Clips of the later part that are concerned.
        of: Clips of the later part.
        examples: The first of what is shared in alphabetical order, at most 10.
        declared: Why the protocol shares this by its definition, None where it does not say.
    """

    kind: Kind
    parts: tuple[Part, Part]
    values: int
    clips: int
    of: int
    examples: tuple[str, ...]
    declared: str | None

    @property
    def severe(self) -> bool:
        """Whether clips that were trained or chosen on tell of the test, and nothing says so."""
        return "test" in self.parts and self.declared is None

    @property
    def what(self) -> str:
        """What is shared, counted: ``3 subjects (anna, ben, cleo)``."""
        shown = self.examples[:3]
        more = ", …" if self.values > len(shown) else ""
        return f"{self.values} {_noun(self.kind, self.values)} ({', '.join(shown)}{more})"

    def sentence(self) -> str:
        """Say it in one line."""
        early, late = self.parts
        text = f"{early} and {late} share {self.what}: {self.clips} of {self.of} {late} clips"
        return f"{text}; by definition: {self.declared}" if self.declared else text

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return {**asdict(self), "severe": self.severe}


_NOUNS: dict[str, tuple[str, str]] = {
    "clip": ("pair of equal clips", "pairs of equal clips"),
    "time": ("pair of overlapping clips", "pairs of overlapping clips"),
}


def _noun(kind: str, count: int) -> str:
    one, many = _NOUNS.get(kind, (kind, f"{kind}s"))
    return one if count == 1 else many


def find_leaks(
    folder: ClipFolder, protocol: str, *, twins: Sequence[tuple[int, int]] = ()
) -> list[Leak]:
    """Return what each two parts of a protocol share, the severe first.

    Subjects, sources and events always count; sessions and views only where the protocol is parted
    by them, as they are shared by nature otherwise. Empty values do not count: see
    ``unknown_columns``. Two clips are one and the same where they are one span of one video, or
    a pair in ``twins``; other clips of one video that have a moment in common overlap.

    Args:
        folder: The data set.
        protocol: Name of the split.
        twins: Positions of clips that were found to be duplicates.

    Raises:
        UsageError: ``CFG-004`` for an unknown protocol.
    """
    names = folder.parts(protocol)
    members = {part: np.flatnonzero(names == part) for pair in PAIRS for part in pair}
    about = folder.info.protocols[protocol]
    spans = _Spans.of(folder)
    doubles = _without_repeats(twins, spans)
    columns = {name: folder.coded(name) for name in _compared(about)}
    found: list[Leak] = []
    for parts in PAIRS:
        early, late = (members[part] for part in parts)
        if len(early) and len(late):
            found += _same_clips(folder.ids, spans, doubles, parts, early, late)
            found += _overlaps(folder.ids, spans, parts, early, late)
            for name, (codes, values) in columns.items():
                found += _shared(name, codes, values, parts, early, late, about)
    return sorted(found, key=lambda leak: not leak.severe)


def unknown_columns(folder: ClipFolder, protocol: str) -> dict[Column, int]:
    """Return how many clips of a protocol have no value in a column that leakage is looked for in.

    Where subjects or sources are unknown, nobody can tell whether parts share them.

    Raises:
        UsageError: ``CFG-004`` for an unknown protocol.
    """
    inside = folder.parts(protocol) != ""
    group = folder.info.protocols[protocol].group
    columns: list[Column] = ["subject", "source"]
    if group not in ("id", "time", *columns):
        columns.append(cast(Column, group))
    counts = {name: int((folder.coded(name)[0][inside] < 0).sum()) for name in columns}
    return {name: count for name, count in counts.items() if count}


def _compared(about: ProtocolInfo) -> list[Column]:
    return [*_ALWAYS, *(name for name in _WHERE_GROUPED if name == about.group)]


def _shared(
    name: Column,
    codes: Int[np.ndarray, " n"],
    values: list[str],
    parts: tuple[Part, Part],
    early: Int[np.ndarray, " a"],
    late: Int[np.ndarray, " b"],
    about: ProtocolInfo,
) -> Iterator[Leak]:
    """Compare the values of one column; code -1 is no value."""
    both = np.bincount(codes[early] + 1, minlength=len(values) + 1)[1:] > 0
    both &= np.bincount(codes[late] + 1, minlength=len(values) + 1)[1:] > 0
    if both.any():
        told = sorted(values[code] for code in np.flatnonzero(both))[:EXAMPLES]
        concerned = int((both[codes[late]] & (codes[late] >= 0)).sum())
        yield Leak(
            name, parts, int(both.sum()), concerned, len(late), tuple(told), about.shares.get(name)
        )


@dataclass(frozen=True, eq=False)
class _Spans:
    """Where every clip lies in its video.

    Attributes:
        start: Video and start of each clip in one number that sorts; -1 without a video.
        end: Video and end, likewise.
        video: The number of ``start`` and ``end`` at which the clip's video begins.
        same: Equal for clips of the same span of the same video; -1 without a video.
    """

    start: Int[np.ndarray, " n"]
    end: Int[np.ndarray, " n"]
    video: Int[np.ndarray, " n"]
    same: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, folder: ClipFolder) -> "_Spans":
        codes, _ = folder.coded("video")
        times = folder.spans()
        begin = np.nan_to_num(times[0], nan=0.0)
        finish = np.where(np.isnan(times[1]), np.inf, times[1])
        # ranks instead of seconds: video and moment fit into one integer
        moments, ranks = np.unique(np.concatenate([begin, finish]), return_inverse=True)
        step = len(moments) + 1
        nowhere = codes < 0
        start, end = codes * step + ranks[: len(codes)], codes * step + ranks[len(codes) :]
        _, place = np.unique(start, return_inverse=True)
        _, same = np.unique(place * step + ranks[len(codes) :], return_inverse=True)
        for numbers in (start, end, same):
            numbers[nowhere] = -1
        return cls(start, end, codes * step, same)


def _without_repeats(twins: Sequence[tuple[int, int]], spans: _Spans) -> Int[np.ndarray, "p 2"]:
    """Return each pair once, without those that are one span of one video anyway."""
    pairs = np.array(sorted({(min(pair), max(pair)) for pair in twins}), np.int64).reshape(-1, 2)
    one, other = spans.same[pairs[:, 0]], spans.same[pairs[:, 1]]
    kept: Int[np.ndarray, "p 2"] = pairs[
        (pairs[:, 0] != pairs[:, 1]) & ((one != other) | (one < 0))
    ]
    return kept


def _same_clips(
    ids: NDArray[np.str_],
    spans: _Spans,
    doubles: Int[np.ndarray, "p 2"],
    parts: tuple[Part, Part],
    early: Int[np.ndarray, " a"],
    late: Int[np.ndarray, " b"],
) -> Iterator[Leak]:
    known = early[spans.same[early] >= 0]
    sizes = np.bincount(spans.same[known], minlength=len(ids) + 1)
    partners = np.where(spans.same[late] >= 0, sizes[spans.same[late]], 0)
    place = np.full(len(ids), -1)
    place[late] = np.arange(len(late))
    first = np.zeros(len(ids), np.bool_)
    first[early] = True
    twin_of: dict[int, list[int]] = {}
    for one, other in (*doubles.tolist(), *doubles[:, ::-1].tolist()):
        if first[one] and place[other] >= 0:
            partners[place[other]] += 1
            twin_of.setdefault(other, []).append(one)

    def equal(clip: int) -> Bool[np.ndarray, " a"]:
        same = (spans.same[early] == spans.same[clip]) & (spans.same[clip] >= 0)
        return cast("NDArray[np.bool_]", same | np.isin(early, twin_of.get(clip, [])))

    yield from _pairs_told("clip", ids, partners, parts, early, late, equal)


def _overlaps(
    ids: NDArray[np.str_],
    spans: _Spans,
    parts: tuple[Part, Part],
    early: Int[np.ndarray, " a"],
    late: Int[np.ndarray, " b"],
) -> Iterator[Leak]:
    """Count pairs that overlap without being equal.

    Of the early clips of a video, those that begin before a late clip ends, less those that end
    before it begins, overlap it.
    """
    filmed = early[spans.same[early] >= 0]
    starts, ends = np.sort(spans.start[filmed]), np.sort(spans.end[filmed])
    begun = np.searchsorted(starts, spans.end[late], side="left")
    over = np.searchsorted(ends, spans.start[late], side="right")
    equal = np.bincount(spans.same[filmed], minlength=len(ids) + 1)[spans.same[late]]
    # both counts hold all clips of the videos before, so that these cancel
    partners = np.where(spans.same[late] >= 0, begun - over - equal, 0)

    def overlapping(clip: int) -> Bool[np.ndarray, " a"]:
        return cast(
            "NDArray[np.bool_]",
            (spans.same[early] >= 0)
            & (spans.video[early] == spans.video[clip])
            & (spans.start[early] < spans.end[clip])
            & (spans.end[early] > spans.start[clip])
            & (spans.same[early] != spans.same[clip]),
        )

    yield from _pairs_told("time", ids, partners, parts, early, late, overlapping)


def _pairs_told(
    kind: Kind,
    ids: NDArray[np.str_],
    partners: Int[np.ndarray, " b"],
    parts: tuple[Part, Part],
    early: Int[np.ndarray, " a"],
    late: Int[np.ndarray, " b"],
    meets: Callable[[int], NDArray[np.bool_]],
) -> Iterator[Leak]:
    """Tell of pairs: the first late clips by id, each with the first early clip it meets."""
    concerned = late[partners > 0]
    if len(concerned) == 0:
        return
    shown = concerned[np.argsort(ids[concerned])[:EXAMPLES]].tolist()
    first = [min(ids[early[meets(clip)]].tolist()) for clip in shown]
    examples = tuple(f"{one} and {ids[clip]}" for one, clip in zip(first, shown, strict=True))
    pairs = int(partners.sum())
    yield Leak(kind, parts, pairs, len(concerned), len(late), examples, None)
