"""Which frames of a clip the RGB branch reads. Section 4.2: 8 segments of 6 frames."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from poselens.errors import UsageError

Snippet = Literal["center", "random", "mean", "difference-stem"]
"""What becomes of a segment's consecutive frames: the middle one, any one, their mean, or all of
them for a network with a stem for differences."""


def snippet_starts(
    frames: int, *, segments: int, length: int, rng: np.random.Generator | None
) -> Int[np.ndarray, " segments"]:
    """Return the first frame of each segment's snippet; below 0 where it begins before the clip.

    The clip is cut into ``segments`` equal parts. With ``rng`` each snippet starts anywhere in its
    part such that it stays inside (training); without, it lies in the part's middle (test).

    Source: TSN and TSM's dense-in-segment sampling.
    Departure: around a part shorter than a snippet, the snippet lies such that its middle frame
    (``length // 2``) is the part's, and the reader clamps what lies beyond the clip at its first
    and last frame; nothing wraps around. Eight frames in eight segments are read as 0, 1, ..., 7.
    """
    if frames < 1 or segments < 1 or length < 1:
        raise UsageError(
            "CFG-010", f"found {frames} frames, {segments} segments of {length}; expected 1 or more"
        )
    edges = np.arange(segments) * frames / segments
    slack = frames / segments - length
    position = rng.random(segments) if rng is not None else np.full(segments, 0.5)
    if slack < 0:
        return _frame_at(edges + frames / segments / 2) - length // 2
    return _frame_at(edges + position * slack)


def _frame_at(time: Float[np.ndarray, " segments"]) -> Int[np.ndarray, " segments"]:
    return np.floor(time + 1e-9).astype(np.int64)


def frames_to_read(
    frames: int,
    *,
    segments: int,
    length: int,
    snippet: Snippet,
    rng: np.random.Generator | None = None,
) -> Int[np.ndarray, "segments snippet"]:
    """Return the frame indices the network sees, ``(segments, 1)`` or ``(segments, length)``.

    Section 4.2. Of ``center`` and ``random`` snippets one frame each is returned, so that nothing
    is decoded in vain; ``random`` is random in training, within the snippet and, where the part is
    shorter, within the part, and the middle frame at test.

    Departure: the paper loads 48 frames and reports 35.1 GMACs, which only eight frames fit; what
    becomes of the other five is unsaid. The options and their cost: docs/decisions/0001.
    """
    starts = snippet_starts(frames, segments=segments, length=length, rng=rng)[:, None]
    if snippet in ("mean", "difference-stem"):
        read = starts + np.arange(length)
    elif snippet == "random" and rng is not None and frames < segments * length:
        part = np.arange(segments) + rng.random(segments)
        read = _frame_at(part * frames / segments)[:, None]
    elif snippet == "random" and rng is not None:
        read = starts + rng.integers(0, length, size=(segments, 1))
    else:
        read = starts + length // 2
    return np.clip(read, 0, frames - 1)
