"""Which clips of FineGym are at hand: lists, videos of three kinds, and how much of all that is."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from poselens.data.finegym_lists import (
    Category,
    GymId,
    Times,
    gym_id,
    read_categories,
    read_list,
)
from poselens.data.found_videos import FoundVideos, Seen, look_at
from poselens.data.importing import LENGTH_TOLERANCE, ImportReport, require_same_length
from poselens.data.info import ClipRecord, DatasetInfo
from poselens.data.pyskl import scale_of
from poselens.data.pyskl_file import PoseAnnotation
from poselens.errors import AnnotationError, PoselensError, SkeletonError

Subset = Literal["gym99", "gym288"]
Version = Literal["v1.0", "v1.1"]
Kind = Literal["clip", "event", "video"]
CLASSES: Mapping[Subset, int] = {"gym99": 99, "gym288": 288}
PUBLISHED: Mapping[tuple[Subset, Version], tuple[int, int]] = {
    ("gym99", "v1.0"): (20_484, 8_521), ("gym99", "v1.1"): (26_320, 8_521),
    ("gym288", "v1.0"): (22_671, 9_646), ("gym288", "v1.1"): (29_334, 9_646),
}  # fmt: skip
"""Clips that train, and that test, in the published lists."""

_VERSIONS: tuple[Version, ...] = ("v1.0", "v1.1")
_CUT_S: Mapping[Kind, int] = {"clip": 0, "event": 1, "video": 2}
"""Seconds that are lost where times are cut to whole ones: of the element, and of the event."""


@dataclass(frozen=True)
class GymLists:
    """What FineGym publishes of a subset.

    Attributes:
        subset: Which.
        version: Of the train list.
        train: Label of every clip of the train list, by its name.
        test: Label of every clip of the validation list.
        categories: The classes; None where the file is not there.
        times: Exact times; None where the file is not there.
    """

    subset: Subset
    version: Version
    train: Mapping[str, int]
    test: Mapping[str, int]
    categories: Sequence[Category] | None
    times: Times | None

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return f"fine{self.subset}"

    def clips(self) -> Iterator[tuple[GymId, int]]:
        """Yield every clip with its label."""
        for name, label in (*self.train.items(), *self.test.items()):
            clip = gym_id(name)
            if clip is not None:
                yield clip, label


@dataclass(frozen=True, eq=False)
class GymClip:
    """A clip of the lists and what there is of it.

    Attributes:
        name: Its name, read.
        record: Its row.
        entry: Its skeleton.
        video: The file that it is in.
        scale: Factors of x and y from the skeleton's picture to the video.
    """

    name: GymId
    record: ClipRecord
    entry: PoseAnnotation | None = None
    video: Path | None = None
    scale: tuple[float, float] = (1.0, 1.0)


def read_lists(src: Path, subset: Subset, version: Version | None) -> GymLists:
    """Read the published files of a subset.

    Raises:
        AnnotationError: ``DATA-035`` a list is missing or no text, ``DATA-036`` a bad line,
            ``DATA-006`` a label out of range, ``DATA-007`` a clip twice in a list, ``PKL-007`` in
            two lists, ``DATA-037`` bad categories, ``DATA-038`` bad times.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    count = CLASSES[subset]
    there = [name for name in _VERSIONS if (src / _train_list(subset, name)).is_file()]
    chosen = version or (there[0] if there else _VERSIONS[0])
    train = read_list(src / _train_list(subset, chosen), count)
    test = read_list(src / f"{subset}_val_element.txt", count)
    both = sorted(train.keys() & test.keys())
    if both:
        raise AnnotationError(
            "PKL-007", f"{len(both)} clips train and test, {both[0]} is the first", file=src,
            where=f"{subset} lists", mend="download the lists again",
        )  # fmt: skip
    categories, times = src / f"{subset}_categories.txt", None
    sets = src / "set_categories.txt"
    classes = None
    if categories.is_file():
        classes = read_categories(categories, sets if sets.is_file() else None)
        if len(classes) != count:
            raise AnnotationError(
                "DATA-037", f"found {len(classes)} categories, expected {count}", file=categories,
                where=f"line {len(classes)}", mend="download the categories again",
            )  # fmt: skip
    for name in reversed(_VERSIONS):
        exact = src / f"finegym_annotation_info_{name}.json"
        if exact.is_file():
            times = Times(exact)
            break
    return GymLists(subset, chosen, train, test, classes, times)


