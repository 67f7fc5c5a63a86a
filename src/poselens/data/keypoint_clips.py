"""Importer for key points that tools wrote, one file or folder per clip, with or without videos."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poselens.data.annotated import AnnotatedClip, seconds, write_annotated
from poselens.data.class_folders import SUFFIXES as VIDEO_SUFFIXES
from poselens.data.csv_clips import path_below, read_table
from poselens.data.disk import require_free
from poselens.data.importing import ImportReport, Link, clip_id, require_source
from poselens.data.info import PARTS, ClipRecord
from poselens.data.keypoint_people import Keypoints
from poselens.data.keypoints import (
    KeypointJob,
    known_tool,
    parse_size,
    read_many,
    skeletons_of,
    tool_of,
)
from poselens.data.table import id_fault, span_fault
from poselens.errors import AnnotationError, PoselensError, SkeletonError
from poselens.pose.declared import find_layout
from poselens.types import Skeleton, Space

if TYPE_CHECKING:
    from poselens.data.video import VideoInfo

COLUMNS = (
    "keypoints", "label", "video", "id", "subject", "view", "source", "session", "event", "start",
    "end", "split",
)  # fmt: skip
LENGTH_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """A clip whose joints are still to be read from ``file``."""

    clip: AnnotatedClip
    file: Path


def import_keypoints(
    src: Path,
    out: Path,
    *,
    videos: Path | None = None,
    tool: str | None = None,
    layout: str | None = None,
    size: str | None = None,
    min_score: float = 0.0,
    link: Link = "copy",
    seed: int = 0,
) -> ImportReport:
    """Import key points of clips.

    ``src`` is a folder with a sub-folder per class that holds a file (or OpenPose's folder) per
    clip; or a CSV with columns keypoints and label, and any of video, id, subject, view, source,
    session, event, start, end, split. A clip's video is the one of its name in ``videos``, else
    beside its key points; clips without are clips of joints alone. With start and end the key
    points are those of the whole video, and the clip is the frames between.

    Protocols are as ``write_annotated`` makes them; clips in folders are split one by one.

    Departure: joints that end before their video does are missing in the frames that remain, for
    many tools write only frames with somebody in them. Joints that go on after it are left out as
    those of another video.

    Args:
        src: Folder or CSV.
        out: Folder to make.
        videos: Folder of the videos.
        tool: The tool that wrote the files; None to tell by content.
        layout: Joint layout where the files do not say it: a name, or a YAML file.
        size: WIDTHxHEIGHT of the pictures, for MediaPipe without videos.
        min_score: Joints of a lower score are missing.
        link: How videos come into the folder.
        seed: Seed of the random split.

    Raises:
        UsageError: ``DATA-001``, ``DATA-014``, ``DATA-020``, ``SKEL-063``, ``CFG-003``.
        AnnotationError: ``DATA-004`` to ``DATA-009`` with the line, ``DATA-012`` nothing to import.
        SkeletonError: ``SKEL-068`` clips of several layouts.
        EnvironmentFault: ``ENV-001`` to ``ENV-005``.
    """
    if not src.is_file():
        require_source(src, out)
    require_free(out)
    if layout is not None:
        layout = find_layout(layout).name
    report = ImportReport()
    job = KeypointJob(src, known_tool(tool), parse_size(size) if size else None, min_score)
    if src.is_file():
        wanted = _listed(src, (videos or src.parent).resolve())
    else:
        wanted = _in_folders(src, videos, report)
    clips = _read(wanted, job, layout, src, report)
    return write_annotated(
        clips, src, out,
        source=f"key points in {src.resolve().name}", report=report, link=link, seed=seed,
        each_alone=src.is_dir(),
    )  # fmt: skip


def _in_folders(src: Path, videos: Path | None, report: ImportReport) -> list[_Wanted]:
    by_name = _Videos(videos)
    wanted: list[_Wanted] = []
    taken: set[str] = set()
    for path in _walk(src, report):
        relative = path.relative_to(src)
        if len(relative.parts) == 1:
            report.skip("DATA-021", path, "not in the folder of a class")
            continue
        video = by_name.of(relative) if videos else _beside(path)
        if videos and video is None:
            report.skip("DATA-048", path, f"no video of this name in {videos}")
            continue
        name = clip_id(relative.with_suffix("").as_posix(), taken)
        below = "" if video is None else video.relative_to(videos or src).as_posix()
        record = ClipRecord(id=name, video=f"videos/{below}" if below else None, source=name)
        clip = AnnotatedClip(record, relative.parts[0].strip(), relative.as_posix(), video)
        wanted.append(_Wanted(clip, path))
    return wanted


def _walk(src: Path, report: ImportReport) -> Iterator[Path]:
    """Yield key-point files, and folders of one clip; note what is neither."""

    def unreadable(fault: OSError) -> None:
        report.skip("ENV-004", str(fault.filename), f"cannot read: {fault.strerror}")

    for name, folders, files in os.walk(src, onerror=unreadable):
        folder = Path(name)
        folders.sort()
        if folder != src and tool_of(folder) is not None:
            folders.clear()
            yield folder
            continue
        for file in sorted(files):
            path = folder / file
            text = str(path.relative_to(src))
            if path.suffix.lower() in VIDEO_SUFFIXES:
                continue
            if file.startswith("."):
                report.skip("DATA-021", path, "hidden")
            elif text != text.encode(errors="replace").decode() or "\\" in text or ":" in text:
                report.skip("DATA-021", path, "the name is not UTF-8, or has a backslash or colon")
            elif not path.is_file() or tool_of(path) is None:
                report.skip("DATA-021", path, "no key points of a known tool, by name and content")
            else:
                yield path


def _beside(path: Path) -> Path | None:
    candidates = (path.with_suffix(suffix) for suffix in VIDEO_SUFFIXES)
    return next((found for found in candidates if found.is_file()), None)


class _Videos:
    """The videos of a folder, found by the names of key-point files."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        paths = sorted(folder.rglob("*")) if folder else []
        self._paths = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]

    def of(self, relative: Path) -> Path | None:
        """Return the video at the same place, else the only one whose name the file begins with."""
        if self._folder is None:
            return None
        same = _beside(self._folder / relative)
        if same is not None:
            return same
        # DeepLabCut appends its network: videoDLC_resnet50_...csv
        fitting = [path for path in self._paths if _begins(relative.stem, path.stem)]
        longest = max((len(path.stem) for path in fitting), default=0)
        fitting = [path for path in fitting if len(path.stem) == longest]
        return fitting[0] if len(fitting) == 1 else None


