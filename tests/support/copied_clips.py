"""Skeleton data sets of noise, in which some clips are copies of others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from poselens.data.folder import ClipFolder, open_folder
from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.writer import FolderWriter

TEN = [f"class {number}" for number in range(10)]


def write(
    root: Path,
    splits: Sequence[str],
    *,
    classes: Sequence[str] = TEN,
    names: Sequence[str] = ("nw-ucla",),
    copies: Sequence[tuple[int, int]] = (),
) -> ClipFolder:
    """A skeleton data set; clips of ``copies`` have the joints of the clip they are paired with."""
    info = DatasetInfo(
        name="made up",
        classes=classes,
        skeletons={"metres": SkeletonInfo(layout="coco-17", dimensions=3)},
        protocols={name: ProtocolInfo(description="by clip") for name in names},
    )
    draw = np.random.default_rng(0)
    joints = [draw.normal(0, 1, (1, 4, 17, 3)).astype(np.float32) for _ in splits]
    for clip, of in copies:
        joints[clip] = joints[of]
    with FolderWriter(root, info) as writer:
        for clip, part in enumerate(splits):
            record = ClipRecord(f"c{clip:03d}", None, clip % len(classes))
            writer.add(record, dict.fromkeys(names, part), {"metres": joints[clip]})
    return open_folder(root)


def copied_folder(root: Path) -> ClipFolder:
    """Five test clips, of which one is a copy of a training clip and one of a validation clip."""
    splits = ["train"] * 3 + ["val"] * 2 + ["test"] * 5
    return write(root, splits, copies=[(5, 0), (7, 4), (9, 8)])