def _train_list(subset: Subset, version: Version) -> str:
    return f"{subset}_train_element_{version}.txt"


def with_videos(
    clips: Sequence[GymClip], times: Times | None, found: FoundVideos, report: ImportReport
) -> list[GymClip]:
    """Give every clip the video it is in, where there is one: its own, its event's, or the whole.

    A video that cannot be used leaves the clip its skeleton; a skeleton that does not fit the
    video is left out. Both are reported.

    Raises:
        AnnotationError: ``PKL-010`` several videos of one name, ``DATA-038`` times that are none.
    """
    at = [_find(clip, found) for clip in clips]
    own = {
        path for clip, (kind, path) in zip(clips, at, strict=True) if kind == "clip" and clip.entry
    }
    seen = {
        **look_at([path for _, path in at if path is not None and path not in own], count=False),
        **look_at([path for path in own if path is not None], count=True),
    }
    kinds = Counter(kind for kind, path in at if path is not None)
    report.counts |= {
        "videos in the folder": len(found),
        "clips in videos of their own": kinds["clip"],
        "clips in videos of events": kinds["event"],
        "clips in whole videos": kinds["video"],
    }
    result: list[GymClip] = []
    for clip, (kind, path) in zip(clips, at, strict=True):
        placed = clip
        if path is not None:
            try:
                placed = _placed(clip, kind, path, seen[path], times, found.place(path))
            except PoselensError as fault:
                report.skip_fault(fault, f"{path}:{clip.record.id}")
        result.append(_agreeing(placed, kind, times, seen, report))
    return result


def _find(clip: GymClip, found: FoundVideos) -> tuple[Kind, Path | None]:
    name = clip.name
    begin, end = (f"{second:06d}" for second in name.event_s)
    bare = f"{name.video}_{begin}_{end}_{name.element_s[0]:04d}_{name.element_s[1]:04d}"
    names: tuple[tuple[Kind, str], ...] = (
        ("clip", name.text), ("clip", bare), ("event", name.event), ("video", name.video),
    )  # fmt: skip
    for kind, text in names:
        path = found.find(text)
        if path is not None:
            return kind, path
    return "clip", None


def span_s(clip: GymId, kind: Kind, times: Times | None) -> tuple[float | None, float | None, bool]:
    """Return start and end of a clip in its video, and whether they are exact.

    Raises:
        AnnotationError: ``DATA-038`` when the times of the clip are no times.
    """
    if kind == "clip":
        return None, None, True
    exact = times.span_s(clip, in_video=kind == "video") if times is not None else None
    if exact is not None:
        return exact[0], exact[1], True
    begin = clip.event_s[0] if kind == "video" else 0
    start, end = clip.element_s
    return float(begin + start), float(begin + end + _CUT_S[kind]), False


def _placed(
    clip: GymClip,
    kind: Kind,
    path: Path,
    seen: Seen | PoselensError,
    times: Times | None,
    place: str,
) -> GymClip:
    if isinstance(seen, PoselensError):
        raise seen
    start, end, _ = span_s(clip.name, kind, times)
    if start is not None and end is not None:
        if end <= start:
            raise AnnotationError("DATA-025", f"the clip ends at {end:g} s, before {start:g} s")
        if seen.duration_s is not None and start >= seen.duration_s:
            raise AnnotationError(
                "DATA-025",
                f"the clip starts at {start:g} s, but the video lasts {seen.duration_s:g} s",
            )
    record = replace(
        clip.record, video=place, start_s=start, end_s=end, width=seen.width, height=seen.height
    )
    return replace(clip, record=record, video=path)


