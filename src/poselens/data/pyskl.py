"""Importer for the annotation pickles of PYSKL and MMAction2: skeletons, labels and splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.data.disk import require_free
from poselens.data.finegym_lists import read_categories, read_lines
from poselens.data.found_videos import FoundVideos, Seen, look_at
from poselens.data.importing import (
    ImportReport,
    Link,
    place_videos,
    require_clips,
    require_same_length,
    video_roots,
)
from poselens.data.info import ClipRecord, DatasetInfo, Part, SkeletonInfo
from poselens.data.ntu_protocols import ACTIONS
from poselens.data.pickles import open_pickle
from poselens.data.pyskl_file import AnnotationFile, PoseAnnotation, read_annotations
from poselens.data.pyskl_names import Naming, recognise, record_of
from poselens.data.pyskl_protocols import protocols_of
from poselens.data.store import check_positions
from poselens.data.table import RareColumn, id_fault
from poselens.data.writer import FolderWriter
from poselens.errors import AnnotationError, PoselensError, SkeletonError, UsageError
from poselens.pose.declared import declaration, find_layout
from poselens.pose.layouts import known_layouts, require_joint_count
from poselens.types import Space

SHAPE_TOLERANCE = 0.02
"""Share by which width over height of a video may differ from the picture the joints refer to."""

_USUAL: Mapping[tuple[Space, int], str] = {("pixels", 17): "coco-17", ("metres", 25): "ntu-25"}
_RARE: Mapping[str, tuple[RareColumn, ...]] = {"ntu": ("session",), "gym": ("event",)}


def import_pyskl(
    src: Path,
    out: Path,
    *,
    videos: Path | None = None,
    link: Link = "copy",
    layout: str | None = None,
    classes: Path | None = None,
    min_score: float = 0.0,
) -> ImportReport:
    """Import an annotation pickle; nothing in it is run.

    Joints with two coordinates are pixels, those with three are metres. A joint is missing where
    all its coordinates are 0, or its confidence is 0 or below ``min_score``. All people are kept.

    With ``videos``, a clip gets the video of its name. Pixels are scaled where the video is larger
    or smaller than the picture that the joints refer to. A video of another length (over 2 %) or
    shape does not show what the joints were found in; PYSKL's own 3D files drop frames without
    people. Then the joints stay and the video is left out, counted with its reason.

    Departure: what the field calls ``val`` is the test part, as papers report on it; validation is
    carved out of train, about 8 %, by whole subjects, videos or events where the names tell them.
    Without splits, about 20 % test the same way, under the protocol ``random``.

    Args:
        src: The pickle.
        out: Folder to make.
        videos: Folder of the videos.
        link: How videos come into the data set.
        layout: Joint layout, or file that declares one, where it is not the usual one for the
            number of joints.
        classes: File of class names, one a line, or FineGym's categories.
        min_score: Least confidence of a joint that counts as seen, in its own unit.

    Raises:
        UsageError: ``DATA-001``, ``DATA-020``; as ``find_layout``; ``PKL-011`` a
            ``min_score`` that is no number from 0.
        AnnotationError: ``PKL-001`` to ``PKL-007``, ``PKL-010``, ``PKL-012``, ``DATA-006``,
            ``DATA-007``, ``DATA-012``, ``DATA-035``.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    if not src.is_file():
        raise UsageError("DATA-001", "the pickle does not exist", file=src.absolute())
    if not (isfinite(min_score) and min_score >= 0):
        raise UsageError("PKL-011", f"min_score is {min_score}", mend="give a number from 0")
    require_free(out)
    report = ImportReport()
    with open_pickle(src) as content:
        file = read_annotations(content, src)
        naming, usable = _usable(file, src, report)
        names = class_names(classes, naming, usable, src)
        clips = [_Clip(entry, record_of(entry, naming)) for entry in usable]
        if videos is not None:
            ending = "_rgb" if naming.kind == "ntu" else ""
            clips = _with_videos(clips, FoundVideos(videos, report, ending=ending), report)
        records = [clip.record for clip in clips]
        protocols, parts = protocols_of(file, records, naming, len(names), src, report)
        origins = {clip.record.video or "": clip.video for clip in clips if clip.video}
        skeletons = _skeletons(usable, layout, src)
        layouts = {used.layout: declaration(used.layout) for used in skeletons.values()}
        info = DatasetInfo(
            name=src.stem or "skeletons",
            classes=names,
            skeletons=skeletons,
            layouts={name: content for name, content in layouts.items() if content},
            protocols=protocols,
            # no element of FineGym, and no action of NTU RGB+D, names a side
            mirror="none" if naming.kind == "other" else "same",
            source=f"annotation pickle {src.name}",
            video_roots=video_roots(link, origins),
        )
        with FolderWriter(out, info, columns=_RARE.get(naming.kind, ())) as writer:
            _write(writer, clips, parts, info, _Reading(src, min_score, link), report)
            require_clips(report.imported, src, report)
            report.write(writer.staging)
    return report


