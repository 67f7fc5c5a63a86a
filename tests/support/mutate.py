"""Damages files in fourteen ways, the same ways every time, and watches a reader take them.

Use::

    tally = survive(read, [good_1, good_2], tmp_path / "x.skeleton", text=True, sound=sound)
    assert tally.refused and tally.accepted      # the damage is neither hopeless nor harmless

``read`` takes a path. Only a ``PoselensError`` may escape it, with the file, a code and a mend.
``sound`` looks at what was accepted and asserts that no Inf, and no number made of nothing, is in
it. `wanted` is 1,000 in ``make test`` and what POSELENS_MUTATIONS says elsewhere; with
POSELENS_TALLIES every tally becomes a line of that file.
"""

import json
import os
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from poselens.errors import PoselensError

SECONDS = 1.0
"""Processor time that one damaged file may take."""

GROWTH = 256 * 1024**2
"""Bytes by which the peak memory may rise over all of them."""

_NUMBERS = (
    b"-1", b"0", b"1e9", b"1000000000", b"99999999999999999999", b"nan", b"NaN", b"inf", b"0x10",
    b"-Infinity", b"1e400", b"1.5", b"", b"1_000", "１２".encode(), b"null", b"true", b'"7"',
)  # fmt: skip
_BYTES = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\r",
    b"\xef\xbb\xbf",
    b"[",
    b"{",
    b"<",
    b'"',
    b"'",
    b",",
    b"\t",
)


def wanted(default: int = 1000) -> int:
    """How many files to damage."""
    return int(os.environ.get("POSELENS_MUTATIONS", default))


def mutations(
    sources: Sequence[bytes], count: int, *, text: bool, seed: int = 0
) -> Iterator[tuple[str, bytes]]:
    """Yield the name of a way, and a damaged copy of one of the sources."""
    ways = [*_ANY, *(_TEXT if text else _BINARY)]
    for number in range(count):
        draw = np.random.default_rng((seed, number))
        source = sources[int(draw.integers(len(sources)))]
        name, way = ways[number % len(ways)]
        damaged = way(source, draw)
        if draw.random() < 0.2:
            second, other = ways[int(draw.integers(len(ways)))]
            name, damaged = f"{name}+{second}", other(damaged, draw)
        yield name, damaged


@dataclass
class Tally:
    """What came of the damaged files."""

    tried: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    placed: int = 0
    slowest: float = 0.0
    growth: int = 0
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return {
            "tried": self.tried,
            "accepted": self.accepted,
            "refused": dict(sorted(self.refused.items())),
            "refusals_with_place": self.placed,
            "slowest_s": round(self.slowest, 3),
            "peak_memory_growth_mb": round(self.growth / 1024**2, 1),
            "uncaught": len(self.faults),
        }


def survive(
    read: Callable[[Path], object],
    sources: Sequence[bytes],
    path: Path,
    *,
    text: bool,
    sound: Callable[[object], None],
    count: int | None = None,
    seed: int = 0,
) -> Tally:
    """Let ``read`` take damaged copies of ``sources`` at ``path``; every one has to end well."""
    tally = Tally()
    before = _peak()
    for name, damaged in mutations(sources, count or wanted(), text=text, seed=seed):
        path.write_bytes(damaged)
        tally.tried += 1
        start = time.process_time()
        try:
            sound(read(path))
            tally.accepted += 1
        except PoselensError as fault:
            tally.refused[fault.code] += 1
            tally.placed += bool(fault.where)
            if not (fault.file and path.name in fault.file and fault.mend):
                tally.faults.append(f"{tally.tried} {name}: without file or mend: {fault!r}")
        except Exception:
            tally.faults.append(f"{tally.tried} {name}: {traceback.format_exc(limit=-3)}")
        took = time.process_time() - start
        tally.slowest = max(tally.slowest, took)
        if took > SECONDS:
            tally.faults.append(f"{tally.tried} {name}: took {took:.1f} s")
    tally.growth = _peak() - before
    note(tally.as_dict())
    assert not tally.faults, f"{len(tally.faults)} of {tally.tried}; the first:\n" + "\n".join(
        tally.faults[:3]
    )
    assert tally.growth < GROWTH, tally.as_dict()
    return tally


def note(facts: Mapping[str, object]) -> None:
    """Keep what a test counted, where POSELENS_TALLIES names a file for it."""
    kept = os.environ.get("POSELENS_TALLIES")
    if kept:
        test = os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)")
        with Path(kept).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": test, **facts}) + "\n")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _place(source: bytes, draw: np.random.Generator) -> int:
    # half of the damage goes into the head, where the structure is said
    reach = min(len(source), 400) if draw.random() < 0.5 else len(source)
    return int(draw.integers(max(reach, 1)))


def _flip_bits(source: bytes, draw: np.random.Generator) -> bytes:
    damaged = bytearray(source)
    for _ in range(int(draw.integers(1, 9))):
        if damaged:
            damaged[_place(source, draw)] ^= 1 << int(draw.integers(8))
    return bytes(damaged)


