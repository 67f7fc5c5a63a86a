"""A data set is a folder: ``dataset.yaml``, ``clips.csv``, videos, and mapped skeletons."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.data.info import (
    PARTS,
    ClipRecord,
    Column,
    DatasetInfo,
    ProtocolInfo,
    nearest,
    read_info,
)
from poselens.data.store import JointPlace, SkeletonStore, open_store
from poselens.data.table import CLIPS_FILE, ClipTable, read_clips
from poselens.errors import AnnotationError, UsageError
from poselens.types import Skeleton, Space


class ClipFolder:
    """An opened data set.

    Everything about the clips lies in arrays and the skeletons are mapped from the disk, so that
    100,000 clips open in seconds and in little memory. Pickling keeps the path alone: a data worker
    opens the folder again.

    Attributes:
        root: The folder.
        info: The content of ``dataset.yaml``.
        ids: Clip ids.
        labels: Class indices, -1 where unknown.
    """

    def __init__(
        self, root: Path, info: DatasetInfo, table: ClipTable, stores: dict[Space, SkeletonStore]
    ) -> None:
        self.root = root
        self.info = info
        self.ids: NDArray[np.str_] = table.ids
        self.labels: NDArray[np.int64] = table.labels
        self._table = table
        self._stores = stores
        self._order: NDArray[np.int64] | None = None
        self._fingerprint: str | None = None
        self._joints_digest: bytes | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return (open_folder, (self.root,))

    def __len__(self) -> int:
        return len(self.ids)

    def record(self, i: int) -> ClipRecord:
        """Return the row of clip ``i``."""
        table = self._table
        start_s, end_s = (None if np.isnan(time) else float(time) for time in table.times[:, i])
        width, height = (int(size) or None for size in table.sizes[:, i])
        return ClipRecord(
            id=str(self.ids[i]),
            video=table.texts["video"][i] or None,
            label=int(self.labels[i]),
            subject=table.texts["subject"][i],
            view=table.texts["view"][i],
            source=table.texts["source"][i],
            start_s=start_s,
            end_s=end_s,
            width=width,
            height=height,
            session=table.texts["session"][i],
            event=table.texts["event"][i],
        )

    def column(self, name: Column) -> NDArray[np.str_]:
        """Return ``subject``, ``view``, ``source``, ``session`` or ``event`` of every clip."""
        return np.array(list(self._table.texts[name]), dtype=np.str_)

    def coded(self, name: Column | Literal["video"]) -> tuple[Int[np.ndarray, " n"], list[str]]:
        """Return one column as a number per clip, -1 where unknown, and the distinct values."""
        return self._table.texts[name].coded()

    def spans(self) -> Float[np.ndarray, "2 n"]:
        """Return start and end of every clip in its video, in seconds; NaN where not given."""
        return self._table.times

    def sizes(self) -> Int[np.ndarray, "2 n"]:
        """Return width and height of every clip's picture; 0 where not given."""
        return self._table.sizes

    def indices(
        self, protocol: str, part: Literal["train", "val", "test", "train+val"]
    ) -> Int[np.ndarray, " n"]:
        """Return the clips of one part of a protocol, in the order of ``clips.csv``.

        Raises:
            UsageError: ``CFG-004`` for an unknown protocol.
            AnnotationError: ``DATA-010`` when the part is empty.
        """
        wanted = [PARTS.index(name) + 1 for name in PARTS if name in part.split("+")]
        found = np.flatnonzero(np.isin(self._split(protocol), wanted))
        if len(found) == 0:
            raise AnnotationError(
                "DATA-010",
                f"no clip is in the {part} part of {protocol!r}",
                file=self.root / CLIPS_FILE,
                mend=f"fill the column split:{protocol}",
            )
        return found

    def _split(self, protocol: str) -> NDArray[np.int8]:
        splits = self._table.splits
        if protocol not in splits:
            raise UsageError(
                "CFG-004",
                f"unknown protocol {protocol!r}{nearest(protocol, splits)}",
                file=self.root,
                mend=f"use one of {', '.join(splits)}" if splits else "add one to dataset.yaml",
            )
        return splits[protocol]

    def parts(self, protocol: str) -> NDArray[np.str_]:
        """Return ``train``, ``val``, ``test`` or nothing for every clip.

        Raises:
            UsageError: ``CFG-004`` for an unknown protocol.
        """
        return np.array(["", *PARTS])[self._split(protocol)]

    def with_split(self, name: str, about: ProtocolInfo, parts: Sequence[str]) -> "ClipFolder":
        """Return this data set with one more protocol, or another one of this name, unwritten."""
        code = {"": 0} | {part: place for place, part in enumerate(PARTS, start=1)}
        column = np.array([code[part] for part in parts], np.int8)
        table = replace(self._table, splits={**self._table.splits, name: column})
        info = self.info.model_copy(update={"protocols": {**self.info.protocols, name: about}})
        return ClipFolder(self.root, info, table, self._stores)

    def skeleton(self, i: int, space: Space) -> Skeleton | None:
        """Return the joints of clip ``i``, or None where none are stored in ``space``."""
        store = self._stores.get(space)
        positions = None if store is None else store.positions(i)
        if positions is None:
            return None
        return Skeleton(positions, self.info.skeletons[space].layout, space)

    def joint_place(self, i: int, space: Space) -> JointPlace | None:
        """Return where the joints of clip ``i`` lie, or None where none are stored in ``space``."""
        store = self._stores.get(space)
        return None if store is None else store.place(i)

    def video_path(self, i: int) -> Path | None:
        """Return where the video of clip ``i`` lies, or None for a clip without one.

        Raises:
            AnnotationError: ``DATA-009`` when a symbolic link leads out of the folder and out of
                the ``video_roots`` of dataset.yaml.
        """
        video = self._table.texts["video"][i]
        if not video:
            return None
        path = self.root / video
        real = path.resolve()
        allowed = [self.root.resolve(), *(Path(root).resolve() for root in self.info.video_roots)]
        if not any(real.is_relative_to(folder) for folder in allowed):
            raise AnnotationError(
                "DATA-009",
                f"video {video!r} is a link out of the data set's folder",
                file=self.root / CLIPS_FILE,
                where=f"clip {self.ids[i]}",
                mend="copy the video into the folder, or list its folder under video_roots",
            )
        return path

    def index_of(self, clip_id: str) -> int:
        """Return the position of a clip.

        Raises:
            UsageError: ``DATA-013`` for an unknown id.
        """
        if self._order is None:
            self._order = np.argsort(self.ids)
        place = int(np.searchsorted(self.ids, clip_id, sorter=self._order))
        if place < len(self) and self.ids[self._order[place]] == clip_id:
            return int(self._order[place])
        raise UsageError(
            "DATA-013", f"no clip has the id {clip_id!r}{nearest(clip_id, self.ids)}",
            file=self.root,
        )  # fmt: skip

    def fingerprint(self) -> str:
        """Return a SHA-256 of the description, the clips and the joints, the same anywhere.

        Comments in dataset.yaml, ``video_roots`` (paths of one machine), ``shares`` (what is told
        about a split, not the split), file dates and the bytes of the videos do not count. Computed
        once per opened folder.
        """
        if self._fingerprint is None:
            said = self.info.model_dump(
                mode="json", exclude={"video_roots": True, "protocols": {"__all__": {"shares"}}}
            )
            # a key that came with a later version does not change data sets that do not use it
            for later in ("hierarchy", "layouts"):
                if not said[later]:
                    del said[later]
            digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
            with (self.root / CLIPS_FILE).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            digest.update(self._joints())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def clips_fingerprint(self) -> str:
        """Return a SHA-256 of which clips there are, and of their joints: the same for any split.

        Ids, videos and times count; labels, people, and all that the fingerprint leaves out do not.
        """
        digest = hashlib.sha256("\n".join(self.ids.tolist()).encode())
        digest.update("\n".join(self._table.texts["video"]).encode())
        digest.update(self._table.times.astype("<f8").tobytes() + self._joints())
        return digest.hexdigest()

    def _joints(self) -> bytes:
        if self._joints_digest is None:
            self._joints_digest = b"".join(
                space.encode() + self._stores[space].digest() for space in sorted(self._stores)
            )
        return self._joints_digest


def open_folder(root: Path) -> ClipFolder:
    """Open a data set and check all that can be checked without touching its videos.

    Raises:
        UsageError: ``DATA-001`` when the folder is missing or is none.
        AnnotationError: ``DATA-002`` to ``DATA-011``, see ``read_info``, ``read_clips`` and
            ``open_store``.
        SkeletonError: ``SKEL-004`` when joints do not fit their layout.
    """
    if not root.is_dir():
        found = "is not a folder" if root.exists() else "does not exist"
        raise UsageError("DATA-001", f"the data set {found}", file=root.absolute())
    info = read_info(root)
    table = read_clips(root, info)
    stores = {
        space: open_store(root, space, skeleton, table.ids)
        for space, skeleton in info.skeletons.items()
    }
    return ClipFolder(root, info, table, stores)
