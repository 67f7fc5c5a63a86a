"""Importer for the archives that CTR-GCN's preparation of NTU RGB+D writes (``NTU60_CS.npz``).

Form, from github.com/Uason-Chen/CTR-GCN: ``x_train``, ``x_test`` float32 (clips, frames, 150), a
row two people of 25 joints in metres, ended by zeros; ``y_train``, ``y_test`` one class per clip as
a row with one 1. There are no names: clips of CS and CSub are in the order of subjects, of CV of
cameras, of CSet of setups, and within those in the order of a list that the preparation leaves
beside the archive.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from poselens.data.ctr_gcn_archive import Half, open_archive
from poselens.data.disk import require_free
from poselens.data.importing import ImportReport, require_clips
from poselens.data.info import (
    ClipRecord,
    DatasetInfo,
    Part,
    ProtocolInfo,
    SkeletonInfo,
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
from poselens.data.table import RareColumn
from poselens.data.writer import FolderWriter
from poselens.errors import AnnotationError, SkeletonError, UsageError

NAMES_FILE = "skes_available_name.txt"
PROTOCOL = "ctr-gcn"
_SETS = {60: NTU60, 120: NTU120}
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
    with open_archive(src) as archive:
        halves = archive.halves()
        ntu = _SETS[archive.classes]
        plan = _nameless(ntu, halves) if names is None else _named(names, ntu, halves, src)
        columns: tuple[RareColumn, ...] = () if names is None else ("session",)
        with FolderWriter(out, plan.info, columns=columns) as writer:
            kept = _write(writer, plan, archive.clips(halves), report, told)
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


def _write(
    writer: FolderWriter,
    plan: "_Plan",
    clips: Iterable[Float[np.ndarray, "t 150"]],
    report: ImportReport,
    told: Callable[[int, int], None] | None,
) -> list[int]:
    """Write the clips that somebody is in, and return their places."""
    kept = []
    for place, (record, rows) in enumerate(zip(plan.records, clips, strict=True)):
        positions = to_people(rows)
        splits = {name: parts[place] for name, parts in plan.parts.items()}
        try:
            if positions is None:
                raise SkeletonError("SKEL-010", "no joint in any frame")
            writer.add(record, splits, {"metres": positions})
        except SkeletonError as fault:
            report.skip_fault(fault, record.id)
        else:
            kept.append(place)
        if told is not None:
            told(place + 1, len(plan.records))
    return kept


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


def _nameless(ntu: NtuSet, halves: Sequence[Half]) -> _Plan:
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


def _named(folder: Path, ntu: NtuSet, halves: Sequence[Half], archive: Path) -> _Plan:
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
    names: Sequence[NtuName], ntu: NtuSet, halves: Sequence[Half], path: Path, stem: str
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


def _disagreement(ordered: Sequence[Sequence[NtuName]], halves: Sequence[Half]) -> str | None:
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
