"""Importer for FineGym (Shao et al., CVPR 2020): whatever of it is on the disk, and no more."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.data.finegym_clips import (
    CLASSES,
    GymClip,
    GymLists,
    Subset,
    Version,
    count_available,
    fingerprint,
    read_lists,
    title,
    with_videos,
)
from poselens.data.finegym_lists import GymId, gym_id
from poselens.data.found_videos import FoundVideos
from poselens.data.importing import (
    ImportReport,
    Link,
    place_videos,
    require_clips,
    require_source,
    video_roots,
)
from poselens.data.info import ClipRecord, DatasetInfo, Part, ProtocolInfo, SkeletonInfo
from poselens.data.pickles import open_pickle
from poselens.data.pyskl import scaled
from poselens.data.pyskl_file import PoseAnnotation, read_annotations
from poselens.data.pyskl_protocols import (
    GYM_SHARED,
    VAL_SHARE,
    carve_validation,
    shared_columns,
)
from poselens.data.store import check_positions
from poselens.data.writer import FolderWriter
from poselens.errors import PoselensError, UsageError
from poselens.types import Space

SKELETONS = SkeletonInfo(layout="coco-17", dimensions=2)


def import_finegym(
    src: Path,
    out: Path,
    *,
    subset: Subset = "gym99",
    version: Version | None = None,
    videos: Path | None = None,
    skeletons: Path | None = None,
    link: Link = "copy",
) -> ImportReport:
    """Import the clips of FineGym's lists whose video or skeleton is on the disk.

    ``src`` holds the published lists and categories. Below ``videos`` lie clips by their own name
    (as MMAction2 cuts them), videos of events, or whole videos by their YouTube id; start and end
    come from ``finegym_annotation_info_*.json`` where it lies in ``src``, else from the whole
    seconds of the name. ``skeletons`` is an annotation pickle, such as PYSKL's ``gym_hrnet.pkl``,
    joined by name.

    The data set is called by how much of the published set it is, and its fingerprint is that of
    the clips at hand. The report counts them by class and part.

    Departure: the published validation list is the test part, as papers report on it; validation
    is carved out of train by whole videos, about 8 %. The lists of v1.0 are taken where both are
    there: the 29,000 clips of most papers. Where times are whole seconds, the end is one later
    than the name says (two in a whole video), since the seconds were cut. A clip is mirrored with
    its class unless a name speaks of left or right, which no published one does. Of clips with
    video and joints of different length, the video stays.

    Args:
        src: Folder of the lists.
        out: Folder to make.
        subset: ``gym99`` or ``gym288``.
        version: Of the train list; None for the first that is there.
        videos: Folder of the videos.
        skeletons: Annotation pickle.
        link: How videos come into the data set.

    Raises:
        UsageError: ``DATA-001``, ``DATA-020``; ``DATA-039`` neither videos nor skeletons.
        AnnotationError: ``DATA-006``, ``DATA-007``, ``DATA-012``, ``DATA-035`` to ``DATA-038``,
            ``PKL-001`` to ``PKL-006``, ``PKL-010``.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    require_source(src, out)
    if videos is None and skeletons is None:
        raise UsageError(
            "DATA-039", "neither videos nor skeletons are given", file=src,
            mend="give --videos, --skeletons or both",
        )  # fmt: skip
    lists = read_lists(src, subset, version)
    report = ImportReport()
    with _entries(skeletons, lists, report) as entries:
        clips = [
            GymClip(clip, _record(clip, label, entries.get(clip.text)), entries.get(clip.text))
            for clip, label in lists.clips()
        ]
        if videos is not None:
            clips = with_videos(clips, lists.times, FoundVideos(videos, report), report)
        clips = [clip for clip in clips if clip.video is not None or clip.entry is not None]
        require_clips(len(clips), videos or src, report)
        parts = _parts(clips, lists, report)
        origins = {clip.record.video or "": clip.video for clip in clips if clip.video}
        info = _info(clips, lists, parts, video_roots(link, origins))
        count_available(clips, lists, info, report)
        with FolderWriter(out, info, columns=("event",)) as writer:
            for clip in clips:
                joints = _joints(clip, skeletons or src)
                writer.add(clip.record, {lists.protocol: parts[clip.record.id]}, joints)
            place_videos(origins, writer.staging, link)
            report.imported = len(clips)
            report.write(writer.staging)
    return report


