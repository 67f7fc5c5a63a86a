"""Importers for NTU RGB+D 60 and 120 as they are downloaded: ``.skeleton`` files and videos."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.data.children import Limits, in_children
from poselens.data.importing import (
    ImportReport,
    Link,
    place_videos,
    require_clips,
    require_same_length,
    require_source,
    video_roots,
)
from poselens.data.info import DatasetInfo, Part, SkeletonInfo
from poselens.data.ntu_bodies import people
from poselens.data.ntu_counts import compare, count_clips, title
from poselens.data.ntu_protocols import (
    NTU60,
    NTU120,
    NtuName,
    NtuSet,
    official_missing,
    parted,
    protocol_info,
    read_name,
    read_names,
)
from poselens.data.ntu_skeleton import HEIGHT, LAYOUT, WIDTH, read_ntu_skeleton
from poselens.data.writer import FolderWriter
from poselens.errors import PoselensError, SkeletonError, UsageError, VideoError

Told = Callable[[int, int], None]
"""Called with the number of recordings done, and of all."""

FAR_METRES = 50.0
"""The sensor sees 8 m; joints beyond this, most of them, are not in metres."""

_SKELETON = ".skeleton"
_VIDEO = re.compile(r"(S[0-9]{3}C[0-9]{3}P[0-9]{3}R[0-9]{3}A[0-9]{3})(?:_rgb)?")
_VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm")
_LIMITS = Limits(seconds=30.0)


def import_ntu60(
    src: Path,
    out: Path,
    *,
    videos: Path | None = None,
    missing: Path | None = None,
    link: Link = "copy",
    workers: int | None = None,
    told: Told | None = None,
) -> ImportReport:
    """Import NTU RGB+D 60: protocols ``ntu60-xsub`` and ``ntu60-xview``.

    ``SsssCcccPpppRrrrAaaa.skeleton`` files lie anywhere below ``src``, videos of the same name (or
    with ``_rgb`` behind it) anywhere below ``videos``, or ``src``. A skeleton without its video is
    imported without one. Joints are stored in metres and in pixels of the video: those of the
    file are of 1920 x 1080 pixels, and are scaled to a smaller video of the same shape. The 302
    recordings that the authors list as unusable are left out.

    Every frame of a file stays, one without a body as NaN, so that skeleton and video run together;
    who the people are: ``ntu_bodies.people``. The report compares all counts with the published
    ones, and a part of the data set is never called by its name alone.

    Departure: a mirrored clip keeps its class, as no action names a side; whether clips are
    mirrored is the recipe's, and published code for skeletons does not. Validation is carved out
    of train: ``ntu_protocols.parted``.

    Args:
        src: Folder of the download.
        out: Data set folder to write.
        videos: Folder of the videos, where they do not lie in ``src``.
        missing: List of recordings to leave out instead of the authors'.
        link: How a video comes into the data set.
        workers: Reading processes, None for one a core.
        told: Called after every recording.

    Raises:
        UsageError: ``DATA-001``, ``DATA-020``, see ``require_source``.
        AnnotationError: ``DATA-012`` nothing is left to import, ``DATA-031`` ``missing`` is no
            list of recordings.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    return _import(_Source(src, videos, missing, NTU60), out, link, workers, told)


