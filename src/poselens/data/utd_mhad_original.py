"""UTD-MHAD as its authors publish it: MATLAB files of joints and depth, and colour videos.

Source: https://personal.utdallas.edu/~kehtar/UTD-MHAD.html: ``Skeleton/aX_sY_tZ_skeleton.mat`` with
``d_skel`` (20, 3, frames) in metres, ``Depth/aX_sY_tZ_depth.mat`` with ``d_depth``
(240, 320, frames) in millimetres, ``RGB/aX_sY_tZ_color.avi``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from poselens.data.clip_limits import FRAME_LIMIT
from poselens.data.importing import ImportReport
from poselens.data.info import cannot_read
from poselens.data.matlab import read_matlab
from poselens.data.store import zeros_are_missing
from poselens.errors import AnnotationError, PoselensError, SkeletonError, UsageError

Picture = Literal["colour", "depth"]
JOINTS = 20
NEAREST_MM, FARTHEST_MM = 1200.0, 3400.0
_SKELETON, _DEPTH, _COLOUR = "_skeleton.mat", "_depth.mat", "_color.avi"


@dataclass(frozen=True, eq=False)
class Recording:
    """One clip of the original data set.

    Attributes:
        name: ``aX_sY_tZ``.
        joints_metres: ``(t, 20, 3)``, NaN for a missing joint.
        picture: Colour video or depth file of that name; None where the data set has neither.
    """

    name: str
    joints_metres: NDArray[np.float32]
    picture: Path | None


def is_original(src: Path) -> bool:
    """Tell whether a folder is the published form of the data set."""
    return (src / "Skeleton").is_dir()


def choose_picture(src: Path, wanted: str | None) -> Picture | None:
    """Return which pictures go with the joints: those wanted, else colour, depth or none at hand.

    Raises:
        UsageError: ``DATA-046`` when those wanted are not there.
    """
    kinds: tuple[Picture, ...] = get_args(Picture)
    there = {"colour": src / "RGB", "depth": src / "Depth"}
    if wanted is None:
        return next((kind for kind in kinds if there[kind].is_dir()), None)
    for kind in kinds:
        if wanted == kind and there[kind].is_dir():
            return kind
    found = ", ".join(kind for kind in kinds if there[kind].is_dir()) or "none"
    raise UsageError(
        "DATA-046", f"no {wanted!r} pictures here, found {found}", file=src,
        mend="add the folder RGB or Depth, or leave --picture out",
    )  # fmt: skip


def recordings(src: Path, picture: Picture | None, report: ImportReport) -> Iterator[Recording]:
    """Yield what is in ``Skeleton/``, with the picture of each; skip what cannot be read."""
    for path in sorted((src / "Skeleton").iterdir()):
        if not path.name.endswith(_SKELETON):
            report.skip("DATA-021", path, f"the name does not end in {_SKELETON}")
            continue
        name = path.name.removesuffix(_SKELETON)
        try:
            joints = read_joints(path)
        except PoselensError as fault:
            report.skip_fault(fault, path)
            continue
        beside = {
            "colour": src / "RGB" / f"{name}{_COLOUR}",
            "depth": src / "Depth" / f"{name}{_DEPTH}",
        }
        yield Recording(name, joints, None if picture is None else beside[picture])


def read_joints(path: Path) -> Float[np.ndarray, "t 20 3"]:
    """Read ``d_skel``; a joint exactly at the camera's origin, where nothing can be, is missing.

    Raises:
        AnnotationError: ``DATA-045`` for no MATLAB file with this variable.
        SkeletonError: ``SKEL-003`` too many frames, ``SKEL-005`` another shape.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    array = _variable(path, "d_skel")
    # MATLAB drops a last axis of one
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[:2] != (JOINTS, 3) or not array.shape[2]:
        raise SkeletonError(
            "SKEL-005", f"found {array.shape}, expected (20, 3, frames)", file=path,
            where="d_skel", mend="give the file as it was published",
        )  # fmt: skip
    if array.shape[2] > FRAME_LIMIT:
        raise SkeletonError(
            "SKEL-003", f"{array.shape[2]} frames, the limit is {FRAME_LIMIT}", file=path,
            where="d_skel", mend="split the clip",
        )  # fmt: skip
    return zeros_are_missing(np.moveaxis(array, 2, 0))


def read_depth(path: Path) -> UInt8[np.ndarray, "t h w"]:
    """Read ``d_depth`` as grey pictures: 0 background, 1 to 255 for 1,200 to 3,400 mm.

    Departure: what is nearer counts as nearest; what is farther, as background.

    Raises:
        AnnotationError: ``DATA-045`` for no MATLAB file with this variable, or another shape.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    depth_mm = _variable(path, "d_depth")
    depth_mm = depth_mm[..., None] if depth_mm.ndim == 2 else depth_mm
    if depth_mm.ndim != 3 or depth_mm.shape[:2] != (240, 320) or not depth_mm.shape[2]:
        raise _refuse(path, f"d_depth is {depth_mm.shape}, expected (240, 320, frames)")
    pictures = np.empty((depth_mm.shape[2], *depth_mm.shape[:2]), np.uint8)
    for frame in range(len(pictures)):
        mm = depth_mm[..., frame].astype(np.float64)
        grey = 1 + (mm - NEAREST_MM) * (254 / (FARTHEST_MM - NEAREST_MM))
        # a comparison with NaN is false: what is no number is background
        seen = (mm > 0) & (mm <= FARTHEST_MM)
        pictures[frame] = np.where(seen, np.clip(np.rint(grey), 1, 255), 0)
    return pictures


def _refuse(path: Path, text: str) -> AnnotationError:
    return AnnotationError("DATA-045", text, file=path, mend="give the file as it was published")


def _variable(path: Path, name: str) -> NDArray[Any]:
    try:
        arrays = read_matlab(path, [name], lambda text: _refuse(path, text))
    except FileNotFoundError as fault:
        raise _refuse(path, "the file is missing") from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    if name not in arrays:
        raise _refuse(path, f"no variable {name!r}")
    return arrays[name]
