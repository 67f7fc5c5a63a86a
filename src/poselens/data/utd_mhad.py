"""Importer for UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): video and Kinect skeleton."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.data.importing import (
    ImportReport,
    Link,
    place_videos,
    read_recordings,
    require_clips,
    require_same_length,
    require_source,
    video_roots,
)
from poselens.data.info import (
    ClipRecord,
    DatasetInfo,
    Part,
    ProtocolInfo,
    SkeletonInfo,
)
from poselens.data.store import zeros_are_missing
from poselens.data.utd_mhad_original import (
    Picture,
    choose_picture,
    is_original,
    read_depth,
    recordings,
)
from poselens.data.writer import FolderWriter
from poselens.errors import InputError, PoselensError, UsageError, VideoError
from poselens.types import Space

CLASSES = (
    "swipe-left", "swipe-right", "wave", "clap", "throw", "arm-cross", "basketball-shoot", "draw-x",
    "draw-circle-clockwise", "draw-circle-counter-clockwise", "draw-triangle", "bowling", "boxing",
    "baseball-swing", "tennis-swing", "arm-curl", "tennis-serve", "push", "knock", "catch",
    "pick-up-and-throw", "jog", "walk", "sit-to-stand", "stand-to-sit", "lunge", "squat",
)  # fmt: skip
PROTOCOL = "utd-mhad"
WIDTH, HEIGHT = 320, 240
FPS = 30.0
FOCAL_PIXELS = 285.63
_NAME = re.compile(r"a([0-9]{1,2})_s([1-8])_t([0-9]{1,2})")
_TEST_SUBJECTS = ("2", "4", "6", "8")
_VAL_SUBJECT = "7"


def import_utd_mhad(
    src: Path, out: Path, *, link: Link = "copy", picture: str | None = None
) -> ImportReport:
    """Import the data set as published, or a folder with ``depth_mp4/`` and ``skeleton.npz``.

    The published form is ``Skeleton/aX_sY_tZ_skeleton.mat`` beside ``RGB/aX_sY_tZ_color.avi`` or
    ``Depth/aX_sY_tZ_depth.mat``; colour is taken where it is there. Joints are stored in metres as
    recorded, and with depth also in pixels of the depth picture. Protocol
    ``utd-mhad``: subjects 2, 4, 6, 8 test, 1, 3, 5 train and 7 is validation. No clip is mirrored:
    every arm action uses the right arm, and swipes differ by their direction alone.

    Departure: the usual protocol trains on 1, 3, 5, 7 and selects on the test subjects; here
    subject 7 is carved out of train for that, and joins it again as ``train+val``.

    Departure: with colour there are no joints in pixels. Where the colour camera stood beside the
    depth camera was not published, so a projection would be a guess; crops look at whole frames.

    Args:
        src: The folder.
        out: Folder to make.
        link: How videos come into the folder; depth of the published form is written as video.
        picture: ``colour`` or ``depth``, of the published form.

    Raises:
        UsageError: ``DATA-001``, ``DATA-020``, see ``require_source``; ``DATA-046`` for pictures
            that are not there or not asked for like this.
        AnnotationError: ``DATA-012`` when nothing is left to import, or ``skeleton.npz`` is
            missing, damaged or contradicts itself.
        SkeletonError: ``SKEL-005`` when joints are not (rows, 20, 3).
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    require_source(src, out)
    if is_original(src):
        return _import_original(src, out, link, choose_picture(src, picture))
    if picture not in (None, "depth"):
        raise UsageError(
            "DATA-046", f"no {picture!r} pictures here, found depth", file=src,
            mend="leave --picture out",
        )  # fmt: skip
    stored = _read_recordings(src / "skeleton.npz")
    report = ImportReport()
    clips = [clip for clip in (_check(name, joints, src, report) for name, joints in stored)
             if clip is not None]  # fmt: skip
    _report_unpaired(src, {name for name, _ in stored}, report)
    require_clips(len(clips), src, report)
    videos = {f"videos/{clip.record.id}.mp4": clip.video for clip in clips}
    with FolderWriter(out, _info(video_roots(link, videos))) as writer:
        for clip in clips:
            writer.add(
                clip.record,
                {PROTOCOL: _part(clip.record.subject)},
                {"pixels": project(clip.joints_metres)[None], "metres": clip.joints_metres[None]},
            )
        place_videos(videos, writer.staging, link)
        report.imported = len(clips)
        report.write(writer.staging)
    return report


