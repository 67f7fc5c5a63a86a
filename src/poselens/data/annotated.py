"""From annotated stretches of videos to a data set folder: what every annotation importer ends in.

An importer reads its tool's file into :class:`AnnotatedClip` rows; :func:`write_annotated` looks at
the videos, splits and writes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from poselens.data.folds import joined
from poselens.data.found_videos import look_at
from poselens.data.importing import (
    ImportReport,
    Link,
    place_videos,
    require_clips,
    video_roots,
)
from poselens.data.info import (
    ClipRecord,
    Column,
    DatasetInfo,
    Part,
    ProtocolInfo,
    SkeletonInfo,
)
from poselens.data.splits import at_random, carve
from poselens.data.table import DECIMAL, RARE_COLUMNS, RareColumn
from poselens.data.writer import FolderWriter
from poselens.errors import PoselensError
from poselens.pose.declared import declaration
from poselens.types import Skeleton, Space

GIVEN, RANDOM = "given", "random"
FEWEST_GROUPS = 3
"""One for each part."""
Refuse = Callable[..., PoselensError]
"""Makes the caller's error from a code, a message and a mend."""

_CLOCK = re.compile(r"([0-9]{1,3}):([0-9]{1,2}):([0-9]{1,2}(?:[.][0-9]{1,9})?)")
_DECIMAL_COMMA = re.compile(r"(?:[0-9]{1,3}:[0-9]{1,2}:)?[0-9]{1,9},[0-9]+")


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedClip:
    """One clip to be imported.

    Attributes:
        record: The row, without label and size; its video lies below ``videos/``.
        label: Class name.
        place: Where the annotation stands in its file, such as ``line 4``.
        origin: The video on the disk, None for a clip of joints alone.
        split: Part, where the source gives one.
        joints: Skeletons by space.
    """

    record: ClipRecord
    label: str
    place: str
    origin: Path | None
    split: str | None = None
    joints: Mapping[Space, Skeleton] = field(default_factory=dict)


def write_annotated(
    clips: Sequence[AnnotatedClip],
    src: Path,
    out: Path,
    *,
    source: str,
    report: ImportReport,
    link: Link = "copy",
    seed: int = 0,
    each_alone: bool = False,
) -> ImportReport:
    """Write a data set folder of annotated clips.

    Clips whose videos cannot be opened are skipped. Where clips come with a split the protocol is
    ``given``. Else it is ``random``, about 60/20/20: by whole subjects and sources together,
    classes as even as that allows; where that leaves fewer than three groups, by whole subjects
    where every clip has one, and the protocol says that it shares sources; else by whole sources,
    whoever is in them. No clip is mirrored.

    Args:
        clips: What was annotated.
        src: The file or folder it was read from; names the data set.
        out: Folder to make.
        source: One sentence for ``dataset.yaml``: where the annotations come from.
        report: Holds what was left out so far, and is given back.
        link: How videos come into the folder.
        seed: Seed of the random split.
        each_alone: Whether clips without subjects are split one by one, each class by itself.

    Raises:
        UsageError: ``DATA-014`` too few groups for a random split.
        AnnotationError, EnvironmentFault: ``DATA-012`` nothing to import; as ``FolderWriter``.
    """
    clips = _probed(clips, src, report)
    require_clips(len(clips), src, report)
    classes = sorted({clip.label for clip in clips})
    protocol, about, parts = _parts(clips, classes, seed, each_alone)
    origins = {
        clip.record.video: clip.origin for clip in clips if clip.record.video and clip.origin
    }
    skeletons = _skeletons(clips)
    info = DatasetInfo(
        name=src.resolve().stem or "clips",
        classes=classes,
        skeletons=skeletons,
        layouts=_layouts(skeletons),
        protocols={protocol: about},
        mirror="none",
        source=source,
        video_roots=video_roots(link, origins),
    )
    with FolderWriter(out, info, columns=_rare_columns(clips)) as writer:
        for clip, part in zip(clips, parts, strict=True):
            record = replace(clip.record, label=classes.index(clip.label))
            joints = {space: skeleton.positions for space, skeleton in clip.joints.items()}
            writer.add(record, {protocol: part}, joints)
        place_videos(origins, writer.staging, link)
        report.imported = len(clips)
        report.write(writer.staging)
    return report


def _rare_columns(clips: Sequence[AnnotatedClip]) -> list[RareColumn]:
    return [name for name in RARE_COLUMNS if any(getattr(each.record, name) for each in clips)]


