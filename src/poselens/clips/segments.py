"""Which frames of a clip the RGB branch reads. Section 4.2: 8 segments of 6 frames."""

from typing import Literal

import numpy as np
from jaxtyping import Int

from poselens.errors import UsageError

Snippet = Literal["center", "random", "mean", "difference-stem"]
"""What becomes of a segment's consecutive frames: the middle one, any one, their mean, or all of
them for a network with a stem for differences."""


def snippet_starts(
    frames: int, *, segments: int, length: int, rng: np.random.Generator | None
) -> Int[np.ndarray, " segments"]:
    """Return the first frame of each segment's snippet.

    The clip is cut into ``segments`` equal parts. With ``rng`` each snippet starts anywhere in its
    part such that it stays inside (training); without, it lies in the part's middle (test).

    Source: TSN and TSM's dense-in-segment sampling.
    Departure: parts shorter than a snippet start at the part's own first frame, and the reader
    clamps what lies beyond the clip at its last frame; nothing wraps around.
    """
    if frames < 1 or segments < 1 or length < 1:
        raise UsageError(
            "CFG-010", f"found {frames} frames, {segments} segments of {length}; expected 1 or more"
        )
    edges = np.arange(segments + 1) * frames / segments
    slack = np.maximum(edges[1:] - edges[:-1] - length, 0.0)
    position = rng.random(segments) if rng is not None else np.full(segments, 0.5)
    return np.floor(edges[:-1] + position * slack + 1e-9).astype(np.int64)


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
    is decoded in vain; ``random`` is random in training and the middle frame at test.

    Departure: the paper loads 48 frames and reports 35.1 GMACs, which only eight frames fit; what
    becomes of the other five is unsaid. The options and their cost: docs/decisions/0001.
    """
    starts = snippet_starts(frames, segments=segments, length=length, rng=rng)
    if snippet in ("mean", "difference-stem"):
        offsets = np.broadcast_to(np.arange(length), (segments, length))
    elif snippet == "random" and rng is not None:
        offsets = rng.integers(0, length, size=(segments, 1))
    else:
        offsets = np.full((segments, 1), length // 2, dtype=np.int64)
    return np.minimum(starts[:, None] + offsets, frames - 1)
