"""From a decoded frame to upright, cropped, scaled RGB, in FFmpeg's own filters."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from poselens.errors import VideoError
from poselens.types import Box

# bit-exact: the same pixels from every instruction set
_SCALE_FLAGS = "bilinear+accurate_rnd+full_chroma_int+bitexact"


def _orientation(frame: VideoFrame) -> tuple[bool, list[tuple[str, str | None]]]:
    """Whether rows and columns swap, and the filters that turn a stored frame upright.

    The display matrix maps ``(x, y)`` to ``(a x + c y, b x + d y)``; phones write the eight cases
    without skew, anything between them is taken as the nearest.
    """
    try:
        matrix = cast(SideDataContainer, frame.side_data)[SideDataType.DISPLAYMATRIX]
    except KeyError:
        return False, []
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) > abs(a):
        towards = {(True, True): "cclock_flip", (True, False): "cclock", (False, True): "clock"}
        return True, [("transpose", towards.get((c > 0, b > 0), "clock_flip"))]
    flips: list[tuple[str, str | None]] = [("hflip", None)] if a < 0 else []
    return False, [*flips, ("vflip", None)] if d < 0 else flips


def upright_size(frame: VideoFrame) -> tuple[int, int]:
    """Return height and width as shown, after the rotation flag."""
    swapped, _ = _orientation(frame)
    return (frame.width, frame.height) if swapped else (frame.height, frame.width)


class Converter:
    """Turns decoded frames into upright, cropped, scaled RGB through one reused filter graph.

    Args:
        path: The video, for error texts.
        reference: Height and width of the upright first frame, to which boxes refer; later frames
            of another size are scaled to it.
        box: Part to keep, None for all.
        size: Height and width of the result, None for those of the box.
    """

    def __init__(
        self, path: Path, reference: tuple[int, int], box: Box | None, size: tuple[int, int] | None
    ) -> None:
        height, width = reference
        kept = box or Box(0, 0, width, height)
        if not (0 <= kept.left < kept.right <= width and 0 <= kept.top < kept.bottom <= height):
            raise VideoError(
                "VID-014",
                f"box {kept.left},{kept.top},{kept.right},{kept.bottom} does not lie inside the "
                f"{width}x{height} frame",
                file=path,
                mend="give the box in pixels of the upright full frame",
            )
        self._path = path
        self._reference = reference
        self._box = kept
        self._size = size or (kept.height, kept.width)
        self._graph: Graph | None = None
        self._fed: tuple[object, ...] = ()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Return the picture as ``(h, w, 3)`` uint8 RGB.

        Raises:
            VideoError: ``VID-012`` when FFmpeg cannot convert the frame.
        """
        fed = (frame.width, frame.height, frame.format.name, frame.rotation)
        try:
            if self._graph is None or fed != self._fed:
                self._graph, self._fed = self._build(frame), fed
            self._graph.push(frame)
            return np.asarray(self._graph.pull().to_ndarray(), np.uint8)
        except (av.FFmpegError, ValueError) as fault:
            raise VideoError(
                "VID-012",
                f"a frame of format {frame.format.name} cannot be converted to RGB",
                file=self._path,
                mend="convert the file first: ffmpeg -i IN -pix_fmt yuv420p OUT.mp4",
            ) from fault

    def _build(self, frame: VideoFrame) -> Graph:
        _, steps = _orientation(frame)
        height, width = self._reference
        if upright_size(frame) != self._reference:
            steps.append(("scale", f"{width}:{height}:flags={_SCALE_FLAGS}"))
        box, (rows, columns) = self._box, self._size
        if (box.height, box.width) != (height, width):
            steps.append(("crop", f"{box.width}:{box.height}:{box.left}:{box.top}:exact=1"))
        steps.append(("scale", f"{columns}:{rows}:flags={_SCALE_FLAGS}"))
        # planar first: the same pixels as packed RGB in less than half the time
        steps.append(("format", "pix_fmts=gbrp"))
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 90000),
        )
        chain = [source, *(graph.add(name, args) for name, args in steps), graph.add("buffersink")]
        graph.link_nodes(*chain).configure()
        return graph