def _probed(clips: Sequence[AnnotatedClip], src: Path, report: ImportReport) -> list[AnnotatedClip]:
    """Leave out clips whose videos cannot be opened, and note the size of the others' pictures."""
    seen = look_at([clip.origin for clip in clips if clip.origin is not None], count=False)
    kept: list[AnnotatedClip] = []
    for clip in clips:
        if clip.origin is None:
            kept.append(clip)
            continue
        size = seen[clip.origin]
        if isinstance(size, PoselensError):
            report.skip(size.code, f"{src}:{clip.place}", f"{clip.origin}: {size.message}")
            continue
        kept.append(
            replace(clip, record=replace(clip.record, width=size.width, height=size.height))
        )
    return kept


def _skeletons(clips: Sequence[AnnotatedClip]) -> dict[Space, SkeletonInfo]:
    return {
        space: SkeletonInfo(layout=skeleton.layout, dimensions=skeleton.positions.shape[-1])
        for clip in clips
        for space, skeleton in clip.joints.items()
    }


def _layouts(skeletons: Mapping[Space, SkeletonInfo]) -> dict[str, dict[str, Any]]:
    """Return the declarations of those layouts that are a user's own."""
    declared = {each.layout: declaration(each.layout) for each in skeletons.values()}
    return {name: content for name, content in declared.items() if content is not None}


def _parts(
    clips: Sequence[AnnotatedClip], classes: Sequence[str], seed: int, each_alone: bool
) -> tuple[str, ProtocolInfo, list[str]]:
    chance = 1 / len(classes)
    if clips[0].split is not None:
        about = ProtocolInfo(description="the split column of the CSV file", chance=chance)
        return GIVEN, about, [clip.split or "" for clip in clips]
    records = [clip.record for clip in clips]
    by_subject = all(record.subject for record in records)
    labels = [classes.index(clip.label) for clip in clips]
    if each_alone and not by_subject:
        parts = at_random([record.id for record in records], labels, seed=seed)
        description = (
            f"random split by clip (60/20/20 of each class, seed {seed}): who is in a clip is not "
            "known, so results on new people will be lower"
        )
        about = ProtocolInfo(description=description, group="id", chance=chance)
        return RANDOM, about, [str(part) for part in parts]
    group: Column = "subject" if by_subject else "source"
    columns = [[getattr(each, name) for each in records] for name in ("subject", "source")]
    groups = joined(columns)
    shares: dict[Column, str] = {}
    if len(set(groups)) < FEWEST_GROUPS:
        # hardly anything is apart from anything: what is known best is kept whole
        groups = [getattr(each, group) for each in records]
        if by_subject:
            shares["source"] = "people of different parts are in the same recordings"
    about = ProtocolInfo(
        description=f"random split by whole {group}s (about 60/20/20, seed {seed})",
        group=group,
        shares=shares,
        chance=chance,
    )
    return RANDOM, about, [str(part) for part in _by_groups(groups, labels, seed)]


def _by_groups(groups: Sequence[str], labels: Sequence[int], seed: int) -> list[Part]:
    parts: list[Part] = ["train"] * len(groups)
    parts = carve(groups, labels, parts, into="test", share=0.2, seed=seed)
    if len({group for group, part in zip(groups, parts, strict=True) if part == "train"}) > 1:
        parts = carve(groups, labels, parts, into="val", share=0.25, seed=seed + 1)
    return parts


def seconds(text: str, what: str, refuse: Refuse) -> float | None:
    """Read a time of a file: seconds, or hours, minutes and seconds as ``1:02:03.5``.

    Departure: ``1:30`` may be minutes or hours, and is refused.

    Args:
        text: What stands there; None for nothing.
        what: Name of the time, for messages.
        refuse: Makes the error to raise.

    Raises:
        refuse: ``DATA-005`` for anything else, a decimal comma among it.
    """
    if not text:
        return None
    if text.isascii() and DECIMAL.fullmatch(text):
        return float(text)
    clock = _CLOCK.fullmatch(text) if text.isascii() else None
    if clock:
        hours, minutes, rest = int(clock[1]), int(clock[2]), float(clock[3])
        if minutes < 60 and rest < 60:
            return hours * 3600 + minutes * 60 + rest
    if _DECIMAL_COMMA.fullmatch(text):
        raise refuse(
            "DATA-005",
            f"{what} is {text!r}, with a decimal comma",
            "write a point: 1.5, and not 1,5",
        )
    raise refuse("DATA-005", f"{what} is {text!r}, expected seconds", "write 83.5 or 0:01:23.5")
