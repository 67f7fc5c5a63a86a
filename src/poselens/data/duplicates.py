"""Clips that are copies of each other: re-encoded, made smaller, or cut by some frames.

Fine-grained clips of one scene look alike: same room, same person, nearly the same action. So what
is compared is how a clip moves, which cancels the scene: first coarsely, about its own mean, with
candidates from hashing instead of from all pairs; then frame by frame, where two performances
never agree. How thresholds were chosen: docs/decisions/0015.
"""

import base64
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray

SEGMENTS = 16
"""Equal stretches of a clip whose means are kept."""

SIDE = 8
"""Rows and columns of a picture that is compared coarsely."""

FINE_SIDE = 16
"""Rows and columns of a picture that is compared frame by frame."""

STRIDE = 2
"""Frames over which a change is looked at."""

ALIKE = 0.55
"""Up to this :func:`distance` two clips are worth a second look, frame by frame."""

ALIKE_JOINTS = 0.25
"""The same for clips of joints alone."""

COPY = 0.62
"""Up to this :func:`frame_distance` two videos are copies of one recording."""

COPY_JOINTS = 0.006
"""Up to this :func:`joint_distance` two clips of joints alone are copies."""

LENGTH_TOLERANCE = 0.15
"""Share of the longer clip's frames that the shorter one may lack."""

STILL = 0.3
"""Grey levels of movement below which a clip is a still picture and has no likeness."""

BANDS, BITS = 40, 20
PEOPLE_COMPARED = 2
_BUCKET, _NEIGHBOURS = 64, 16
_KEPT_FRAMES = 512
_PAIRS = 2048


@dataclass(frozen=True, eq=False)
class Likeness:
    """How a clip moves about its own mean.

    Attributes:
        moves: ``(SEGMENTS, d)`` int8: the mean of each stretch less the mean of the clip, scaled to
            the range of the type; d is ``SIDE * SIDE`` pixels, or the coordinates of all joints.
        frames: Frames of the clip.
    """

    moves: NDArray[np.int8]
    frames: int

    def to_text(self) -> str:
        """Return it as text for a line of JSON."""
        head = struct.pack("<I", self.frames)
        return base64.b64encode(head + self.moves.tobytes()).decode()


def likeness_from(text: str) -> Likeness:
    """Return what :meth:`Likeness.to_text` wrote."""
    content = base64.b64decode(text)
    moves = np.frombuffer(content, dtype=np.int8, offset=4)
    return Likeness(moves.reshape(SEGMENTS, -1), struct.unpack("<I", content[:4])[0])