def _agreeing(
    clip: GymClip,
    kind: Kind,
    times: Times | None,
    seen: Mapping[Path, Seen | PoselensError],
    report: ImportReport,
) -> GymClip:
    """Bring a skeleton onto its video, or leave it out where it is of something else."""
    if clip.entry is None or clip.video is None:
        return clip
    video = seen[clip.video]
    assert isinstance(video, Seen)
    try:
        _require_length(clip.entry.frames, clip.name, kind, times, video)
        return replace(clip, scale=scale_of(clip.entry, video))
    except PoselensError as fault:
        report.skip(
            "PKL-008", f"{clip.video}:{clip.record.id}",
            f"{fault.message}; the clip keeps its video alone",
        )  # fmt: skip
        return replace(clip, entry=None)


def _require_length(frames: int, name: GymId, kind: Kind, times: Times | None, video: Seen) -> None:
    start, end, exact = span_s(name, kind, times)
    if start is None or end is None:
        require_same_length(video.frames or 0, frames)
        return
    if not video.fps:
        return
    longest = (end - start) * video.fps
    # a cut second at either end, and the one that the end was moved by
    shortest = longest if exact else longest - 3 * video.fps
    if not (1 - LENGTH_TOLERANCE) * shortest - 1 <= frames <= (1 + LENGTH_TOLERANCE) * longest + 1:
        raise SkeletonError(
            "SKEL-009", f"{end - start:.2f} s of video have {longest:.0f} frames, the skeleton "
            f"{frames}",
        )  # fmt: skip


def title(lists: GymLists, train: int, test: int) -> str:
    """Return the data set's name, which says how much of the published set it is."""
    of_train, of_test = PUBLISHED[lists.subset, lists.version]
    name = f"FineGym{CLASSES[lists.subset]}" + (" v1.1" if lists.version == "v1.1" else "")
    if (train, test) == (of_train, of_test):
        return name
    return f"{name} ({train:,} of {of_train:,} train, {test:,} of {of_test:,} test clips)"


def fingerprint(clips: Sequence[GymClip]) -> str:
    """Return a short hash of which clips are there."""
    names = "\n".join(sorted(clip.record.id for clip in clips))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def count_available(
    clips: Sequence[GymClip], lists: GymLists, info: DatasetInfo, report: ImportReport
) -> None:
    """Note how many clips of every class and list there are, of how many."""
    present = {clip.record.id for clip in clips}
    tables: dict[str, list[int]] = {}
    for part, listed in (("train", lists.train), ("test", lists.test)):
        here = Counter(label for name, label in listed.items() if name in present)
        labels = range(len(info.classes))
        every = Counter(listed.values())
        tables[part] = [here[label] for label in labels]
        tables[f"{part} listed"] = [every[label] for label in labels]
        report.counts |= {f"{part} clips": here.total(), f"{part} clips listed": len(listed)}
        report.notes.append(
            f"{part}: {here.total():,} of {len(listed):,} listed clips, "
            f"{len(here)} of {len(labels)} classes have some"
        )
    published = PUBLISHED[lists.subset, lists.version]
    if (len(lists.train), len(lists.test)) != published:
        report.notes.append(
            f"the lists have {len(lists.train):,} and {len(lists.test):,} clips, "
            f"published are {published[0]:,} and {published[1]:,}"
        )
    for protocol in info.protocols.values():
        report.notes += [f"train and test share: {reason}" for reason in protocol.shares.values()]
    report.notes.append(f"{info.name}; fingerprint {fingerprint(clips)}")
    report.details |= {
        "fingerprint": fingerprint(clips),
        "with video": sum(clip.video is not None for clip in clips),
        "with joints": sum(clip.entry is not None for clip in clips),
        "availability": [
            {"class": name, **{key: column[label] for key, column in tables.items()}}
            for label, name in enumerate(info.classes)
        ],
    }
