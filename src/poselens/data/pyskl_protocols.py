"""From the splits of an annotation pickle to protocols: test, validation, and what parts share."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from poselens.data.importing import ImportReport
from poselens.data.info import ClipRecord, Column, Part, ProtocolInfo
from poselens.data.pyskl_file import AnnotationFile
from poselens.data.pyskl_names import RANDOM, NamedSplit, Naming, assign, named_splits
from poselens.data.splits import carve
from poselens.errors import UsageError

VAL_SHARE = 0.08
"""Share of every class of train that the validation slice is carved out to hold."""

_CARVED_BY: Mapping[str, tuple[Column, ...]] = {"ntu": ("subject",), "gym": ("source", "event")}
GYM_SHARED: Mapping[Column, str] = {
    "source": "the official split is by element, not by recording",
    "event": "the official split is by element: of one routine some are in train, some in test",
}
"""Why the parts of FineGym share recordings and routines."""

_NTU_SHARED: Mapping[str, Mapping[Column, str]] = {
    "view": {
        "subject": "the protocol is across cameras: the same people are in train and test",
        "source": "three cameras film every performance, and the protocol parts them",
    },
    "session": {"subject": "the protocol is across setups, and people took part in several"},
}


def protocols_of(
    file: AnnotationFile,
    records: Sequence[ClipRecord],
    naming: Naming,
    classes: int,
    src: Path,
    report: ImportReport,
) -> tuple[dict[str, ProtocolInfo], dict[str, dict[str, Part]]]:
    """Return the protocols and, for each, the part of its clips by id.

    Args:
        file: The annotations and the splits.
        records: Rows of the clips that are there.
        naming: Whose names these are.
        classes: Number of classes.
        src: The file, for error texts.
        report: Takes names without an annotation, and what is in no part.

    Raises:
        AnnotationError: ``PKL-007`` when a clip is in two parts.
    """
    if not file.splits:
        return _drawn(records, naming, classes, report)
    named, others = named_splits(file.splits, naming)
    report.notes += [
        f"split {name[:60]!r} is no train, val or test part of its own" for name in others
    ]
    known = {record.id for record in records} | file.unusable.keys()
    infos: dict[str, ProtocolInfo] = {}
    found: dict[str, dict[str, Part]] = {}
    for split in named:
        parts = assign(split, file.splits, src)
        for name in parts:
            if name not in known:
                place = f"{src}:{split.name}"
                report.skip("PKL-009", place, f"no annotation is called {name[:60]!r}")
        inside = [record for record in records if record.id in parts]
        report.counts[f"clips in no part of {split.name}"] = len(records) - len(inside)
        if "val" not in split.parts:
            official = [parts[record.id] for record in inside]
            carved = carve_validation(inside, official, columns_of(naming), report, split.name)
            parts = dict(zip((record.id for record in inside), carved, strict=True))
        infos[split.name] = _info(split, naming, classes, inside, parts)
        found[split.name] = {record.id: parts[record.id] for record in inside}
    return infos, found


def columns_of(naming: Naming) -> tuple[Column, ...]:
    """Return the columns to carve validation by, the preferred one first."""
    return _CARVED_BY.get(naming.kind, ())


def carve_validation(
    records: Sequence[ClipRecord],
    parts: Sequence[Part],
    columns: Sequence[Column],
    report: ImportReport,
    protocol: str,
    *,
    into: Part = "val",
    share: float = VAL_SHARE,
) -> list[Part]:
    """Move about ``share`` of every class of train into another part, by whole groups.

    Groups are the values of the first column that parts train into two or more; without one, each
    clip is its own. A group that alone has a class stays in train.
    """
    labels = [record.label for record in records]
    for column in (*columns, None):
        groups = [record.id if column is None else getattr(record, column) for record in records]
        kept = _only_ones(groups, labels, parts)
        # clips that have to stay are out of sight while others move
        hidden: list[Part] = [
            "test" if part == "train" and group in kept else part
            for part, group in zip(parts, groups, strict=True)
        ]
        try:
            carved = carve(groups, labels, hidden, into=into, share=share)
        except UsageError:
            continue
        return [
            part if group in kept else new
            for new, part, group in zip(carved, parts, groups, strict=True)
        ]
    report.notes.append(f"{protocol}: too few clips to take {into} out of train")
    return list(parts)


def _only_ones(groups: Sequence[str], labels: Sequence[int], parts: Sequence[Part]) -> set[str]:
    """Return the groups that hold all clips of train of some class."""
    holders: dict[int, set[str]] = {}
    for group, label, part in zip(groups, labels, parts, strict=True):
        if part == "train":
            holders.setdefault(label, set()).add(group)
    return {next(iter(held)) for held in holders.values() if len(held) == 1}


def shared_columns(
    records: Sequence[ClipRecord], parts: Mapping[str, Part], reasons: Mapping[Column, str]
) -> dict[Column, str]:
    """Return which columns train and test share, with how much and why.

    Args:
        records: Rows of the clips.
        parts: Their parts by id.
        reasons: Why the protocol shares a column.
    """
    shared: dict[Column, str] = {}
    for column, reason in reasons.items():
        values: dict[bool, set[str]] = {True: set(), False: set()}
        for record in records:
            values[parts[record.id] == "test"].add(getattr(record, column))
        both = values[True] & values[False]
        if both:
            shared[column] = (
                f"{reason}; {len(both):,} of {len(values[True]):,} {column}s of test also train"
            )
    return shared


def _drawn(
    records: Sequence[ClipRecord], naming: Naming, classes: int, report: ImportReport
) -> tuple[dict[str, ProtocolInfo], dict[str, dict[str, Part]]]:
    columns = columns_of(naming)
    parts: list[Part] = ["train"] * len(records)
    parts = carve_validation(records, parts, columns, report, RANDOM, into="test", share=0.2)
    parts = carve_validation(records, parts, columns, report, RANDOM, into="val", share=0.25)
    info = ProtocolInfo(
        description="the file has no split: about 60/20/20, drawn by whole "
        f"{columns[0] if columns else 'clip'}s",
        group=columns[0] if columns else "id",
        chance=1 / classes,
    )
    return {RANDOM: info}, {
        RANDOM: dict(zip((record.id for record in records), parts, strict=True))
    }


def _info(
    split: NamedSplit,
    naming: Naming,
    classes: int,
    records: Sequence[ClipRecord],
    parts: Mapping[str, Part],
) -> ProtocolInfo:
    said = ", ".join(f"{part} is {name!r}" for part, name in split.parts.items())
    carved = "" if "val" in split.parts else "; val is carved out of train"
    reasons = GYM_SHARED if naming.kind == "gym" else _NTU_SHARED.get(split.group, {})
    return ProtocolInfo(
        description=f"the file's own split: {said}{carved}",
        group=split.group,
        shares=shared_columns(records, parts, reasons),
        metric="mean_class" if naming.kind == "gym" else "top1",
        chance=1 / classes,
    )
