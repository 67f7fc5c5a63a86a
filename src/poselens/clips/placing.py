"""Where the pixels of the RGB network's input lie in the frame, and the joints in the input."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.clips.augment import centre_view
from poselens.clips.crop import Placement
from poselens.clips.stream import RgbInput
from poselens.types import Box


def input_placement(box: Box, settings: RgbInput) -> Placement:
    """Return the map from frame pixels to pixels of the network's input, in the view of test.

    Args:
        box: The region, in pixels of the frame.
        settings: From a video to the network's input.
    """
    view = centre_view(scale=settings.scale, size=settings.size)
    # the region is resized first, and the view is whole pixels of that
    inner = view.pixels(rows=settings.scale, columns=settings.scale)
    across, down = box.width / settings.scale, box.height / settings.scale
    return Placement(
        left=box.left + inner.left * across,
        top=box.top + inner.top * down,
        width=inner.width * across,
        height=inner.height * down,
        size=(settings.size, settings.size),
    )


def joints_at(
    positions: Float[np.ndarray, "m f v c"], frames: Int[np.ndarray, " t"], clip_frames: int
) -> Float[np.ndarray, "m t v 2"]:
    """Return everybody's joints in some frames of a clip, in the space they are stored in.

    A skeleton of another length than the clip is spread evenly over it.

    Args:
        positions: Joints of the clip.
        frames: Wanted frames, counted from the clip's first.
        clip_frames: Frames of the clip.
    """
    known = positions.shape[1]
    spread = frames * ((known - 1) / max(clip_frames - 1, 1)) if known != clip_frames else frames
    rows = np.clip(np.round(spread).astype(np.int64), 0, known - 1)
    found: NDArray[np.float32] = positions[:, rows, :, :2]
    return found


def joints_in_input(
    positions: Float[np.ndarray, "m f v c"],
    frames: Int[np.ndarray, " t"],
    clip_frames: int,
    placement: Placement,
) -> Float[np.ndarray, "m t v 2"]:
    """Return the joints at some frames in pixels (x, y) of the network's input.

    A missing joint is NaN; one outside the view lies outside the input.

    Args:
        positions: Joints of the clip in pixels of the frame.
        frames: Frames the network was shown, counted from the clip's first.
        clip_frames: Frames of the clip.
        placement: As :func:`input_placement` returns it.
    """
    return placement.to_crop(joints_at(positions, frames, clip_frames))