class Timeline:
    """Small pictures of a clip of any length, kept in bounded memory.

    Where they become too many, each two neighbours become their mean.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._kept: list[NDArray[np.float32]] = []
        self._each = 1
        self._open: NDArray[np.float32] | None = None
        self._in_open = 0

    def add(self, picture: UInt8[np.ndarray, "h w"]) -> None:
        """Add the next frame."""
        self.frames += 1
        added = picture.astype(np.float32)
        self._open = added if self._open is None else self._open + added
        self._in_open += 1
        if self._in_open < self._each:
            return
        self._kept.append(self._open / np.float32(self._in_open))
        self._open, self._in_open = None, 0
        if len(self._kept) == _KEPT_FRAMES:
            pairs = np.stack(self._kept).reshape(-1, 2, *picture.shape)
            self._kept = list(pairs.mean(axis=1))
            self._each *= 2

    def segments(self) -> Float[np.ndarray, "s d"]:
        """Return the mean picture of each of ``SEGMENTS`` equal stretches."""
        kept = list(self._kept)
        if self._open is not None:
            kept.append(self._open / np.float32(self._in_open))
        return segment_means(np.stack(kept).reshape(len(kept), -1))


def segment_means(frames: Float[np.ndarray, "t d"]) -> Float[np.ndarray, "s d"]:
    """Return the means of ``SEGMENTS`` equal stretches, frames on an edge counted in part."""
    edges = np.linspace(0, len(frames), SEGMENTS + 1)
    sums = np.concatenate([np.zeros_like(frames[:1]), np.cumsum(frames, axis=0)], dtype=np.float64)
    before = np.floor(edges).astype(int).clip(0, len(frames) - 1)
    part = (edges - before)[:, None]
    at = sums[before] * (1 - part) + sums[before + 1] * part
    means: Float[np.ndarray, "s d"] = np.diff(at, axis=0) / np.diff(edges)[:, None]
    return means


def video_likeness(line: Timeline) -> tuple[Likeness | None, float]:
    """Return how the pictures of a clip move, and by how many grey levels (root mean square)."""
    moves = line.segments()
    moves -= moves.mean(axis=0)
    motion = float(np.sqrt(np.square(moves).mean()))
    return (None, motion) if motion < STILL else (_scaled(moves, line.frames), motion)


def joint_likeness(positions: Float[np.ndarray, "m t v c"]) -> Likeness | None:
    """Return how joints move, None where none does or nobody is seen.

    A missing joint stands at its own mean, so that it does not move.
    """
    _, frames, joints, coordinates = positions.shape
    line = positions[:PEOPLE_COMPARED].transpose(1, 0, 2, 3).reshape(frames, -1)
    known = np.isfinite(line)
    count = known.sum(axis=0)
    mean = np.where(known, line, 0).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
    moves = segment_means(np.where(known, line - mean, 0))
    moves -= moves.mean(axis=0)
    placed = np.zeros((SEGMENTS, PEOPLE_COMPARED * joints * coordinates))
    placed[:, : moves.shape[1]] = moves
    return _scaled(placed, frames) if np.abs(placed).max() > 0 else None


def _scaled(moves: Float[np.ndarray, "s d"], frames: int) -> Likeness:
    return Likeness(np.round(moves * (127 / np.abs(moves).max())).astype(np.int8), frames)


def distances(
    one: Int[np.ndarray, "p s d"],
    other: Int[np.ndarray, "p s d"],
    frames: Int[np.ndarray, "p 2"],
) -> Float[np.ndarray, " p"]:
    r"""Return how differently two clips move: 0 for the same, about 1.4 for unrelated ones.

    .. math:: \min_s \lVert \hat a_s - \hat b \rVert, \quad \hat x = x / \lVert x \rVert

    over the ways s in which the shorter clip may lie in the longer one: stretched over all of it,
    or without as many frames as it lacks at the start, at the end or at both.

    Args:
        one: ``Likeness.moves`` of one clip of each pair.
        other: Those of the other.
        frames: Frames of both.
    """
    swap = (frames[:, 0] < frames[:, 1])[:, None, None]
    longer, shorter = np.where(swap, other, one), np.where(swap, one, other)
    most, least = frames.max(axis=1), frames.min(axis=1)
    longer, wanted = longer.astype(np.float32), _units(shorter.astype(np.float32))
    found = np.linalg.norm((_units(longer) - wanted).reshape(len(one), -1), axis=1)
    if (most == least).all():
        return np.asarray(found)
    sums = np.concatenate([np.zeros_like(longer[:, :1]), np.cumsum(longer, axis=1)], axis=1)
    steps = np.linspace(0, 1, SEGMENTS + 1)
    for share in (0.0, 0.5, 1.0):
        edges = share * (most - least)[:, None] + least[:, None] * steps
        edges *= SEGMENTS / most[:, None]
        before = np.floor(edges).astype(int).clip(0, SEGMENTS - 1)
        part = (edges - before)[..., None].astype(np.float32)
        low = np.take_along_axis(sums, before[..., None], axis=1)
        high = np.take_along_axis(sums, before[..., None] + 1, axis=1)
        means = np.diff(low * (1 - part) + high * part, axis=1)
        moved = _units(means - means.mean(axis=1, keepdims=True)) - wanted
        found = np.minimum(found, np.linalg.norm(moved.reshape(len(one), -1), axis=1))
    return np.asarray(found)


def _units(moves: Float[np.ndarray, "p s d"]) -> Float[np.ndarray, "p s d"]:
    lengths = np.linalg.norm(moves.reshape(len(moves), -1), axis=1)[:, None, None]
    units: Float[np.ndarray, "p s d"] = np.divide(
        moves, lengths, out=np.zeros_like(moves), where=lengths > 0
    )
    return units


def distance(a: Likeness, b: Likeness) -> float:
    """Return :func:`distances` of one pair; infinite where they are not of one kind."""
    if a.moves.shape != b.moves.shape:
        return float("inf")
    frames = np.array([[a.frames, b.frames]])
    return float(distances(a.moves[None], b.moves[None], frames)[0])


def frame_distance(a: Float[np.ndarray, "t d"], b: Float[np.ndarray, "t2 d"]) -> float:
    r"""Return how differently two clips change from each frame to the next but one.

    .. math:: \min_s \sqrt{2 - 2 \sum_t w_t \cos(a_{t+s+2} - a_{t+s},\, b_{t+2} - b_t)}

    with weights w that grow with the change, over all places s where the shorter clip may lie in
    the longer one. Infinite where one is much longer, or nothing changes.
    """
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    lacking = len(longer) - len(shorter)
    if lacking > LENGTH_TOLERANCE * len(longer) or len(shorter) <= STRIDE:
        return float("inf")
    wide, narrow = (side[STRIDE:] - side[:-STRIDE] for side in (longer, shorter))
    lengths = np.linalg.norm(wide, axis=1), np.linalg.norm(narrow, axis=1)
    best = -1.0
    for start in range(lacking + 1):
        both = lengths[0][start : start + len(narrow)] * lengths[1]
        weights = np.sqrt(both)
        if weights.sum() == 0:
            continue
        dots = np.einsum("td,td->t", wide[start : start + len(narrow)], narrow)
        cosines = np.divide(dots, both, out=np.zeros_like(dots), where=both > 0)
        best = max(best, float((cosines * weights).sum() / weights.sum()))
    return float("inf") if best == -1.0 else float(np.sqrt(max(2 - 2 * best, 0.0)))


def joint_distance(a: Float[np.ndarray, "t j c"], b: Float[np.ndarray, "t2 j c"]) -> float:
    r"""Return how far apart the joints of two clips are, in sizes of the person.

    .. math:: \min_s \sqrt{\operatorname{mean} \lVert \hat a_{t+s} - \hat b_t \rVert^2}

    over joints known in both, each clip moved to its own mean and scaled by its own spread, and
    over all places s where the shorter clip may lie in the longer one. Infinite where one is much
    longer, no joint is known in both, or a few frames already are far apart. People move as alike
    as cyclic actions demand, but do not stand alike to a millimetre.
    """
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    lacking = len(longer) - len(shorter)
    if lacking > LENGTH_TOLERANCE * len(longer):
        return float("inf")
    best = float("inf")
    some = slice(None, None, max(len(shorter) // 8, 1))
    for start in range(lacking + 1):
        part = longer[start : start + len(shorter)]
        if _apart(part[some], shorter[some]) < 5 * COPY_JOINTS:
            best = min(best, _apart(part, shorter))
    return best


def _apart(a: Float[np.ndarray, "t j c"], b: Float[np.ndarray, "t j c"]) -> float:
    both = np.isfinite(a[..., 0]) & np.isfinite(b[..., 0])
    if not both.any():
        return float("inf")
    return float(np.sqrt(np.square(_placed(a[both]) - _placed(b[both])).sum(axis=-1).mean()))


def _placed(points: Float[np.ndarray, "p c"]) -> Float[np.ndarray, "p c"]:
    centred: Float[np.ndarray, "p c"] = points - points.mean(axis=0)
    spread = float(np.sqrt(np.square(centred).sum(axis=-1).mean()))
    return centred / spread if spread else centred


@lru_cache(maxsize=4)
def _directions(size: int) -> NDArray[np.float32]:
    signs = np.random.default_rng(15).integers(0, 2, size=(size, BANDS * BITS))
    return (2 * signs - 1).astype(np.float32)


def band_keys(likeness: Likeness) -> NDArray[np.uint32]:
    """Return ``BANDS`` numbers; of copies at least one is nearly always equal.

    Each bit says on which side of a random plane the clip lies, so bits of clips that move alike
    agree (Charikar, Similarity estimation techniques from rounding algorithms, 2002). Planes
    look at neighbouring stretches together: a cut of some frames then changes few bits.
    """
    moves = likeness.moves.astype(np.float32)
    smooth = np.concatenate([moves[:1], moves, moves[-1:]])
    smooth = (smooth[:-2] + 2 * smooth[1:-1] + smooth[2:])[::2]
    bits = smooth.reshape(-1) @ _directions(smooth.size) > 0
    weights = 1 << np.arange(BITS, dtype=np.uint32)
    keys: NDArray[np.uint32] = (bits.reshape(BANDS, BITS) * weights).sum(axis=1, dtype=np.uint32)
    return keys


def candidates(
    keys: Int[np.ndarray, "n bands"], wanted: Bool[np.ndarray, " n"]
) -> Int[np.ndarray, "p 2"]:
    """Return pairs of clips that share a key, without looking at all pairs.

    Departure: of clips that share a key with more than 64 others each is paired with 16
    neighbours alone, in the order of their next keys: a heap of copies still hangs together.
    """
    clips = np.flatnonzero(wanted)
    found = np.empty(0, dtype=np.int64)
    for band in range(keys.shape[1]):
        here, beside = keys[clips, band], keys[clips, (band + 1) % keys.shape[1]]
        order = np.lexsort((beside, here))
        ranked, values = clips[order], here[order]
        sizes = _runs(values)
        reach = np.where(sizes > _BUCKET, _NEIGHBOURS, sizes - 1)
        wide = np.repeat(reach, sizes)
        new = [found]
        for step in range(1, int(reach.max(initial=0)) + 1):
            places = np.flatnonzero(wide[:-step] >= step)
            places = places[values[places] == values[places + step]]
            pair = np.sort([ranked[places], ranked[places + step]], axis=0)
            new.append(pair[0] * len(wanted) + pair[1])
        found = np.unique(np.concatenate(new))
    return np.stack(np.divmod(found, max(len(wanted), 1)), axis=1)


def _runs(values: Int[np.ndarray, " n"]) -> Int[np.ndarray, " r"]:
    """Return how often each of sorted values is there."""
    starts = np.flatnonzero(values[1:] != values[:-1]) + 1
    if len(values):
        starts = np.r_[0, starts]
    sizes: Int[np.ndarray, " r"] = np.diff(np.r_[starts, len(values)])
    return sizes


def worth_a_look(
    pairs: Int[np.ndarray, "p 2"], likeness_of: Callable[[int], Likeness]
) -> Iterator[tuple[int, int]]:
    """Yield those of the candidates that move alike and differ little in length.

    Args:
        pairs: Candidates, sorted.
        likeness_of: Reads the likeness of a clip.
    """
    recent = lru_cache(maxsize=8192)(likeness_of)
    for start in range(0, len(pairs), _PAIRS):
        kept, sides = [], []
        for first, second in pairs[start : start + _PAIRS].tolist():
            one, other = recent(first), recent(second)
            most, least = max(one.frames, other.frames), min(one.frames, other.frames)
            if one.moves.shape == other.moves.shape and most - least <= LENGTH_TOLERANCE * most:
                kept.append((first, second))
                sides.append((one, other))
        # a data set may have both kinds: clips of joints alone, and clips with videos
        for size in {one.moves.shape[1] for one, _ in sides}:
            places = [p for p, (one, _) in enumerate(sides) if one.moves.shape[1] == size]
            some = [sides[place] for place in places]
            apart = distances(
                np.stack([one.moves for one, _ in some]),
                np.stack([other.moves for _, other in some]),
                np.array([[one.frames, other.frames] for one, other in some]),
            )
            limit = ALIKE if size == SIDE * SIDE else ALIKE_JOINTS
            yield from (kept[places[k]] for k in np.flatnonzero(apart <= limit))


def clusters(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the clips that hang together by pairs, the largest heap first."""
    head: dict[int, int] = {}

    def find(clip: int) -> int:
        while head.setdefault(clip, clip) != clip:
            head[clip] = head[head[clip]]
            clip = head[clip]
        return clip

    for first, second in pairs:
        one, other = sorted((find(first), find(second)))
        head[other] = one
    together: dict[int, list[int]] = {}
    for clip in sorted(head):
        together.setdefault(find(clip), []).append(clip)
    return sorted(together.values(), key=lambda heap: (-len(heap), heap[0]))