def import_ntu120(
    src: Path,
    out: Path,
    *,
    videos: Path | None = None,
    missing: Path | None = None,
    link: Link = "copy",
    workers: int | None = None,
    told: Told | None = None,
) -> ImportReport:
    """Import NTU RGB+D 120: protocols ``ntu120-xsub`` and ``ntu120-xset``; see ``import_ntu60``.

    535 recordings are left out.

    Raises:
        UsageError: ``DATA-001``, ``DATA-020``, see ``require_source``.
        AnnotationError: ``DATA-012`` nothing is left to import, ``DATA-031`` ``missing`` is no
            list of recordings.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    return _import(_Source(src, videos, missing, NTU120), out, link, workers, told)


@dataclass(frozen=True)
class _Source:
    """Where everything lies, and of which data set it is."""

    src: Path
    videos: Path | None
    missing: Path | None
    ntu: NtuSet


@dataclass(frozen=True)
class _Job:
    """A recording to be read: its place in the order, its name and files."""

    place: int
    name: NtuName
    skeleton: Path
    video: Path | None


@dataclass(frozen=True, eq=False)
class _Clip:
    """What came of a recording."""

    joints_metres: NDArray[np.float32]
    joints_pixels: NDArray[np.float32]
    width: int
    height: int


def _import(
    source: _Source, out: Path, link: Link, workers: int | None, told: Told | None
) -> ImportReport:
    require_source(source.src, out)
    if source.videos is not None:
        require_source(source.videos, out)
    report = ImportReport()
    ntu = source.ntu
    left_out = (
        official_missing(ntu) if source.missing is None else frozenset(read_names(source.missing))
    )
    jobs = _jobs(source, left_out, report)
    require_clips(len(jobs), source.src, report)
    names = [job.name for job in jobs]
    parts = {protocol.name: parted(names, protocol) for protocol in ntu.protocols}
    videos = {_video_name(job): job.video for job in jobs if job.video is not None}
    imported: list[NtuName] = []
    with FolderWriter(
        out, _info(ntu, names, parts, video_roots(link, videos)), columns=("session",)
    ) as writer:
        for job, clip in _read_all(jobs, workers):
            if isinstance(clip, PoselensError):
                report.skip_fault(clip, clip.file or job.skeleton)
            else:
                _add(writer, job, clip, {name: rows[job.place] for name, rows in parts.items()})
                if job.video is not None:
                    place_videos({_video_name(job): job.video}, writer.staging, link)
                imported.append(job.name)
            if told is not None:
                told(job.place + 1, len(jobs))
        require_clips(len(imported), source.src, report)
        report.imported = len(imported)
        report.counts |= count_clips(imported, ntu)
        report.notes += compare(imported, ntu, left_out) + _of_videos(report)
        writer.rename(title(imported, ntu))
        report.write(writer.staging)
    return report


def _of_videos(report: ImportReport) -> list[str]:
    lines = {
        "recordings without a video": "recordings have no video, and are for skeleton streams only",
        "videos without a skeleton": "videos have no skeleton, and are left out",
    }
    return [
        f"{report.counts[name]:,} {text}" for name, text in lines.items() if report.counts[name]
    ]


def _info(
    ntu: NtuSet, names: Sequence[NtuName], parts: Mapping[str, Sequence[Part]], roots: list[str]
) -> DatasetInfo:
    return DatasetInfo(
        name=ntu.title,
        classes=list(ntu.classes),
        skeletons={
            "pixels": SkeletonInfo(layout=LAYOUT, dimensions=2),
            "metres": SkeletonInfo(layout=LAYOUT, dimensions=3),
        },
        protocols={
            protocol.name: protocol_info(
                protocol, names, parts[protocol.name], 1 / len(ntu.classes)
            )
            for protocol in ntu.protocols
        },
        mirror="same",
        source=ntu.source,
        licence="academic use, on request from the ROSE Lab; cite it",
        fps=30.0,
        video_roots=roots,
    )


def _video_name(job: _Job) -> str:
    assert job.video is not None
    return f"videos/{job.name.text}{job.video.suffix.lower()}"


def _add(writer: FolderWriter, job: _Job, clip: _Clip, splits: Mapping[str, str]) -> None:
    record = job.name.record(
        video=None if job.video is None else _video_name(job), width=clip.width, height=clip.height
    )
    writer.add(record, splits, {"pixels": clip.joints_pixels, "metres": clip.joints_metres})


def _jobs(source: _Source, left_out: frozenset[str], report: ImportReport) -> list[_Job]:
    """Find the recordings to read, in the order of their names."""
    skeletons: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    roots = [source.src] if source.videos is None else [source.src, source.videos]
    others = 0
    for path in _walk(roots, report):
        video = _VIDEO.fullmatch(path.stem) if path.suffix.lower() in _VIDEO_SUFFIXES else None
        if path.suffix == _SKELETON:
            _note(skeletons, path.stem, path, report)
        elif video is not None:
            _note(videos, video[1], path, report)
        else:
            others += 1
    jobs: list[_Job] = []
    listed = 0
    for text, path in sorted(skeletons.items()):
        name = read_name(text, source.ntu)
        if name is None:
            report.skip("DATA-021", path, f"the name is of no recording of {source.ntu.title}")
        elif text in left_out:
            report.skip("DATA-030", path, "listed as a recording without a usable skeleton")
            listed += 1
        else:
            jobs.append(_Job(len(jobs), name, path, videos.get(text)))
    report.counts |= {
        "skeleton files": len(skeletons),
        "of them listed as unusable": listed,
        "videos": len(videos),
        "recordings without a video": sum(job.video is None for job in jobs),
        "videos without a skeleton": len(videos.keys() - skeletons.keys()),
        "other files": others,
    }
    return jobs


def _note(found: dict[str, Path], name: str, path: Path, report: ImportReport) -> None:
    if name in found:
        report.skip("DATA-007", path, f"the recording is there twice, first as {found[name]}")
    else:
        found[name] = path


def _walk(roots: Iterable[Path], report: ImportReport) -> Iterator[Path]:
    """Yield every file below the roots once, in one order on every machine."""

    def unreadable(fault: OSError) -> None:
        report.skip("ENV-004", str(fault.filename), f"cannot read: {fault.strerror}")

    seen: set[Path] = set()
    for root in roots:
        for folder, folders, files in os.walk(root, onerror=unreadable):
            real = Path(folder).resolve()
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            yield from (Path(folder) / name for name in sorted(files))


def _read_all(
    jobs: Sequence[_Job], workers: int | None
) -> Iterator[tuple[_Job, _Clip | PoselensError]]:
    """Read recordings in child processes; yield them in their order."""
    early: dict[int, tuple[_Job, _Clip | PoselensError]] = {}
    due = 0
    for job, clip in in_children(
        _read_clip, jobs, file_of=_file_of, workers=workers, limits=_LIMITS
    ):
        early[job.place] = (job, clip)
        while due in early:
            yield early.pop(due)
            due += 1


def _file_of(job: _Job) -> Path:
    return job.skeleton if job.video is None else job.video


def _read_clip(job: _Job) -> _Clip:
    """Read one recording; runs in a child process."""
    skeleton = read_ntu_skeleton(job.skeleton)
    metres, pixels = people(skeleton)
    _check_metres(metres, job.skeleton)
    if job.video is None:
        return _Clip(metres, pixels, WIDTH, HEIGHT)
    try:
        width, height = _look_at(job.video, skeleton.frames)
    except (VideoError, SkeletonError, UsageError) as fault:
        fault.file = fault.file or str(job.video)
        raise
    scale = np.array([width / WIDTH, height / HEIGHT], dtype=np.float32)
    return _Clip(metres, pixels * scale, width, height)


def _check_metres(joints_metres: NDArray[np.float32], path: Path) -> None:
    depths = np.abs(joints_metres[..., 2])
    depths = depths[~np.isnan(depths)]
    if not len(depths):
        raise SkeletonError(
            "SKEL-010", "every joint of every body is missing", file=path,
            mend="leave the clip out, or give its video alone",
        )  # fmt: skip
    depth = float(np.median(depths))
    if depth > FAR_METRES:
        unit = ": millimetres?" if depth > 500 else ""
        raise SkeletonError(
            "SKEL-055",
            f"the median joint is {depth:.0f} m from the sensor, which sees 8 m{unit}",
            file=path,
            mend="give positions in metres",
        )


def _look_at(video: Path, frames: int) -> tuple[int, int]:
    """Return width and height of a video that belongs to a skeleton of so many frames.

    Raises:
        VideoError: ``VID-001`` to ``VID-013``; ``DATA-022`` when its shape is not 16:9.
        SkeletonError: ``SKEL-009`` when it is longer or shorter.
    """
    # video reading loads FFmpeg; skeletons alone do not need it
    from poselens.data.video import count_frames, probe

    seen = probe(video)
    # sizes are whole, and often even: half the width's rounding is allowed for
    if abs(seen.width - seen.height * WIDTH / HEIGHT) > 2:
        raise VideoError(
            "DATA-022",
            f"{seen.width}x{seen.height} pixels: not the shape of {WIDTH}x{HEIGHT}, in which the "
            f"joints are given",
            file=video,
            mend="give the video uncropped",
        )
    require_same_length(count_frames(video), frames)
    return seen.width, seen.height
