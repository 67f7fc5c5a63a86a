"""Writing a data-set folder clip by clip; it appears complete or not at all."""

import contextlib
import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from poselens.data.disk import StagingFolder, write_flushed
from poselens.data.info import (
    COLUMN_NAMES,
    INFO_FILE,
    PARTS,
    ClipRecord,
    DatasetInfo,
    SkeletonInfo,
    check_info,
    nearest,
    write_info,
)
from poselens.data.store import SKELETON_FOLDER, array_path, check_positions, index_path
from poselens.data.table import (
    CLIPS_FILE,
    COLUMNS,
    RARE_COLUMNS,
    SPLIT_PREFIX,
    RareColumn,
    id_fault,
    leaves_folder,
    span_fault,
)
from poselens.errors import AnnotationError, disk_fault
from poselens.pose.layouts import get_layout
from poselens.types import Space

_HEADER_BYTES = 128


class FolderWriter:
    """A context manager that streams clips into a new data-set folder.

    Files are written into ``staging``, beside the target; a clean exit renames it, an error removes
    it. Videos, and anything else that belongs into the folder, are placed under ``staging``.

    Args:
        root: The data set to make.
        info: The content of its ``dataset.yaml``.
        columns: Which of ``session`` and ``event`` the clips come with.

    Raises:
        UsageError: ``DATA-020`` when the target exists and is not an empty folder.
        AnnotationError: ``DATA-003`` when ``info`` contradicts itself.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """

    def __init__(
        self,
        root: Path,
        info: DatasetInfo,
        *,
        columns: Sequence[RareColumn] = (),
    ) -> None:
        check_info(info, root / INFO_FILE)
        self._root = root
        self._info = info
        self._columns = tuple(columns)
        self._seen: set[str] = set()
        self._folder = StagingFolder(root)
        self.staging = self._folder.path
        try:
            if info.skeletons:
                (self.staging / SKELETON_FOLDER).mkdir()
            self._joints = {
                space: _JointFile(self.staging, space, skeleton)
                for space, skeleton in info.skeletons.items()
            }
            self._clips = (self.staging / CLIPS_FILE).open("w", newline="", encoding="utf-8")
            self._rows = csv.writer(self._clips, lineterminator="\n")
            self._rows.writerow(
                (*COLUMNS, *self._columns, *(SPLIT_PREFIX + name for name in info.protocols))
            )
        except OSError as fault:
            self._folder.discard()
            raise disk_fault(fault, root) from fault

    def __enter__(self) -> Self:
        return self

    def add(
        self,
        record: ClipRecord,
        splits: Mapping[str, str],
        skeletons: Mapping[Space, NDArray[np.floating]],
    ) -> None:
        """Add one clip.

        Args:
            record: The clip; its video, if any, is to lie under ``staging``.
            splits: Part by protocol; protocols not named leave the clip out.
            skeletons: ``(m, t, v, c)`` joints by space; infinite values count as missing.

        Raises:
            AnnotationError: ``DATA-005`` to ``DATA-009`` for a clip that could not be read again.
            SkeletonError: ``SKEL-004``, ``SKEL-005``, ``SKEL-008`` for unusable joints.
            EnvironmentFault: ``ENV-001`` to ``ENV-003``.
        """
        self._check(record, splits)
        joints = {
            space: self._joint_file(space, record.id).check(record.id, positions)
            for space, positions in skeletons.items()
        }
        label = "" if record.label < 0 else self._info.classes[record.label]
        numbers = (record.start_s, record.end_s, record.width, record.height)
        try:
            for space, positions in joints.items():
                self._joints[space].add(record.id, positions)
            self._rows.writerow(
                (
                    record.id, record.video or "", label,
                    record.subject, record.view, record.source,
                    *("" if number is None else number for number in numbers),
                    *(getattr(record, name) for name in self._columns),
                    *(splits.get(name, "") for name in self._info.protocols),
                )
            )  # fmt: skip
        except OSError as fault:
            raise disk_fault(fault, self._root) from fault
        self._seen.add(record.id)

    def rename(self, name: str) -> None:
        """Give the data set another name, where only the clips that came say what it is."""
        self._info = self._info.model_copy(update={"name": name})

    def _joint_file(self, space: Space, clip_id: str) -> "_JointFile":
        if space not in self._joints:
            raise AnnotationError(
                "DATA-003",
                f"joints in {space}, but the data set's skeletons are {list(self._joints)}",
                file=self._root,
                where=f"clip {clip_id!r}",
            )
        return self._joints[space]

    def _check(self, record: ClipRecord, splits: Mapping[str, str]) -> None:
        def refuse(code: str, message: str) -> AnnotationError:
            return AnnotationError(code, message, file=self._root, where=f"clip {record.id!r}")

        fault = id_fault(record.id) or span_fault(record.start_s, record.end_s)
        if fault:
            raise refuse("DATA-005", fault)
        given = {name: getattr(record, name) for name in COLUMN_NAMES}
        for name in RARE_COLUMNS:
            if given[name] and name not in self._columns:
                raise refuse("DATA-004", f"the clip has a {name}, the data set has no such column")
        for text in (record.video or "", *given.values()):
            if "\0" in text or text != text.encode(errors="replace").decode():
                raise refuse("DATA-005", f"{text!r} cannot be written as UTF-8 text")
        if record.id in self._seen:
            raise refuse("DATA-007", "the id is there twice")
        if not -1 <= record.label < len(self._info.classes):
            raise refuse(
                "DATA-006", f"label {record.label}, expected -1 to {len(self._info.classes) - 1}"
            )
        if record.video and leaves_folder(record.video):
            raise refuse("DATA-009", f"video {record.video!r} leads out of the data set's folder")
        for protocol, part in splits.items():
            if protocol not in self._info.protocols:
                guess = nearest(protocol, self._info.protocols)
                raise refuse("DATA-008", f"unknown protocol {protocol!r}{guess}")
            if part and part not in PARTS:
                raise refuse("DATA-008", f"part {part!r}, expected train, val, test or nothing")
            if part in ("train", "val") and record.label < 0:
                raise refuse("DATA-006", f"the clip has no label, but is in the {part} part")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            for joints in self._joints.values():
                joints.finish()
            self._clips.flush()
            os.fsync(self._clips.fileno())
            self._close()
            write_flushed(self.staging / INFO_FILE, write_info(self._info))
        except OSError as broken:
            self._abandon()
            raise disk_fault(broken, self._root) from broken
        self._folder.commit()

    def _abandon(self) -> None:
        # a full disk also fails the close; what is written is thrown away in any case
        with contextlib.suppress(OSError):
            self._close()
        self._folder.discard()

    def _close(self) -> None:
        with contextlib.ExitStack() as closing:
            closing.callback(self._clips.close)
            for joints in self._joints.values():
                closing.callback(joints.close)