@contextmanager
def _entries(
    path: Path | None, lists: GymLists, report: ImportReport
) -> Iterator[Mapping[str, PoseAnnotation]]:
    """Yield the usable skeletons of the lists' clips by the clip's name."""
    if path is None:
        yield {}
        return
    if not path.is_file():
        raise UsageError(
            "DATA-001", "the skeletons do not exist", file=path.absolute(), mend="check --skeletons"
        )
    listed = lists.train.keys() | lists.test.keys()
    with open_pickle(path) as content:
        file = read_annotations(content, path)
        for fault in file.unusable.values():
            report.skip_fault(fault, f"{path}:{fault.where}")
        found: dict[str, PoseAnnotation] = {}
        for entry in file.annotations:
            clip = gym_id(entry.id)
            if clip is None or clip.text not in listed:
                continue
            try:
                check_positions(entry.positions(path, 0.0), SKELETONS, file=path, where=entry.place)
                found[clip.text] = entry
            except PoselensError as fault:
                report.skip_fault(fault, f"{path}:{entry.place}")
        report.counts |= {
            "skeletons in the pickle": len(file.annotations),
            "of them of listed clips": len(found),
        }
        yield found


def _record(clip: GymId, label: int, entry: PoseAnnotation | None) -> ClipRecord:
    height, width = (entry.size if entry else None) or (None, None)
    return ClipRecord(
        id=clip.text,
        label=label,
        source=clip.video,
        event=clip.event,
        width=width,
        height=height,
    )


def _joints(clip: GymClip, path: Path) -> dict[Space, NDArray[np.float32]]:
    if clip.entry is None:
        return {}
    return {"pixels": scaled(clip.entry.positions(path, 0.0), clip.scale)}


def _parts(clips: Sequence[GymClip], lists: GymLists, report: ImportReport) -> dict[str, Part]:
    records = [clip.record for clip in clips]
    official: list[Part] = ["train" if record.id in lists.train else "test" for record in records]
    parts = carve_validation(records, official, ("source", "event"), report, lists.protocol)
    return dict(zip((record.id for record in records), parts, strict=True))


def _info(
    clips: Sequence[GymClip], lists: GymLists, parts: Mapping[str, Part], roots: list[str]
) -> DatasetInfo:
    train = sum(clip.record.id in lists.train for clip in clips)
    categories = lists.categories
    names = [category.name for category in categories or ()]
    sided = any(re.search(r"\b(left|right)\b", name) for name in names)
    return DatasetInfo(
        name=title(lists, train, len(clips) - train),
        classes=names or [f"class {label}" for label in range(CLASSES[lists.subset])],
        skeletons={"pixels": SKELETONS} if any(clip.entry for clip in clips) else {},
        protocols={
            lists.protocol: ProtocolInfo(
                description="official split by element: the validation list tests; val is carved "
                f"out of the train list {lists.version} by whole videos, about "
                f"{VAL_SHARE:.0%} of every class",
                shares=shared_columns([clip.record for clip in clips], parts, GYM_SHARED),
                metric="mean_class",
                chance=1 / CLASSES[lists.subset],
            )
        },
        hierarchy={
            "event": [category.event for category in categories],
            "set": [category.set_name for category in categories],
        }
        if categories
        else {},
        mirror="same" if names and not sided else "none",
        source="FineGym, Shao, Zhao, Dai, Lin, CVPR 2020, sdolivia.github.io/FineGym; "
        f"clips at hand: fingerprint {fingerprint(clips)}",
        licence="see sdolivia.github.io/FineGym; the videos are not part of its terms",
        video_roots=roots,
    )
