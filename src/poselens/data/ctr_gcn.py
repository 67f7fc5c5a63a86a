"""Importer for the archives that CTR-GCN's preparation of NTU RGB+D writes (``NTU60_CS.npz``).

Form, from github.com/Uason-Chen/CTR-GCN: ``x_train``, ``x_test`` float32 (clips, frames, 150), a
row two people of 25 joints in metres, ended by zeros; ``y_train``, ``y_test`` one class per clip as
a row with one 1. There are no names: clips of CS and CSub are in the order of subjects, of CV of
cameras, of CSet of setups, and within those in the order of a list that the preparation leaves
beside the archive.
"""

import errno
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.data.arrays import (
    RATIO_FLOOR,
    RATIO_LIMIT,
    ArrayHeader,
    Refuse,
    read_data,
    read_header,
    require_regular_file,
)
from poselens.data.disk import require_free
from poselens.data.importing import ImportReport, require_clips
from poselens.data.info import (
    ClipRecord,
    DatasetInfo,
    Part,
    ProtocolInfo,
    SkeletonInfo,
    cannot_read,
)
from poselens.data.ntu_counts import compare, count_clips, title
from poselens.data.ntu_protocols import (
    NTU60,
    NTU120,
    VAL_SHARE,
    NtuName,
    NtuProtocol,
    NtuSet,
    official_missing,
    parted,
    protocol_info,
    read_name,
    read_names,
)
from poselens.data.ntu_skeleton import HEIGHT, JOINTS, LAYOUT, WIDTH
from poselens.data.skeleton_file import FRAME_LIMIT
from poselens.data.writer import FolderWriter
from poselens.errors import AnnotationError, PoselensError, SkeletonError, UsageError

ARCHIVE_LIMIT = 32 * 1024**3
"""Bytes that an archive may declare: that of NTU RGB+D 120 has 20.6 GB."""

NAMES_FILE = "skes_available_name.txt"
PROTOCOL = "ctr-gcn"
_DAMAGED = "not an .npz archive, or damaged"
_ROW = 2 * JOINTS * 3
_SETS = {60: NTU60, 120: NTU120}
_HALVES = ("train", "test")
_ENDINGS = {"subjects": ("_CS", "_CSub"), "cameras": ("_CV",), "setups": ("_CSet",)}
"""How the names of archives end, by what differs between train and test."""


