"""Key points of one clip from the tools that people have: one door to the readers of each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from poselens.data.arrays import require_regular_file
from poselens.data.children import Limits, in_children
from poselens.data.clip_limits import FILE_LIMIT
from poselens.data.info import SkeletonInfo, cannot_read
from poselens.data.keypoint_people import (
    Keypoints,
    Tool,
    over_limit,
)
from poselens.data.keypoint_table import head_of, listed
from poselens.data.keypoint_tracks import people_of_slots
from poselens.data.keypoints_coco import read_coco
from poselens.data.keypoints_deeplabcut import HEADS, read_deeplabcut
from poselens.data.keypoints_mediapipe import read_mediapipe
from poselens.data.keypoints_openpose import SUFFIX, read_openpose
from poselens.data.keypoints_sleap import read_hdf5, read_sleap_csv, require_h5py
from poselens.data.store import check_positions
from poselens.errors import PoselensError, SkeletonError, UsageError
from poselens.pose.layouts import Layout, get_layout, known_layouts
from poselens.types import Skeleton, Space

TOOLS: tuple[Tool, ...] = get_args(Tool)
HDF5 = (".slp", ".h5", ".hdf5")
SUFFIXES = (".json", ".csv", *HDF5)
"""Suffixes of key-point files; OpenPose writes a folder."""
_READERS = {"coco": read_coco, "openpose": read_openpose, "deeplabcut": read_deeplabcut}
_SIZE = re.compile(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})")
_LIMITS = Limits(seconds=30, memory=1024**3)
_FORMATS = (
    "COCO or AlphaPose JSON, OpenPose's folder, MediaPipe landmarks as JSON or CSV, DeepLabCut's "
    "CSV, SLEAP's .slp, analysis .h5 or CSV"
)


@dataclass(frozen=True, slots=True)
class KeypointJob:
    """What to read: a file, its tool, and how.

    Attributes:
        path: The file or folder.
        tool: The tool that wrote it, None to find out.
        size: Height and width of the video's picture, where known.
        min_score: Joints of a lower score are missing.
    """

    path: Path
    tool: Tool | None = None
    size: tuple[int, int] | None = None
    min_score: float = 0.0


def read_keypoints(
    path: Path,
    layout: str | None = None,
    tool: str | None = None,
    *,
    size: tuple[int, int] | None = None,
    min_score: float = 0.0,
) -> Mapping[Space, Skeleton]:
    """Read the key points of one clip, whichever tool wrote them.

    Args:
        path: A file, or OpenPose's folder.
        layout: Joint layout; None for that of the tool, or the one that has the file's joints.
        tool: The tool that wrote it; None to tell by suffix and content.
        size: Height and width of the video's picture, which MediaPipe's files need.
        min_score: Joints of a lower score are missing.

    Raises:
        SkeletonError: ``SKEL-001`` missing, ``SKEL-003`` over a limit, ``SKEL-004`` another joint
            count than the layout's, ``SKEL-008`` a value beyond a million, ``SKEL-010`` nobody,
            ``SKEL-060`` of no known tool, ``SKEL-061`` damaged, ``SKEL-062`` joints of no known
            layout, ``SKEL-064`` no size of the picture, ``SKEL-065`` a table of pandas,
            ``SKEL-066`` several videos, ``SKEL-067`` reading it crashed or took too much.
        UsageError: ``CFG-003`` unknown layout, ``SKEL-063`` unknown tool.
        EnvironmentFault: ``ENV-004`` not readable, ``ENV-005`` h5py is missing.
    """
    job = KeypointJob(path, known_tool(tool), size, min_score)
    if path.suffix.lower() not in HDF5:
        return skeletons_of(read_file(job), path, layout)
    require_h5py(path)
    _, outcome = next(iter(read_many([job])))
    if isinstance(outcome, PoselensError):
        raise outcome
    return skeletons_of(outcome, path, layout)


def known_tool(tool: str | None) -> Tool | None:
    """Return a tool by name.

    Raises:
        UsageError: ``SKEL-063`` for an unknown one.
    """
    for name in TOOLS:
        if tool == name:
            return name
    if tool is None:
        return None
    raise UsageError("SKEL-063", f"unknown tool {tool!r}", mend=f"use one of {', '.join(TOOLS)}")


def tool_of(path: Path) -> Tool | None:
    """Tell by suffix and content which tool wrote a file; None where it is none of ours.

    Raises:
        OSError: When it is missing or not permitted.
    """
    if path.is_dir():
        return "openpose" if next(path.glob(f"*{SUFFIX}"), None) else None
    kind = path.suffix.lower()
    if kind in HDF5:
        return "sleap"
    if kind not in SUFFIXES:
        return None
    head = head_of(path)
    if kind == ".csv":
        first = head.partition("\n")[0].lower()
        names = [
            name.strip(' "\r') for name in first.replace(";", ",").replace("\t", ",").split(",")
        ]
        if names[0] in HEADS:
            return "deeplabcut"
        return "sleap" if {"track", "frame_idx"} <= set(names) else "mediapipe"
    if '"image_id"' in head or '"annotations"' in head or '"categories"' in head:
        return "coco"
    if '"pose_keypoints_2d"' in head:
        return "openpose"
    return "mediapipe" if '"visibility"' in head or '"landmark' in head else None


def read_many(
    jobs: Sequence[KeypointJob], *, workers: int | None = None
) -> Iterable[tuple[KeypointJob, Keypoints | PoselensError]]:
    """Read files in child processes, which may crash, hang or swell; yield each as it comes."""
    for job, outcome in in_children(
        read_file, jobs, file_of=lambda job: job.path, workers=workers or 1, limits=_LIMITS
    ):
        if isinstance(outcome, PoselensError) and outcome.code.startswith("VID-09"):
            yield job, SkeletonError(
                "SKEL-067", f"reading it failed: {outcome.message}", file=job.path,
                mend="export the key points again, or as CSV",
            )  # fmt: skip
        else:
            yield job, outcome


def read_file(job: KeypointJob) -> Keypoints:
    """Read one file in this process.

    Raises:
        SkeletonError, EnvironmentFault: As :func:`read_keypoints`.
    """
    path, lowest = job.path, job.min_score
    try:
        tool = job.tool or tool_of(path)
        if tool == "openpose" and path.is_dir():
            return read_openpose(path, min_score=lowest)
        size = require_regular_file(path, lambda text: _unknown(path, text))
        if size > FILE_LIMIT:
            raise over_limit(path, size, FILE_LIMIT, "bytes")
        if tool is None or tool == "openpose":
            found = "one frame of OpenPose; its folder is the clip" if tool else "of no known tool"
            raise _unknown(path, found)
        if tool == "mediapipe":
            return read_mediapipe(path, size=job.size, min_score=lowest)
        if tool == "sleap":
            is_hdf5 = path.suffix.lower() in HDF5
            return (read_hdf5 if is_hdf5 else read_sleap_csv)(path, min_score=lowest)
        return _READERS[tool](path, min_score=lowest)
    except FileNotFoundError as fault:
        raise SkeletonError(
            "SKEL-001", "the key-point file is missing", file=path, mend="check the path"
        ) from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault


def _unknown(path: Path, text: str) -> SkeletonError:
    return SkeletonError("SKEL-060", text, file=path, mend=f"give {_FORMATS}")


def skeletons_of(
    keypoints: Keypoints, path: Path, layout: str | None = None
) -> Mapping[Space, Skeleton]:
    """Return the skeletons of key points under a layout.

    Joints that have the layout's names in another order are put into its order. People of a file
    that does not say who is who are told apart by where they are from frame to frame.

    Args:
        keypoints: What a reader found.
        path: The file, for messages.
        layout: Name of the layout; None for that of the tool, or the one that has these joints.

    Raises:
        SkeletonError: ``SKEL-004`` joint count, ``SKEL-008`` a value beyond a million, ``SKEL-010``
            no joint in any frame, ``SKEL-062`` joints of no known layout.
        UsageError: ``CFG-003`` unknown layout.
    """
    target = get_layout(layout) if layout is not None else _layout_of(keypoints, path)
    names = [_plain(name) for name in keypoints.joints]
    order = slice(None)
    if sorted(names) == sorted(target.joints):
        order = [names.index(name) for name in target.joints]  # type: ignore[assignment]
    found: dict[Space, Skeleton] = {}
    for space, positions in keypoints.positions.items():
        info = SkeletonInfo(layout=target.name, dimensions=positions.shape[-1])
        joints = check_positions(positions[:, :, order], info, file=path)
        if np.isnan(joints).all():
            raise SkeletonError(
                "SKEL-010", f"{space}: no joint in any of {joints.shape[1]} frames", file=path,
                mend="leave the clip out, lower --min-score, or give its video alone",
            )  # fmt: skip
        found[space] = Skeleton(joints, target.name, space)
    several = any(len(skeleton.positions) > 1 for skeleton in found.values())
    return people_of_slots(found) if several and not keypoints.tracked else found


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _layout_of(keypoints: Keypoints, path: Path) -> Layout:
    count = next(iter(keypoints.positions.values())).shape[2]
    names = {_plain(name) for name in keypoints.joints}
    if names:
        for layout in known_layouts().values():
            if names == set(layout.joints) and len(layout) == count:
                return layout
    if keypoints.layout is not None:
        return get_layout(keypoints.layout)
    fitting = [layout.name for layout in known_layouts().values() if len(layout) == count]
    called = f" ({listed(keypoints.joints)})" if keypoints.joints else ""
    mend = f"--layout {' or '.join(fitting)} if they are these, " if fitting else ""
    raise SkeletonError(
        "SKEL-062", f"{count} joints{called} are those of no known layout", file=path,
        mend=f"{mend}or declare them in a YAML file: --layout FILE.yaml (docs/concepts/layouts.md)",
    )  # fmt: skip


def read_joint_tree(
    path: Path, tool: str | None = None
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the joints that a file names and the bones between them, to declare a layout from.

    DeepLabCut's CSV names joints without bones; files of other tools may name neither.

    Raises:
        SkeletonError, UsageError, EnvironmentFault: As :func:`read_keypoints`.
    """
    job = KeypointJob(path, known_tool(tool), size=(1, 1))
    if path.suffix.lower() in HDF5:
        require_h5py(path)
        _, outcome = next(iter(read_many([job])))
    else:
        outcome = read_file(job)
    if isinstance(outcome, PoselensError):
        raise outcome
    return outcome.joints, outcome.edges


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width from ``WIDTHxHEIGHT``.

    Raises:
        UsageError: ``SKEL-063`` for anything else.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(
            "SKEL-063", f"--size {text!r} is no size", mend="write WIDTHxHEIGHT, such as 640x480"
        )
    return int(match[2]), int(match[1])
