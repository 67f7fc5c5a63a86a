"""Give a data set of videos its skeletons: estimate the joints of every clip."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.data.folder import ClipFolder
from poselens.data.info import Part, SkeletonInfo
from poselens.data.video import iterate_frames, probe
from poselens.data.writer import FolderWriter
from poselens.errors import InputError, UsageError
from poselens.pose.declared import declaration
from poselens.pose.estimators import PoseEstimator, estimate_clip
from poselens.types import Space

PARTS: tuple[Part, ...] = ("train", "val", "test")


def with_estimated_pose(
    folder: ClipFolder,
    out: Path,
    estimator: PoseEstimator,
    *,
    told: Callable[[int], None],
) -> list[str]:
    """Write a copy of a data set with joints in pixels; returns the clips it could not read.

    Videos are linked, not copied. A clip that cannot be read is kept without a skeleton and named.
    """
    own = declaration(estimator.layout)
    info = folder.info.model_copy(
        update={
            "layouts": {**folder.info.layouts, **({estimator.layout: own} if own else {})},
            "skeletons": {"pixels": SkeletonInfo(layout=estimator.layout, dimensions=2)},
            "video_roots": [*folder.info.video_roots, str(folder.root.resolve())],
        }
    )
    parts = _parts(folder)
    unread: list[str] = []
    with FolderWriter(out, info) as writer:
        for clip in range(len(folder)):
            record = folder.record(clip)
            path = folder.video_path(clip)
            joints: dict[Space, NDArray[np.float32]] = {}
            if path is not None and record.video is not None:
                target = writer.staging / record.video
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    os.symlink(path.resolve(), target)
                try:
                    first, frames = _span(path, record.start_s, record.end_s)
                    pictures = iterate_frames(path, first_frame=first, frames=frames)
                    joints = {"pixels": estimate_clip(estimator, pictures).positions}
                except (InputError, UsageError) as fault:
                    unread.append(f"{record.id}: {fault.code} {fault}")
            writer.add(record, parts[clip], joints)
            told(1)
    return unread


def _span(path: Path, start_s: float | None, end_s: float | None) -> tuple[int, int | None]:
    fps = probe(path).fps
    first = 0 if start_s is None else round(start_s * fps)
    return first, None if end_s is None else max(round(end_s * fps) - first, 1)


def _parts(folder: ClipFolder) -> list[dict[str, str]]:
    """Return each clip's part by protocol."""
    table: list[dict[str, str]] = [{} for _ in range(len(folder))]
    for protocol in folder.info.protocols:
        splits = folder.parts(protocol)
        for part in PARTS:
            for clip in np.flatnonzero(splits == part):
                table[int(clip)][protocol] = part
    return table