def _begins(name: str, video: str) -> bool:
    rest = name.removeprefix(video)
    return name.startswith(video) and (not rest or rest[0] in "._- " or rest.startswith("DLC"))


def _listed(src: Path, root: Path) -> list[_Wanted]:
    wanted: list[_Wanted] = []
    lines: dict[str, int] = {}
    taken: set[str] = set()
    for line, values in read_table(src, COLUMNS, ("keypoints", "label")):
        row = _row(values, src, root, line, taken)
        first = lines.setdefault(row.clip.record.id, line)
        if first != line:
            raise AnnotationError(
                "DATA-007",
                f"id {row.clip.record.id!r} is there twice, in lines {first} and {line}",
                file=src,
                where=f"line {line}",
                mend="give every clip an id of its own",
            )
        wanted.append(row)
    return wanted


def _row(values: Mapping[str, str], src: Path, root: Path, line: int, taken: set[str]) -> _Wanted:
    def refuse(code: str, message: str, mend: str) -> AnnotationError:
        return AnnotationError(code, message, file=src, where=f"line {line}", mend=mend)

    for name in ("keypoints", "label"):
        if not values[name]:
            raise refuse("DATA-005", f"{name} is empty", "fill it, or remove the line")
    below = src.parent.resolve()
    file = path_below(values["keypoints"], below, "file", refuse)
    video = values.get("video", "")
    origin = path_below(video, root, "video", refuse) if video else None
    split = values.get("split")
    if split is not None and split not in ("", *PARTS):
        raise refuse(
            "DATA-008", f"split is {split!r}, expected train, val, test or nothing", "correct it"
        )
    span = [seconds(values.get(name, ""), name, refuse) for name in ("start", "end")]
    if origin is None and any(time is not None for time in span):
        raise refuse("DATA-005", "start and end without a video", "name the video they are of")
    relative = file.relative_to(below)
    name = values.get("id") or clip_id(str(relative.with_suffix("")), taken)
    fault = id_fault(name) or span_fault(*span)
    if fault:
        raise refuse("DATA-005", fault, "correct the line")
    record = ClipRecord(
        id=name,
        video=None if origin is None else f"videos/{origin.relative_to(root).as_posix()}",
        source=values.get("source") or relative.as_posix(),
        start_s=span[0],
        end_s=span[1],
        subject=values.get("subject", ""),
        view=values.get("view", ""),
        session=values.get("session", ""),
        event=values.get("event", ""),
    )
    return _Wanted(AnnotatedClip(record, values["label"], f"line {line}", origin, split), file)


