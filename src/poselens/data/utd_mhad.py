"""Importer for UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): depth video and Kinect skeleton."""

import re
from dataclasses import dataclass
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
from poselens.data.writer import FolderWriter
from poselens.errors import PoselensError, VideoError

CLASSES = (
    "swipe-left", "swipe-right", "wave", "clap", "throw", "arm-cross", "basketball-shoot", "draw-x",
    "draw-circle-clockwise", "draw-circle-counter-clockwise", "draw-triangle", "bowling", "boxing",
    "baseball-swing", "tennis-swing", "arm-curl", "tennis-serve", "push", "knock", "catch",
    "pick-up-and-throw", "jog", "walk", "sit-to-stand", "stand-to-sit", "lunge", "squat",
)  # fmt: skip
PROTOCOL = "utd-mhad"
WIDTH, HEIGHT = 320, 240
FOCAL_PIXELS = 285.63
_NAME = re.compile(r"a([0-9]{1,2})_s([1-8])_t([0-9]{1,2})")
_TEST_SUBJECTS = ("2", "4", "6", "8")
_VAL_SUBJECT = "7"


def import_utd_mhad(src: Path, out: Path, *, link: Link = "copy") -> ImportReport:
    """Import a folder with ``depth_mp4/aX_sY_tZ.mp4`` and ``skeleton.npz``.

    Joints are stored in metres as recorded, and in pixels of the depth picture. Protocol
    ``utd-mhad``: subjects 2, 4, 6, 8 test, 1, 3, 5 train and 7 is validation. No clip is mirrored:
    every arm action uses the right arm, and swipes differ by their direction alone.

    Departure: the usual protocol trains on 1, 3, 5, 7 and selects on the test subjects; here
    subject 7 is carved out of train for that, and joins it again as ``train+val``.

    Raises:
        UsageError: ``DATA-001``, ``DATA-020``, see ``require_source``.
        AnnotationError: ``DATA-012`` when nothing is left to import, or ``skeleton.npz`` is
            missing, damaged or contradicts itself.
        SkeletonError: ``SKEL-005`` when joints are not (rows, 20, 3).
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    require_source(src, out)
    recordings = _read_recordings(src / "skeleton.npz")
    report = ImportReport()
    clips = [clip for clip in (_check(name, joints, src, report) for name, joints in recordings)
             if clip is not None]  # fmt: skip
    _report_unpaired(src, {name for name, _ in recordings}, report)
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


def _info(roots: list[str]) -> DatasetInfo:
    return DatasetInfo(
        name="UTD-MHAD",
        classes=list(CLASSES),
        skeletons={
            "pixels": SkeletonInfo(layout="kinect-20", dimensions=2),
            "metres": SkeletonInfo(layout="kinect-20", dimensions=3),
        },
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
        fps=30.0,
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

    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match[1]) <= len(CLASSES):
        report.skip("DATA-021", name, "the name is not aA_sS_tT with A in 1-27 and S in 1-8")
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
    record = ClipRecord(
        id=name,
        video=f"videos/{name}.mp4",
        label=int(match[1]) - 1,
        subject=match[2],
        source=name,
        width=WIDTH,
        height=HEIGHT,
    )
    return _Clip(record, joints, video)


def _report_unpaired(src: Path, names: set[str], report: ImportReport) -> None:
    for path in sorted((src / "depth_mp4").glob("*")):
        if path.suffix != ".mp4":
            report.skip("DATA-021", path, "not an .mp4 file")
        elif path.stem not in names:
            report.skip("DATA-022", path, "no skeleton has this name")
