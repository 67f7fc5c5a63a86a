"""A video of a clip under its heat map, which is known at a few frames and glides between them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.data.video import iterate_frames, probe, write_video
from poselens.evaluation.overlay import draw_overlay
from poselens.explain.overlay import draw_heat
from poselens.recipes.seen_clip import SeenClip
from poselens.types import Box


def write_heat_video(
    path: Path,
    seen: SeenClip,
    maps: Float[np.ndarray, "s fh fw"],
    *,
    caption: str,
    scores: Sequence[tuple[str, float]],
) -> None:
    """Write the clip frame by frame under its heat map, with what the model says beside it.

    Args:
        path: Target.
        seen: The clip.
        maps: In pixels of whole frames of ``seen.shown_size``.
        caption: Lines over the scores.
        scores: Class and probability.
    """
    source, (height, width) = seen.source, seen.shown_size
    (left, top), (down, across) = seen.cut
    box = Box(round(left), round(top), round(left + across), round(top + down))

    def drawn() -> Iterator[NDArray[np.uint8]]:
        frames = iterate_frames(
            source.path, first_frame=source.first_frame, frames=source.frames, size=(height, width)
        )
        for index, frame in enumerate(frames):
            heat = draw_heat(frame[None], map_at(maps, seen.frames, index)[None])[0]
            yield draw_overlay(heat, None, None, box, scores, caption)

    write_video(path, drawn(), fps=probe(source.path).fps or 25.0)


def map_at(
    maps: Float[np.ndarray, "s h w"], frames: NDArray[np.int64], index: int
) -> Float[np.ndarray, "h w"]:
    """Return the map at a frame, between those of the two nearest frames that were looked at."""
    after = int(np.searchsorted(frames, index))
    if after == 0 or after == len(frames):
        nearest: NDArray[np.float32] = maps[min(after, len(frames) - 1)]
        return nearest
    before = after - 1
    share = (index - frames[before]) / (frames[after] - frames[before])
    between: NDArray[np.float32] = (1 - share) * maps[before] + share * maps[after]
    return between
