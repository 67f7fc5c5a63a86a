"""Importer for Bandai-Namco-Research-Motiondataset-2 as joint positions: 10 contents, 7 styles."""

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.data.disk import require_free
from poselens.data.importing import ImportReport, read_recordings, require_clips, require_source
from poselens.data.info import (
    ClipRecord,
    DatasetInfo,
    Part,
    ProtocolInfo,
    SkeletonInfo,
)
from poselens.data.writer import FolderWriter
from poselens.errors import AnnotationError, PoselensError, UsageError

CONTENTS = (
    "raise-up-both-hands", "raise-up-left-hand", "raise-up-right-hand", "run", "walk",
    "walk-turn-left", "walk-turn-right", "wave-both-hands", "wave-left-hand", "wave-right-hand",
)  # fmt: skip
STYLES = ("active", "elderly", "exhausted", "feminine", "masculine", "normal", "youthful")
CLASSES = tuple(f"{content}_{style}" for content, style in product(CONTENTS, STYLES))
JOINTS = (
    "joint_Root", "Hips", "Spine", "Chest", "Neck", "Head",
    "Shoulder_L", "UpperArm_L", "LowerArm_L", "Hand_L",
    "Shoulder_R", "UpperArm_R", "LowerArm_R", "Hand_R",
    "UpperLeg_L", "LowerLeg_L", "Foot_L", "Toes_L",
    "UpperLeg_R", "LowerLeg_R", "Foot_R", "Toes_R",
)  # fmt: skip
PROTOCOL = "bandai2"
FILE_NAME = "bandai2_joints.npz"
TRAIN_SHARE, VAL_SHARE = 0.60, 0.15
GAP = 1
"""Takes left out at each border between parts."""
BLOCK = 5
"""Most neighbouring takes that share a ``source``."""
_TAKE = re.compile(r"[^_]+_([^_]+)_([^_]+)_([0-9]{1,9})")


def import_bandai2(src: Path, out: Path) -> ImportReport:
    """Import ``bandai2_joints.npz``; ``src`` is that file or the folder it lies in.

    The archive holds ``names`` (``SET_CONTENT_STYLE_NUMBER``), ``lengths``, ``joints`` (22 names)
    and ``xyz`` ``(frames of all takes, 22, 3)`` in centimetres, y up, 30 frames a second. Its half
    precision knows a joint to 0.25 cm from 2.56 m to 5.12 m from the origin. A class is content and
    style: 70. A mirrored take changes the content where its name says left or right
    (``walk-turn-left_active`` becomes ``walk-turn-right_active``) and keeps its class elsewhere: a
    style names no side.

    Departure: the data set has neither subjects nor a protocol. Each class is cut, in the order of
    its takes, into the first 60 % for training, the next 15 % for validation and the last 25 % for
    test. Takes were cut from longer recordings: every second one begins in the pose, within 4 cm,
    in which the one before it ends. So one take is left out at each border. All takes share one
    body; accuracy says nothing about new people (``docs/decisions/0009-bandai2-split.md``).

    Raises:
        UsageError: ``DATA-001`` no such file or folder, ``DATA-020`` the output is in use or lies
            in the source.
        AnnotationError: ``DATA-012`` when the archive is missing, damaged, contradicts itself, or
            nothing is left to import.
        SkeletonError: ``SKEL-005`` when joints are not (rows, 22, 3).
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    path = _archive(src, out)
    names, joints_metres = _read_takes(path)
    report = ImportReport()
    known = []
    for row, name in enumerate(names):
        match = _TAKE.fullmatch(name)
        if match is None or f"{match[1]}_{match[2]}" not in CLASSES:
            report.skip("DATA-021", name, "the name is not SET_CONTENT_STYLE_NUMBER of this set")
        else:
            known.append((CLASSES.index(f"{match[1]}_{match[2]}"), int(match[3]), row))
    known.sort()
    labels = np.array([label for label, _, _ in known], dtype=np.int64)
    parts, blocks = parted(labels)
    with FolderWriter(out, _info()) as writer:
        for (label, _, row), part, block in zip(known, parts, blocks, strict=True):
            record = ClipRecord(
                id=names[row].partition("_")[2],
                label=label,
                source=f"{CLASSES[label]}_{block:02d}",
            )
            splits = {} if part is None else {PROTOCOL: part}
            try:
                writer.add(record, splits, {"metres": joints_metres[row][None]})
            except PoselensError as fault:
                report.skip_fault(fault, names[row])
                continue
            report.imported += 1
        require_clips(report.imported, path, report)
        report.write(writer.staging)
    return report


def parted(labels: NDArray[np.int64]) -> tuple[list[Part | None], list[int]]:
    """Return the part of each take, None where it is left out, and its block within its class.

    Takes of a class come in the order of their numbers. A block is a run of up to five takes of one
    part, which share a ``source``.
    """
    parts: list[Part | None] = [None] * len(labels)
    blocks = [0] * len(labels)
    for label in np.unique(labels):
        takes = np.flatnonzero(labels == label).tolist()
        ends = [round(share * len(takes)) for share in (TRAIN_SHARE, TRAIN_SHARE + VAL_SHARE)]
        pieces: list[tuple[Part | None, Sequence[int]]] = [
            ("train", takes[: ends[0]]),
            (None, takes[ends[0] : ends[0] + GAP]),
            ("val", takes[ends[0] + GAP : ends[1]]),
            (None, takes[ends[1] : ends[1] + GAP]),
            ("test", takes[ends[1] + GAP :]),
        ]
        block = -1
        for part, piece in pieces:
            for position, take in enumerate(piece):
                block += position % BLOCK == 0
                parts[take], blocks[take] = part, block
    return parts, blocks


def _archive(src: Path, out: Path) -> Path:
    if not src.is_file():
        require_source(src, out)
        return src / FILE_NAME
    if out.resolve() == src.resolve():
        raise UsageError(
            "DATA-020", "the output lies inside the source", file=out, mend="choose another --out"
        )
    require_free(out)
    return src


def _info() -> DatasetInfo:
    mirror = {name: _other_side(name) for name in CLASSES}
    return DatasetInfo(
        name="Bandai-Namco-2",
        classes=list(CLASSES),
        skeletons={"metres": SkeletonInfo(layout="bandai-22", dimensions=3)},
        protocols={
            PROTOCOL: ProtocolInfo(
                description="of each class the first 60 % of takes train, the next 15 % validate, "
                "the last 25 % test; one take left out at each border; one body throughout",
                group="source",
                chance=1 / len(CLASSES),
            )
        },
        mirror=mirror,
        source="Bandai-Namco-Research-Motiondataset-2, Bandai Namco Research Inc.",
        licence="CC BY-NC 4.0",
        fps=30.0,
    )


def _other_side(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    content, _, style = name.partition("_")
    return "-".join(swap.get(word, word) for word in content.split("-")) + f"_{style}"


def _read_takes(path: Path) -> tuple[list[str], list[NDArray[np.float32]]]:
    """Return the names of the takes and the joints of each in metres."""
    names, takes, arrays = read_recordings(path, (len(JOINTS), 3), more=["joints"])
    if tuple(arrays["joints"].tolist()) != JOINTS:
        raise AnnotationError(
            "DATA-012",
            "the joints are not those of bandai-22, or in another order",
            file=path,
            mend="check the source folder",
        )
    return names, [take.astype(np.float32) / np.float32(100) for take in takes]