@dataclass(frozen=True)
class _Reading:
    """How joints and videos come in."""

    src: Path
    min_score: float
    link: Link


def _write(
    writer: FolderWriter,
    clips: Sequence["_Clip"],
    parts: Mapping[str, Mapping[str, Part]],
    info: DatasetInfo,
    reading: _Reading,
    report: ImportReport,
) -> None:
    placed: dict[str, Path] = {}
    for clip in clips:
        entry, record = clip.entry, clip.record
        try:
            joints = scaled(entry.positions(reading.src, reading.min_score), clip.scale)
            skeleton = info.skeletons[entry.space]
            joints = check_positions(joints, skeleton, file=reading.src, where=entry.place)
        except PoselensError as fault:
            report.skip_fault(fault, f"{reading.src}:{entry.place}")
            continue
        if record.width is None and entry.size is not None:
            record = replace(record, height=entry.size[0], width=entry.size[1])
        splits = {name: part[record.id] for name, part in parts.items() if record.id in part}
        writer.add(record, splits, {entry.space: joints})
        if clip.video is not None and record.video is not None:
            placed[record.video] = clip.video
        report.imported += 1
    place_videos(placed, writer.staging, reading.link)


@dataclass(frozen=True, eq=False)
class _Clip:
    """An annotation with its row, its video, and the factors that bring its pixels onto that."""

    entry: PoseAnnotation
    record: ClipRecord
    video: Path | None = None
    scale: tuple[float, float] = (1.0, 1.0)


def _usable(
    file: AnnotationFile, src: Path, report: ImportReport
) -> tuple[Naming, list[PoseAnnotation]]:
    """Leave out what cannot be read, and find out whose names these are."""
    for fault in file.unusable.values():
        report.skip_fault(fault, f"{src}:{fault.where}")
    usable: list[PoseAnnotation] = []
    for entry in file.annotations:
        reason = id_fault(entry.id)
        if reason:
            report.skip("DATA-005", f"{src}:{entry.place}", reason)
        else:
            usable.append(entry)
    require_clips(len(usable), src, report)
    report.counts["annotations"] = len(file.annotations) + len(file.unusable)
    if file.without_score:
        report.counts["clips without confidences"] = file.without_score
        report.notes.append(
            f"{file.without_score} clips have no keypoint_score; all their joints count as seen"
        )
    return recognise(usable), usable


def class_names(
    path: Path | None, naming: Naming, annotations: Sequence[PoseAnnotation], src: Path
) -> list[str]:
    """Return the names of the classes: from a file, NTU's own, or numbers.

    Raises:
        AnnotationError: ``DATA-006`` when the file names fewer classes than there are labels,
            ``DATA-035`` when it cannot be read, ``PKL-012`` when a name is there twice.
    """
    largest = max(annotations, key=lambda entry: entry.label)
    if path is None:
        count = max(largest.label + 1, naming.classes or 0)
        if count > 100_000:
            raise AnnotationError(
                "DATA-006", f"label {largest.label}, expected fewer than 100000 classes", file=src,
                where=largest.place, mend="give class indices",
            )  # fmt: skip
        if naming.kind == "ntu":
            return list(ACTIONS[:count])
        return [f"class {label}" for label in range(count)]
    lines = read_lines(path)
    if lines and lines[0][1].startswith("Clabel:"):
        sets = path.parent / "set_categories.txt"
        names = [entry.name for entry in read_categories(path, sets if sets.is_file() else None)]
    else:
        names = [line for _, line in lines]
    for name, count in Counter(names).items():
        if count > 1:
            raise AnnotationError(
                "PKL-012", f"class {name[:60]!r} is named {count} times", file=path,
                where="the list", mend="give every class a name of its own",
            )  # fmt: skip
    if largest.label >= len(names):
        raise AnnotationError(
            "DATA-006", f"label {largest.label}, but {path.name} names {len(names)} classes",
            file=src, where=largest.place, mend="name every class, one a line",
        )  # fmt: skip
    return names