class _JointFile:
    """An ``.npy`` file that grows row by row; its header is written last."""

    def __init__(self, root: Path, space: Space, info: SkeletonInfo) -> None:
        self._info = info
        self._index = index_path(root, space)
        self._file: IO[bytes] = array_path(root, space).open("wb")
        self._file.write(bytes(_HEADER_BYTES))
        self._rows = 0
        self._ids: list[str] = []
        self._numbers: list[tuple[int, int, int]] = []

    def check(self, clip_id: str, positions: NDArray[np.floating]) -> NDArray[np.float32]:
        return check_positions(positions, self._info, file=None, where=f"clip {clip_id!r}")

    def add(self, clip_id: str, joints: NDArray[np.float32]) -> None:
        people, frames = joints.shape[:2]
        self._file.write(joints.astype("<f4", copy=False).tobytes())
        self._ids.append(clip_id)
        self._numbers.append((self._rows, frames, people))
        self._rows += people * frames

    def finish(self) -> None:
        shape = (self._rows, len(get_layout(self._info.layout)), self._info.dimensions)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
        room = _HEADER_BYTES - 10
        self._file.seek(0)
        self._file.write(b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little"))
        self._file.write(text.ljust(room - 1) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        numbers = np.array(self._numbers, dtype=np.int64).reshape(-1, 3)
        with self._index.open("wb") as file:
            np.savez(
                file,
                ids=np.array(self._ids, dtype=np.str_),
                offset=numbers[:, 0],
                frames=numbers[:, 1],
                people=numbers[:, 2],
            )
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        self._file.close()