def _cut(source: bytes, draw: np.random.Generator) -> bytes:
    return source[: _place(source, draw)]


def _cut_head(source: bytes, draw: np.random.Generator) -> bytes:
    return source[_place(source, draw) :]


def _drop(source: bytes, draw: np.random.Generator) -> bytes:
    start = _place(source, draw)
    return source[:start] + source[start + int(draw.integers(1, 200)) :]


def _repeat(source: bytes, draw: np.random.Generator) -> bytes:
    start = _place(source, draw)
    stop = start + int(draw.integers(1, 400))
    return source[:stop] + source[start:stop] * int(draw.integers(1, 4)) + source[stop:]


def _zeros(source: bytes, draw: np.random.Generator) -> bytes:
    start, count = _place(source, draw), int(draw.integers(1, 64))
    return source[:start] + bytes(count) + source[start + count :]


def _noise(source: bytes, draw: np.random.Generator) -> bytes:
    start, count = _place(source, draw), int(draw.integers(1, 64))
    return source[:start] + draw.bytes(count) + source[start + count :]


def _insert(source: bytes, draw: np.random.Generator) -> bytes:
    start = _place(source, draw)
    return source[:start] + _BYTES[int(draw.integers(len(_BYTES)))] + source[start:]


def _nothing(_source: bytes, draw: np.random.Generator) -> bytes:
    return [b"", b"\n", b"\0" * 512, b"<html><body>404</body></html>"][int(draw.integers(4))]


def _number(source: bytes, draw: np.random.Generator) -> bytes:
    """Put another number in the place of one."""
    spots = [i for i in range(min(len(source), 20_000)) if source[i : i + 1].isdigit()]
    if not spots:
        return source
    start = spots[int(draw.integers(len(spots)))]
    stop = start
    while source[stop : stop + 1].isdigit() or source[stop : stop + 1] in (b".", b"e", b"-"):
        stop += 1
    return source[:start] + _NUMBERS[int(draw.integers(len(_NUMBERS)))] + source[stop:]


def _lines(source: bytes, draw: np.random.Generator) -> list[bytes]:
    return source.splitlines(keepends=True)


def _drop_line(source: bytes, draw: np.random.Generator) -> bytes:
    lines = _lines(source, draw)
    if lines:
        del lines[int(draw.integers(min(len(lines), 60)))]
    return b"".join(lines)


def _swap_lines(source: bytes, draw: np.random.Generator) -> bytes:
    lines = _lines(source, draw)
    if len(lines) > 1:
        one, other = draw.integers(len(lines), size=2)
        lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _drop_word(source: bytes, draw: np.random.Generator) -> bytes:
    words = source.split(b" ") if b" " in source else source.split(b",")
    separator = b" " if b" " in source else b","
    del words[int(draw.integers(min(len(words), 400)))]
    return separator.join(words)


def _recode(source: bytes, draw: np.random.Generator) -> bytes:
    text = source.decode(errors="replace")
    return text.encode(["utf-16", "utf-32", "utf-8-sig"][int(draw.integers(3))])


def _size(source: bytes, draw: np.random.Generator) -> bytes:
    """Overwrite two to eight bytes, where sizes and offsets may be, with extremes."""
    start, width = _place(source, draw), int(draw.choice([2, 4, 8]))
    value = [
        b"\xff" * width,
        b"\x7f" + b"\xff" * (width - 1),
        bytes(width),
        b"\x80" + bytes(width - 1),
    ]
    return source[:start] + value[int(draw.integers(4))] + source[start + width :]


def _swap_blocks(source: bytes, draw: np.random.Generator) -> bytes:
    first, second = sorted((_place(source, draw), _place(source, draw)))
    width = 16
    if second - first < width:
        return source
    return (
        source[:first] + source[second : second + width] + source[first + width : second]
        + source[first : first + width] + source[second + width :]
    )  # fmt: skip


def _grow(source: bytes, draw: np.random.Generator) -> bytes:
    return source + draw.bytes(int(draw.integers(1, 4000)))


def _twice(source: bytes, draw: np.random.Generator) -> bytes:
    return source + source


_Way = tuple[str, Callable[[bytes, np.random.Generator], bytes]]
_ANY: list[_Way] = [
    ("flip", _flip_bits), ("cut", _cut), ("headless", _cut_head), ("drop", _drop),
    ("repeat", _repeat), ("zeros", _zeros), ("noise", _noise), ("insert", _insert),
    ("nothing", _nothing),
]  # fmt: skip
_TEXT: list[_Way] = [
    ("number", _number), ("line", _drop_line), ("swap", _swap_lines), ("word", _drop_word),
    ("recode", _recode),
]  # fmt: skip
_BINARY: list[_Way] = [
    ("size", _size), ("blocks", _swap_blocks), ("grow", _grow), ("twice", _twice),
    ("number", _number),
]  # fmt: skip
