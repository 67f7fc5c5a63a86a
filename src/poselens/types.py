"""The nouns every room shares, and the legend of axis names.

Axes, in the order in which they appear in a shape:

====  ==========================================================
n     clips in a batch
m     people
t     frames (time)
v     joints (vertices of the skeleton graph)
c     channels, or coordinates of a joint
h w   rows and columns of pixels
k     classes
s     streams (rgb, joint, bone, ...)
====  ==========================================================

Points are ``(x, y)`` or ``(x, y, z)``, sizes are ``(height, width)``, boxes are half open, pixels
count from 0, and a missing joint is NaN in every coordinate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

ONE_VIEW = "centre"
"""Name of looking at a clip once."""

Space = Literal["pixels", "metres"]
"""Where joints live: ``pixels`` of the upright, full video frame, or ``metres`` before a camera."""


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle ``[left, right) x [top, bottom)`` in pixels of the full frame."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns covered."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows covered."""
        return self.bottom - self.top


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The joints of everyone in one clip.

    Attributes:
        positions: ``(m, t, v, c)`` float32, c = 2 or 3; NaN marks a missing joint or absent person.
        layout: Name of the joint layout (``poselens.pose.layouts``).
        space: Unit and origin of ``positions``.
    """

    positions: NDArray[np.float32]
    layout: str
    space: Space

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.positions.shape[1])

    @property
    def coverage(self) -> float:
        """Share of frames, in [0, 1], in which at least one joint of anybody is known."""
        if self.positions.size == 0:
            return 0.0
        seen = np.isfinite(self.positions).all(axis=-1).any(axis=0).any(axis=-1)
        return float(seen.mean())


@dataclass(frozen=True, eq=False)
class Scores:
    """What one stream, or the fusion of several, says about a list of clips.

    The two branches share nothing else.

    Attributes:
        logits: ``(n, k)`` float32, before the softmax.
        ids: Clip ids, one per row.
        labels: ``(n,)`` class indices, -1 where unknown.
        classes: Class names, one per column.
        stream: Name of the stream: ``rgb``, ``joint``, ``bone``, ..., ``fused``.
        views: Name of the views of each clip that were averaged; ``centre`` is one view.
    """

    logits: Float[np.ndarray, "n k"]
    ids: Sequence[str]
    labels: Int[np.ndarray, " n"]
    classes: Sequence[str]
    stream: str
    views: str = ONE_VIEW


Facts = Mapping[str, str | int | float | bool | None]
"""Small flat facts that go into logs and JSON as they are."""