def _read(
    wanted: Sequence[_Wanted],
    how: KeypointJob,
    layout: str | None,
    src: Path,
    report: ImportReport,
) -> list[AnnotatedClip]:
    """Read the joints of every clip; leave out, with the reason, those that cannot be read."""
    seen = _probe(wanted)
    faults: dict[int, tuple[PoselensError, Path]] = {}
    clips: dict[int, AnnotatedClip] = {}
    slots = 0
    places: dict[KeypointJob, list[int]] = {}
    for place, each in enumerate(wanted):
        video = seen.get(each.clip.origin) if each.clip.origin else None
        if isinstance(video, PoselensError):
            faults[place] = video, each.file
            continue
        size = (video.height, video.width) if video else how.size
        job = replace(how, path=each.file, size=size)
        places.setdefault(job, []).append(place)
    for job, outcome in read_many(list(places), workers=None):
        skeletons = outcome if isinstance(outcome, PoselensError) else _known(outcome, job, layout)
        if isinstance(skeletons, PoselensError):
            faults |= {place: (skeletons, job.path) for place in places[job]}
            continue
        if isinstance(outcome, Keypoints):
            slots += not outcome.tracked and len(next(iter(outcome.positions.values()))) > 1
        for place in places[job]:
            clip = wanted[place].clip
            video = seen.get(clip.origin) if clip.origin else None
            try:
                joints = {space: _fitted(each, clip, video) for space, each in skeletons.items()}
            except SkeletonError as fault:
                faults[place] = fault, job.path
                continue
            clips[place] = replace(clip, joints=joints)
    for place, (reason, file) in sorted(faults.items()):
        report.skip_fault(
            reason, f"{src}:{wanted[place].clip.place}: {file}" if src.is_file() else file
        )
    if slots:
        report.notes.append(
            f"{slots} files list people without saying who is who: they were told apart by where "
            "they are from frame to frame"
        )
    found = [clips[place] for place in sorted(clips)]
    _require_one_layout(found, src)
    return found


def _probe(wanted: Sequence[_Wanted]) -> dict[Path, "VideoInfo | PoselensError"]:
    # video reading loads FFmpeg; opening a finished data set does not need it
    from poselens.data.video import count_frames, probe

    seen: dict[Path, VideoInfo | PoselensError] = {}
    for each in wanted:
        path = each.clip.origin
        if path is not None and path not in seen:
            try:
                seen[path] = replace(probe(path), frames=count_frames(path))
            except PoselensError as fault:
                seen[path] = fault
    return seen


def _known(
    keypoints: Keypoints, job: KeypointJob, layout: str | None
) -> Mapping[Space, Skeleton] | PoselensError:
    try:
        return skeletons_of(keypoints, job.path, layout)
    except SkeletonError as fault:
        return fault


def _fitted(skeleton: Skeleton, clip: AnnotatedClip, video: object) -> Skeleton:
    """Return the joints of a clip out of those of its video.

    Raises:
        SkeletonError: ``SKEL-009`` when the joints go on after the video, ``SKEL-010`` when nobody
            is in the clip.
    """
    positions = skeleton.positions
    frames = getattr(video, "frames", None)
    if frames is None or isinstance(video, PoselensError):
        return skeleton
    if skeleton.frames - frames > LENGTH_TOLERANCE * frames:
        raise SkeletonError(
            "SKEL-009", f"the video has {frames} frames, the skeleton {skeleton.frames}"
        )
    if skeleton.frames < frames:
        lacking = ((0, 0), (0, frames - skeleton.frames), (0, 0), (0, 0))
        positions = np.pad(positions, lacking, constant_values=np.nan)
    start, end = clip.record.start_s, clip.record.end_s
    fps = getattr(video, "fps", 0.0)
    if (start is not None or end is not None) and fps:
        first = round((start or 0) * fps)
        last = positions.shape[1] if end is None else round(end * fps)
        positions = positions[:, first : max(last, first + 1)]
        if not np.isfinite(positions).any():
            raise SkeletonError("SKEL-010", f"nobody between {start or 0} s and {end} s")
    return Skeleton(positions, skeleton.layout, skeleton.space)


def _require_one_layout(clips: Sequence[AnnotatedClip], src: Path) -> None:
    layouts: dict[str, str] = {}
    for clip in clips:
        for skeleton in clip.joints.values():
            layouts.setdefault(skeleton.layout, clip.place)
    if len(layouts) > 1:
        found = ", ".join(f"{name} ({place})" for name, place in sorted(layouts.items()))
        raise SkeletonError(
            "SKEL-068", f"clips of {len(layouts)} layouts: {found}", file=src,
            mend="import clips of one layout at a time",
        )  # fmt: skip