def _import_original(src: Path, out: Path, link: Link, picture: Picture | None) -> ImportReport:
    # video reading loads FFmpeg; opening a finished data set does not need it
    from poselens.data.video import probe, write_video

    if picture == "depth" and link != "copy":
        raise UsageError(
            "DATA-046", "depth is written as video from .mat files, which cannot be linked",
            file=src, mend="leave --link out",
        )  # fmt: skip
    report = ImportReport()
    videos: dict[str, Path] = {}
    roots = [] if link != "symbolic" else [str((src / "RGB").resolve())]
    with FolderWriter(out, _info(roots, pixels=picture == "depth")) as writer:
        (writer.staging / "videos").mkdir()
        for recording in recordings(src, picture, report):
            clip, joints = _record(recording.name, picture, report), recording.joints_metres
            if clip is None:
                continue
            try:
                if picture == "colour" and recording.picture is not None:
                    seen = probe(recording.picture)
                    clip = replace(clip, width=seen.width, height=seen.height)
                    videos[clip.video or ""] = recording.picture
                elif picture == "depth" and recording.picture is not None:
                    depth = read_depth(recording.picture)
                    require_same_length(len(depth), len(joints))
                    frames = (np.repeat(each[..., None], 3, axis=2) for each in depth)
                    write_video(writer.staging / (clip.video or ""), frames, fps=FPS)
            except InputError as fault:
                report.skip_fault(fault, recording.picture or recording.name)
                continue
            skeletons: dict[Space, NDArray[np.float32]] = {"metres": joints[None]}
            if picture == "depth":
                skeletons["pixels"] = project(joints)[None]
            writer.add(clip, {PROTOCOL: _part(clip.subject)}, skeletons)
            report.imported += 1
        require_clips(report.imported, src, report)
        place_videos(videos, writer.staging, link)
        report.write(writer.staging)
    return report


def _record(name: str, picture: Picture | None, report: ImportReport) -> ClipRecord | None:
    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match[1]) <= len(CLASSES):
        report.skip("DATA-021", name, "the name is not aA_sS_tT with A in 1-27 and S in 1-8")
        return None
    suffix = {"colour": ".avi", "depth": ".mp4", None: ""}[picture]
    return ClipRecord(
        id=name,
        video=f"videos/{name}{suffix}" if suffix else None,
        label=int(match[1]) - 1,
        subject=match[2],
        source=name,
        width=WIDTH if picture == "depth" else None,
        height=HEIGHT if picture == "depth" else None,
    )


def _info(roots: list[str], *, pixels: bool = True) -> DatasetInfo:
    skeletons: dict[Space, SkeletonInfo] = {
        "pixels": SkeletonInfo(layout="kinect-20", dimensions=2),
        "metres": SkeletonInfo(layout="kinect-20", dimensions=3),
    }
    if not pixels:
        del skeletons["pixels"]
    return DatasetInfo(
        name="UTD-MHAD",
        classes=list(CLASSES),
        skeletons=skeletons,
        protocols={
            PROTOCOL: ProtocolInfo(
                description="cross-subject: train 1, 3, 5, 7 (of them 7 validation), "
                "test 2, 4, 6, 8",
                group="subject",
                chance=1 / len(CLASSES),
            )
        },
        mirror="none",
        source="UTD-MHAD, University of Texas at Dallas; Chen, Jafari, Kehtarnavaz, ICIP 2015",
        licence="public academic data set; cite it",
        fps=FPS,
        video_roots=roots,
    )


@dataclass(frozen=True, eq=False)
class _Clip:
    record: ClipRecord
    joints_metres: NDArray[np.float32]
    video: Path


def _part(subject: str) -> Part:
    return "test" if subject in _TEST_SUBJECTS else "val" if subject == _VAL_SUBJECT else "train"


def project(joints_metres: Float[np.ndarray, "t v 3"]) -> Float[np.ndarray, "t v 2"]:
    r"""Project Kinect joints into the 320 x 240 depth picture.

    .. math::
        u = 160 + 285.63\,X/Z, \qquad v = 120 - 285.63\,Y/Z

    A joint at or behind the camera is missing. In fast motion the skeleton is 1-3 frames off the
    video.
    """
    x, y, depth = np.moveaxis(joints_metres.astype(np.float64), -1, 0)
    depth = np.where(depth > 0, depth, np.nan)
    picture = np.stack(
        [WIDTH / 2 + FOCAL_PIXELS * x / depth, HEIGHT / 2 - FOCAL_PIXELS * y / depth], axis=-1
    )
    return picture.astype(np.float32)


def _read_recordings(path: Path) -> list[tuple[str, NDArray[np.float32]]]:
    names, recordings, _ = read_recordings(path, (20, 3))
    return list(zip(names, map(zeros_are_missing, recordings), strict=True))


def _check(name: str, joints: NDArray[np.float32], src: Path, report: ImportReport) -> _Clip | None:
    # video reading loads FFmpeg; opening a finished data set does not need it
    from poselens.data.video import count_frames, probe

    record = _record(name, "depth", report)
    if record is None:
        return None
    video = src / "depth_mp4" / f"{name}.mp4"
    try:
        seen = probe(video)
        if (seen.width, seen.height) != (WIDTH, HEIGHT):
            raise VideoError(
                "DATA-022",
                f"{seen.width}x{seen.height} pixels, but joints project into {WIDTH}x{HEIGHT}",
            )
        require_same_length(count_frames(video), len(joints))
    except PoselensError as fault:
        report.skip_fault(fault, video)
        return None
    return _Clip(record, joints, video)


def _report_unpaired(src: Path, names: set[str], report: ImportReport) -> None:
    for path in sorted((src / "depth_mp4").glob("*")):
        if path.suffix != ".mp4":
            report.skip("DATA-021", path, "not an .mp4 file")
        elif path.stem not in names:
            report.skip("DATA-022", path, "no skeleton has this name")