def _skeletons(
    entries: Sequence[PoseAnnotation], layout: str | None, src: Path
) -> dict[Space, SkeletonInfo]:
    """Return which spaces are there; each needs a layout, which the most frequent count decides."""
    found: dict[Space, SkeletonInfo] = {}
    for space in dict.fromkeys(entry.space for entry in entries):
        count = Counter(entry.joints for entry in entries if entry.space == space).most_common(1)
        joints = count[0][0]
        name = layout or _USUAL.get((space, joints))
        if name is None:
            fitting = [known for known, other in known_layouts().items() if len(other) == joints]
            raise SkeletonError(
                "SKEL-006",
                f"found {joints} joints in {space}, which may be of several layouts or none",
                file=src, where="annotations",
                mend=f"--layout {' or '.join(fitting)}" if fitting else "declare a layout",
            )  # fmt: skip
        known_layout = find_layout(name)
        require_joint_count(joints, known_layout, file=str(src))
        found[space] = SkeletonInfo(
            layout=known_layout.name, dimensions=2 if space == "pixels" else 3
        )
    return found


def _with_videos(clips: list[_Clip], found: FoundVideos, report: ImportReport) -> list[_Clip]:
    """Give every clip its video, where there is one that shows what the joints were found in."""
    paths = [found.find(clip.entry.id) for clip in clips]
    seen = look_at([path for path in paths if path is not None], count=True)
    paired: list[_Clip] = []
    for clip, path in zip(clips, paths, strict=True):
        try:
            paired.append(
                clip if path is None else _paired(clip, path, seen[path], found.place(path))
            )
        except PoselensError as fault:
            # a video that cannot be read is damage; one of another length is another video
            code = fault.code if fault.code.startswith("VID-") else "PKL-008"
            report.skip(code, path or "", f"{fault.message}; the clip keeps its joints alone")
            paired.append(clip)
    with_video = sum(clip.video is not None for clip in paired)
    report.counts |= {
        "videos in the folder": len(found),
        "clips with a video of their name": sum(path is not None for path in paths),
        "clips with a video": with_video,
    }
    report.notes.append(f"{with_video:,} of {len(clips):,} clips have a video")
    return paired


def _paired(clip: _Clip, path: Path, seen: Seen | PoselensError, place: str) -> _Clip:
    if isinstance(seen, PoselensError):
        raise seen
    require_same_length(seen.frames or 0, clip.entry.frames)
    scale = scale_of(clip.entry, seen)
    record = replace(
        clip.record,
        video=place,
        width=seen.width,
        height=seen.height,
    )
    return _Clip(clip.entry, record, path, scale)


def scale_of(entry: PoseAnnotation, seen: Seen) -> tuple[float, float]:
    """Return the factors of x and y that bring an annotation's pixels onto a video.

    Raises:
        SkeletonError: ``SKEL-005`` when the video is of another shape than the picture.
    """
    if entry.space != "pixels" or entry.size is None:
        return 1.0, 1.0
    height, width = entry.size
    across, down = seen.width / width, seen.height / height
    if abs(across - down) > SHAPE_TOLERANCE * max(across, down):
        raise SkeletonError(
            "SKEL-005",
            f"the video has {seen.width}x{seen.height} pixels, joints refer to {width}x{height}",
        )
    return across, down


def scaled(joints: NDArray[np.float32], scale: tuple[float, float]) -> NDArray[np.float32]:
    """Return pixels brought onto a video of another size; metres stay as they are."""
    return joints if scale == (1.0, 1.0) else joints * np.array(scale, np.float32)
