"""The joints of one clip in one file: ``.npz``, ``.npy``, ``.json``, or key points of a tool."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.data.arrays import Refuse, read_npy, read_npz, require_regular_file
from poselens.data.clip_limits import FILE_LIMIT, FRAME_LIMIT, PEOPLE_LIMIT
from poselens.data.disk import write_replacing
from poselens.data.info import SkeletonInfo, cannot_read
from poselens.data.json_file import read_json
from poselens.data.keypoints import read_keypoints, tool_of
from poselens.data.store import check_positions, zeros_are_missing
from poselens.errors import PoselensError, SkeletonError, UsageError
from poselens.pose.convert import convert
from poselens.pose.declared import find_layout
from poselens.pose.layouts import get_layout
from poselens.types import Skeleton, Space

SPACES: tuple[Space, ...] = get_args(Space)
_MEND_SHAPE = "give (frames, joints, coordinates) or (people, frames, joints, coordinates)"


def read_skeleton(
    path: Path,
    layout: str | None = None,
    to_layout: str | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> Mapping[Space, Skeleton]:
    """Read the joints of one clip.

    ======  ==============================================================================
    .npz    arrays ``pixels`` and/or ``metres``, and a text ``layout``
    .npy    one array; needs ``layout``
    .json   ``{"layout": ..., "pixels": [...], "metres": [...]}``, null for a missing number;
            or ``{"skeletons": [...]}`` as NW-UCLA stores it: metres, ``ucla-20``
    ======  ==============================================================================

    What a tool wrote is read as well: COCO and AlphaPose, OpenPose's folder, MediaPipe, DeepLabCut,
    SLEAP (``poselens.data.keypoints``).

    Arrays are ``(t, v, c)`` or ``(m, t, v, c)``.

    Departure: an ``.npy`` file does not name its space; two coordinates are read as pixels, three
    as metres.

    Args:
        path: The file.
        layout: Joint layout, where the file does not name it: a name, or a YAML file.
        to_layout: Layout the joints are brought to; those that the file's joints do not give are
            NaN (``poselens.pose.convert.convertible`` names them).
        size: Height and width of the video's picture, which MediaPipe's files need.

    Raises:
        SkeletonError: ``SKEL-001`` missing, ``SKEL-002`` unreadable or of another format,
            ``SKEL-003`` over a limit (64 MB file, 2 GB unpacked, 20,000 frames, 32 people),
            ``SKEL-004`` joint count, ``SKEL-005`` shape, ``SKEL-006`` no layout,
            an unknown one, or two, ``SKEL-008`` a value beyond a million, ``SKEL-010`` no joint in
            any frame; for a tool's files, see ``read_keypoints``.
        UsageError: ``CFG-003`` when ``layout`` is unknown, or as
            ``poselens.pose.declared.find_layout``; ``CFG-045`` when the joints do not become
            ``to_layout``.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    refuse = _refusing(path)
    if layout is not None:
        layout = find_layout(layout).name
    try:
        if tool_of(path) is not None:
            return _brought_to(to_layout, read_keypoints(path, layout, size=size))
        _check_file(path, refuse)
        arrays, written_layout = _read(path, layout, refuse)
    except FileNotFoundError as fault:
        raise SkeletonError(
            "SKEL-001", "the skeleton file is missing", file=path, mend="check the path"
        ) from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    name = _agree(layout, written_layout, path)
    skeletons = {space: _skeleton(array, name, space, path) for space, array in arrays.items()}
    _require_one_length(skeletons, path)
    return _brought_to(to_layout, skeletons)


def _require_one_length(skeletons: Mapping[Space, Skeleton], path: Path) -> None:
    if len({skeleton.positions.shape[:2] for skeleton in skeletons.values()}) != 1:
        raise SkeletonError(
            "SKEL-005", "pixels and metres differ in people or frames", file=path, mend=_MEND_SHAPE
        )


def _brought_to(
    layout: str | None, skeletons: Mapping[Space, Skeleton]
) -> Mapping[Space, Skeleton]:
    if layout is None:
        return skeletons
    return {
        space: Skeleton(convert(each.positions, each.layout, layout).positions, layout, space)
        for space, each in skeletons.items()
    }


def _refusing(path: Path) -> Refuse:
    def refuse(text: str) -> PoselensError:
        return SkeletonError(
            "SKEL-002",
            text,
            file=path,
            mend="give an .npz, .npy or .json file of joints, or key points of a tool",
        )

    return refuse


def _check_file(path: Path, refuse: Refuse) -> None:
    size = require_regular_file(path, refuse)
    if size > FILE_LIMIT:
        raise SkeletonError(
            "SKEL-003",
            f"{size} bytes, the limit is {FILE_LIMIT}",
            file=path,
            mend="split the clip",
        )


def _read(
    path: Path, asked: str | None, refuse: Refuse
) -> tuple[dict[Space, NDArray[Any]], str | None]:
    kind = path.suffix.lower()
    if kind == ".npy":
        array = read_npy(path, refuse)
        return {"pixels" if array.ndim and array.shape[-1] == 2 else "metres": array}, None
    if kind == ".npz":
        content: dict[str, Any] = dict(read_npz(path, refuse))
        layout = content.get("layout")
        written = str(layout) if layout is not None and layout.dtype.kind == "U" else None
    elif kind == ".json":
        content = _read_json(path, refuse)
        if "skeletons" in content:
            joints = _ucla_joints(content, path)
            return {"metres": joints}, content.get("layout", asked or "ucla-20")
        written = content.get("layout")
        content = {space: _numbers(content[space], path) for space in SPACES if space in content}
    else:
        raise refuse(f"unknown kind of skeleton file {kind!r}")
    arrays: dict[Space, NDArray[Any]] = {
        space: content[space] for space in SPACES if space in content
    }
    if not arrays:
        raise refuse("found neither pixels nor metres")
    return arrays, written