def import_ctr_gcn(
    src: Path,
    out: Path,
    *,
    names: Path | None = None,
    told: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import ``NTU60_CS.npz``, ``NTU60_CV.npz``, ``NTU120_CSub.npz`` or ``NTU120_CSet.npz``.

    With ``names``, the folder ``statistics`` of that preparation, clips have their names, subjects,
    cameras and setups, and the protocols of ``import_ntu60`` or ``import_ntu120``: the order is
    rebuilt, and every clip's class has to agree with its name. Without, clips are ``train-000001``
    and so on, and the protocol ``ctr-gcn`` is the archive's own halves; its last 8 % of train
    validate, which share at most one subject with the rest of train in CS and CSub, and most in
    the others.

    Joints stay as the archive has them: moved so that the middle of the spine of the first frame is
    the origin, and without the frames in which nobody was seen, so they do not run with the video.
    A joint that the sensor missed cannot be told from others any more. Frames of zeros at the end
    are cut off; a person of zeros in a frame is missing there. Person 2 is absent where it is zero
    throughout, or a copy of person 1, as the preparation of NTU RGB+D 120 makes it for one person.

    Clips are read one by one: the archive, of many gigabytes, is never held.

    Args:
        src: The archive.
        out: Data set folder to write.
        names: Folder with ``skes_available_name.txt``, or that file.
        told: Called after every clip.

    Raises:
        UsageError: ``DATA-001`` no such file, ``DATA-020`` the output is in use.
        AnnotationError: ``DATA-012`` not such an archive, damaged, or nothing in it to import;
            ``DATA-031`` no list of names; ``DATA-032`` names and archive contradict each other.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    if not src.is_file():
        found = "is not a file" if src.exists() else "does not exist"
        raise UsageError("DATA-001", f"the archive {found}", file=src.absolute())
    require_free(out)
    report = ImportReport()
    with _opened(src) as archive:
        halves = archive.halves()
        ntu = _SETS[archive.classes]
        labels = np.concatenate([half.labels for half in halves])
        plan = _nameless(ntu, halves) if names is None else _named(names, ntu, halves, src)
        columns = () if names is None else ("session",)
        with FolderWriter(out, plan.info, columns=columns) as writer:  # type: ignore[arg-type]
            kept: list[int] = []
            for place, rows in enumerate(archive.clips(halves)):
                record = plan.records[place]
                positions = to_people(rows)
                if positions is None:
                    report.skip("SKEL-010", record.id, "no joint in any frame")
                else:
                    splits = {name: parts[place] for name, parts in plan.parts.items()}
                    try:
                        writer.add(record, splits, {"metres": positions})
                    except SkeletonError as fault:
                        report.skip_fault(fault, record.id)
                    else:
                        kept.append(place)
                if told is not None:
                    told(place + 1, len(labels))
            require_clips(len(kept), src, report)
            report.imported = len(kept)
            if plan.names is None:
                writer.rename(f"{ntu.title} ({len(kept):,} clips of {src.name})")
            else:
                imported = [plan.names[place] for place in kept]
                report.counts |= count_clips(imported, ntu)
                report.notes += compare(imported, ntu, official_missing(ntu))
                writer.rename(title(imported, ntu))
            report.write(writer.staging)
    return report


def to_people(rows: Float[np.ndarray, "t 150"]) -> Float[np.ndarray, "m t v 3"] | None:
    """Return the one or two people of a clip; None where nobody is in any frame.

    Departure: the published reader resizes the frames from the first to the last that are not zero;
    here those after the last are cut off, and the others stay.
    """
    seen = np.flatnonzero((rows != 0).any(axis=1))
    if not len(seen):
        return None
    joints = rows[: seen[-1] + 1].reshape(-1, 2, JOINTS, 3).transpose(1, 0, 2, 3)
    absent = (joints == 0).all(axis=(2, 3))
    people = joints.copy()
    people[absent] = np.nan
    alone = absent[1].all() or np.array_equal(joints[0], joints[1])
    if alone:
        people = people[:1]
    return None if np.isnan(people).all() else people


@dataclass(frozen=True, eq=False)
class _Half:
    """The clips of train or test: their classes, and what their array says of itself."""

    name: str
    labels: Int[np.ndarray, " n"]
    frames: int


@dataclass(frozen=True, eq=False)
class _Plan:
    """What the clips are called and how they are parted."""

    info: DatasetInfo
    records: Sequence[ClipRecord]
    parts: dict[str, Sequence[Part]]
    names: Sequence[NtuName] | None


def _plan(
    ntu: NtuSet,
    records: Sequence[ClipRecord],
    protocols: dict[str, ProtocolInfo],
    parts: dict[str, Sequence[Part]],
    names: Sequence[NtuName] | None,
) -> _Plan:
    info = DatasetInfo(
        name=ntu.title,
        classes=list(ntu.classes),
        skeletons={"metres": SkeletonInfo(layout=LAYOUT, dimensions=3)},
        protocols=protocols,
        mirror="same",
        source=f"{ntu.source}; as CTR-GCN prepares it: moved to the middle of the spine of the "
        "first frame, frames without a body left out",
        licence="academic use, on request from the ROSE Lab; cite it",
        fps=30.0,
    )
    return _Plan(info, records, parts, names)


def _nameless(ntu: NtuSet, halves: Sequence[_Half]) -> _Plan:
    records: list[ClipRecord] = []
    parts: list[Part] = []
    for half in halves:
        count = len(half.labels)
        held = round(VAL_SHARE * count) if half.name == "train" else 0
        parts += ["test"] * count if half.name == "test" else ["train"] * (count - held)
        parts += ["val"] * held
        records += [
            ClipRecord(f"{half.name}-{number:06d}", label=int(label))
            for number, label in enumerate(half.labels, start=1)
        ]
    described = ProtocolInfo(
        description=f"the archive's own train (of it the last {100 * VAL_SHARE:.0f} % validation) "
        "and test; it does not say which protocol this is, nor who acts in which clip",
        chance=1 / len(ntu.classes),
    )
    return _plan(ntu, records, {PROTOCOL: described}, {PROTOCOL: parts}, None)


def _named(folder: Path, ntu: NtuSet, halves: Sequence[_Half], archive: Path) -> _Plan:
    path = folder / NAMES_FILE if folder.is_dir() else folder
    found = [read_name(text, ntu) for text in read_names(path, ntu)]
    known = [name for name in found if name is not None]
    names = _in_order(known, ntu, halves, path, archive.stem)
    records = [name.record(video=None, width=WIDTH, height=HEIGHT) for name in names]
    parts = {protocol.name: parted(names, protocol) for protocol in ntu.protocols}
    described = {
        protocol.name: protocol_info(protocol, names, parts[protocol.name], 1 / len(ntu.classes))
        for protocol in ntu.protocols
    }
    return _plan(ntu, records, described, dict(parts), names)


def _in_order(
    names: Sequence[NtuName], ntu: NtuSet, halves: Sequence[_Half], path: Path, stem: str
) -> list[NtuName]:
    """Put names into the order of the archive: that protocol's whose counts and classes agree.

    Clips of train come by rising subject, camera or setup, those of one in the order of the list;
    then those of test in the same way. Where both orders agree, which the whole data set excludes,
    the archive's own name decides.

    Raises:
        AnnotationError: ``DATA-032`` when none does, with the first clip that differs, or both do.
    """
    fitting: list[list[NtuName]] = []
    reasons = []
    for protocol in ntu.protocols:
        ordered = [_sorted(names, protocol, train=half.name == "train") for half in halves]
        reason = _disagreement(ordered, halves)
        if reason is None:
            fitting.append([name for half in ordered for name in half])
            if len(fitting) == 1 or stem.endswith(_ENDINGS[protocol.axis]):
                chosen = fitting[-1]
        else:
            reasons.append(f"{protocol.name}: {reason}")
    ends = tuple(end for ends in _ENDINGS.values() for end in ends)
    if len(fitting) == 1 or (fitting and stem.endswith(ends)):
        return chosen
    if fitting:
        reasons = ["they fit the order of both protocols; name the archive NTU60_CS or NTU60_CV"]
    raise AnnotationError(
        "DATA-032", f"the names are not those of the archive ({'; '.join(reasons)})", file=path,
        mend="give the statistics folder that the archive was made with, or leave --names out",
    )  # fmt: skip


def _sorted(names: Sequence[NtuName], protocol: NtuProtocol, *, train: bool) -> list[NtuName]:
    return sorted(
        (name for name in names if protocol.is_train(name) == train), key=protocol.value
    )  # fmt: skip


def _disagreement(ordered: Sequence[Sequence[NtuName]], halves: Sequence[_Half]) -> str | None:
    for names, half in zip(ordered, halves, strict=True):
        if len(names) != len(half.labels):
            return f"{len(names)} names of {half.name}, but {len(half.labels)} clips"
        wrong = np.flatnonzero(np.array([name.label for name in names]) != half.labels)
        if len(wrong):
            first = int(wrong[0])
            return (
                f"clip {first + 1} of {half.name} has class {half.labels[first] + 1}, but is named "
                f"{names[first].text}"
            )
    return None


class _Archive:
    """An opened archive, read forwards, an array at a time."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self.classes = 0

    def halves(self) -> list[_Half]:
        """Read the classes, and compare them with what the arrays of joints say of themselves."""
        halves = []
        for name in _HALVES:
            classes = self._classes(name)
            refuse = _refusing(self._path, f"array y_{name}")
            if self.classes not in (0, classes.shape[1]):
                raise refuse(f"{classes.shape[1]} classes, but {self.classes} in train")
            self.classes = classes.shape[1]
            with self._member(f"x_{name}") as (_, header, _):
                shape = header.shape
            if shape[0] != len(classes):
                raise refuse(f"classes of {len(classes)} clips, but joints of {shape[0]}")
            halves.append(_Half(name, classes.argmax(axis=1), shape[1]))
        return halves

    def _classes(self, half: str) -> NDArray[Any]:
        refuse = _refusing(self._path, f"array y_{half}")
        with self._member(f"y_{half}") as (stream, header, present):
            if len(header.shape) != 2 or header.shape[1] not in _SETS:
                raise refuse(f"found {header.shape}, expected (clips, 60) or (clips, 120)")
            classes = read_data(stream, header, present, refuse)
        if classes.dtype.kind not in "fiu" or not (
            ((classes == 0) | (classes == 1)).all() and (classes.sum(axis=1) == 1).all()
        ):
            raise refuse("not one class for every clip")
        return classes

    def clips(self, halves: Sequence[_Half]) -> Iterator[Float[np.ndarray, "t 150"]]:
        """Yield the rows of every clip, in the order of the archive."""
        for half in halves:
            with self._member(f"x_{half.name}") as (stream, header, _):
                size = half.frames * _ROW * header.dtype.itemsize
                for number in range(1, len(half.labels) + 1):
                    data = stream.read(size)
                    if len(data) != size:
                        where = f"array x_{half.name}, clip {number}"
                        raise _refusing(self._path, where)("the array ends here")
                    yield np.frombuffer(data, dtype=header.dtype).reshape(half.frames, _ROW)
                # at its end the archive's checksum is compared
                stream.read(1)

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[Any, ArrayHeader, int]]:
        """Open an array at its first number, its header checked against the archive's directory."""
        refuse = _refusing(self._path, f"array {name}")
        try:
            member = self._archive.getinfo(f"{name}.npy")
        except KeyError as fault:
            raise refuse("the array is missing") from fault
        encrypted = member.flag_bits & 1
        if encrypted or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse("encrypted, or compressed in an unsupported way")
        try:
            opened = self._archive.open(member)
        except (ValueError, RuntimeError) as fault:
            # a member's own heading that is not what the directory says
            raise refuse(_DAMAGED) from fault
        with opened as stream:
            header = read_header(stream, refuse)
            present = member.file_size - header.offset
            if header.bytes != present:
                raise refuse(f"claims {header.bytes} bytes of data, found {present}")
            if name.startswith("x"):
                _check_shape(header, refuse)
            yield stream, header, member.file_size


def _check_shape(header: ArrayHeader, refuse: Refuse) -> None:
    shape = header.shape
    fits = len(shape) == 3 and 1 <= shape[1] <= FRAME_LIMIT and shape[2] == _ROW
    if not fits or header.dtype.kind != "f" or header.column_major:
        raise refuse(
            f"found {header.dtype} {shape}, expected float32 (clips, frames, {_ROW}) of at most "
            f"{FRAME_LIMIT} frames"
        )


def _refusing(path: Path, where: str | None = None) -> Refuse:
    def refuse(text: str) -> PoselensError:
        return AnnotationError(
            "DATA-012", text, file=path, where=where,
            mend="give an archive of CTR-GCN's preparation, or copy it again",
        )  # fmt: skip

    return refuse


@contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    """Open an archive within limits, and give what is wrong with its bytes a name."""
    refuse = _refusing(path)
    try:
        size = require_regular_file(path, refuse)
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            declared = sum(member.file_size for member in members)
            if declared > ARCHIVE_LIMIT:
                raise refuse(f"declares {declared} bytes, the limit is {ARCHIVE_LIMIT}")
            if declared > RATIO_FLOOR and declared > RATIO_LIMIT * size:
                raise refuse(
                    f"unpacks to {declared // size} times its size, the limit is {RATIO_LIMIT}"
                )
            if len({member.filename for member in members}) != len(members):
                raise refuse("two members of the archive have one name")
            yield _Archive(archive, path)
    except (
        zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OverflowError,
        UnicodeDecodeError,
    ) as fault:  # fmt: skip
        raise refuse(_DAMAGED) from fault
    except OSError as fault:
        if fault.errno == errno.EINVAL:
            raise refuse(_DAMAGED) from fault
        raise cannot_read(fault, path) from fault
