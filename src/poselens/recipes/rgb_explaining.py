"""Where an RGB stream looked in one clip: its map, in its own pixels and in those of the frame."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from poselens.explain.cam import Method, attribute_frames
from poselens.explain.overlay import draw_cut, draw_heat, in_frame
from poselens.explain.strips import Curve, StripRow, time_curve
from poselens.recipes.seen_clip import SeenClip
from poselens.recognition.streams import TrainedStream


@dataclass(frozen=True, eq=False)
class RgbExplanation:
    """Where an RGB stream looked in one clip.

    Attributes:
        stream: Name of the stream.
        seen: The clip as the stream saw it: frames, times, and joints in the input's pixels.
        maps: ``(s, h, w)`` in pixels of the stream's input, 1 at the largest of the clip.
        curve: How much falls on each moment.
    """

    stream: str
    seen: SeenClip
    maps: Float[np.ndarray, "s h w"]
    curve: Curve

    def in_whole_frames(self) -> Float[np.ndarray, "s fh fw"]:
        """Return the maps in pixels of the whole frames that are shown, 0 where nobody looked."""
        corner, extent = self.seen.cut
        return in_frame(self.maps, corner=corner, extent=extent, frame_size=self.seen.shown_size)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON: ``seen`` and ``region`` are left, top, right, bottom."""
        where, box = self.seen.placement, self.seen.source.region.box
        return {
            "frames": self.seen.frames.tolist(),
            "times_s": [round(float(time), 4) for time in self.seen.times],
            "share_of_strongest_moment": [round(float(each), 4) for each in self.curve.values],
            "region": [box.left, box.top, box.right, box.bottom],
            "seen": [where.left, where.top, where.left + where.width, where.top + where.height],
            "nothing_found": not bool(self.maps.any()),
        }


def explain_rgb(
    trained: TrainedStream,
    seen: SeenClip,
    wanted: int,
    against: int | None = None,
    *,
    method: Method = "gradcam",
    layer: str | None = None,
) -> RgbExplanation:
    """Ask an RGB stream where it sees a class in one clip; raises as ``attribute_frames``.

    Args:
        trained: The stream, not folded.
        seen: The clip, read with this stream's settings.
        wanted: The class.
        against: The class it is held against, or None.
        method: Of attribution.
        layer: Of the network; None for the last.
    """
    maps = attribute_frames(
        trained.network,
        seen.inputs[None].to(trained.device),
        np.array([wanted]),
        against=None if against is None else np.array([against]),
        method=method,
        layer=layer,
    )[0]
    return RgbExplanation(trained.stream.name, seen, maps, time_curve(maps, seen.times))


def rgb_rows(found: RgbExplanation, note: str) -> list[StripRow]:
    """Return the rows of an RGB stream: what it sees, its map over that, and in whole frames."""
    seen, (corner, extent) = found.seen, found.seen.cut
    whole = draw_heat(seen.whole_frames(), found.in_whole_frames())
    return [
        StripRow("clip", seen.pictures, f"as {found.stream} sees it"),
        StripRow(found.stream, draw_heat(seen.pictures, found.maps), note, found.curve),
        StripRow("whole frame", draw_cut(whole, corner, extent), "framed: what it sees"),
    ]