def _agree(asked: str | None, written: str | None, path: Path) -> str:
    name = written or asked
    if not isinstance(name, str):
        raise SkeletonError(
            "SKEL-006",
            "the file does not name its joint layout",
            file=path,
            mend="store an .npz or .json with a layout",
        )
    if asked is not None and asked != name:
        raise SkeletonError(
            "SKEL-006", f"the file's joint layout is {name!r}, not {asked!r}", file=path,
            mend="give the layout once",
        )  # fmt: skip
    try:
        get_layout(name)
    except UsageError as fault:
        if asked is not None:
            raise
        raise SkeletonError("SKEL-006", fault.message, file=path, mend=fault.mend) from fault
    return name


def _skeleton(array: NDArray[Any], layout: str, space: Space, path: Path) -> Skeleton:
    if array.dtype.kind not in "fiu" or array.ndim not in (3, 4):
        raise SkeletonError(
            "SKEL-005",
            f"{space}: found {array.dtype} of shape {array.shape}, expected numbers "
            "(frames, joints, coordinates) or (people, frames, joints, coordinates)",
            file=path,
            mend=_MEND_SHAPE,
        )
    people, frames = (1, *array.shape[:-2])[-2:]
    for found, limit, what in ((frames, FRAME_LIMIT, "frames"), (people, PEOPLE_LIMIT, "people")):
        if found > limit:
            raise SkeletonError(
                "SKEL-003", f"{space}: {found} {what}, the limit is {limit}", file=path,
                mend="split the clip",
            )  # fmt: skip
    dimensions = array.shape[-1]
    allowed = (2,) if space == "pixels" else (2, 3)
    if dimensions not in allowed:
        raise SkeletonError(
            "SKEL-005",
            f"{space}: found {dimensions} coordinates, expected {allowed[-1]}",
            file=path,
            mend=_MEND_SHAPE,
        )
    info = SkeletonInfo(layout=layout, dimensions=dimensions)
    joints = check_positions(array.reshape(people, *array.shape[-3:]), info, file=path)
    if np.isnan(joints).all():
        raise SkeletonError(
            "SKEL-010", f"{space}: no joint in any of {frames} frames", file=path,
            mend="leave the clip out, or give its video alone",
        )  # fmt: skip
    return Skeleton(joints, layout, space)


def read_ucla_json(path: Path) -> tuple[Float[np.ndarray, "t 20 3"], int | None]:
    """Read one NW-UCLA file: its joints in metres and its label from 1, if it has one.

    Departure: a joint exactly at the camera's origin, where nothing can be, is missing.

    Raises:
        SkeletonError: As ``read_skeleton``.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    refuse = _refusing(path)
    try:
        _check_file(path, refuse)
        content = _read_json(path, refuse)
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    if "skeletons" not in content:
        raise refuse("found no key 'skeletons'")
    joints = _skeleton(_ucla_joints(content, path), "ucla-20", "metres", path)
    label = content.get("label")
    return joints.positions[0], label if type(label) is int else None


def _ucla_joints(content: Mapping[str, Any], path: Path) -> NDArray[Any]:
    joints = _numbers(content["skeletons"], path)
    return zeros_are_missing(joints) if joints.ndim else joints


def _read_json(path: Path, refuse: Refuse) -> dict[str, Any]:
    content = read_json(path, refuse)
    if not isinstance(content, dict):
        raise refuse("expected a JSON object")
    return content


def _numbers(content: Any, path: Path) -> NDArray[Any]:
    try:
        return np.array(content, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as fault:
        raise SkeletonError(
            "SKEL-005", "joints are not an even array of numbers", file=path, mend=_MEND_SHAPE
        ) from fault


def write_skeleton(path: Path, skeletons: Mapping[Space, Skeleton]) -> None:
    """Write the joints of one clip as ``.npz`` or ``.json``, atomically.

    Raises:
        UsageError: ``CFG-005`` for another suffix, no skeleton, or two layouts.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    layouts = {skeleton.layout for skeleton in skeletons.values()}
    if len(layouts) != 1:
        raise UsageError("CFG-005", f"one joint layout is needed, found {len(layouts)}", file=path)
    layout = layouts.pop()
    arrays: dict[str, NDArray[Any]] = {
        space: skeleton.positions for space, skeleton in skeletons.items()
    }
    if path.suffix.lower() == ".npz":
        content = _npz({"layout": np.array(layout), **arrays})
    elif path.suffix.lower() == ".json":
        lists = {}
        for space, joints in arrays.items():
            numbers = joints.astype(object)
            numbers[np.isnan(joints)] = None
            lists[space] = numbers.tolist()
        content = json.dumps({"layout": layout, **lists}).encode()
    else:
        raise UsageError(
            "CFG-005", f"cannot write a skeleton as {path.suffix!r}", file=path,
            mend="use .npz or .json",
        )  # fmt: skip
    write_replacing(path, content)


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return buffer.getvalue()
