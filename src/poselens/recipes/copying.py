"""A data set whose videos are copies that cost little to read; a complete one, for every command.

Copies are made in child processes into a folder beside the new data set, ``NAME.unfinished``, with
a ledger of those that are whole. A stopped run goes on from there; the data set appears when the
last copy is done.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from poselens.clips.copies import (
    Copy,
    CopyJob,
    CopySettings,
    copy_clip,
    copy_stamp,
    file_size,
    moved,
    note_copy,
    read_copies,
)
from poselens.clips.crop import Placement
from poselens.data.children import Limits, in_children
from poselens.data.disk import require_free, write_flushed
from poselens.data.folder import ClipFolder
from poselens.data.importing import ImportReport, require_clips
from poselens.data.info import DatasetInfo
from poselens.data.table import RARE_COLUMNS
from poselens.data.writer import FolderWriter
from poselens.errors import (
    EnvironmentFault,
    InputError,
    PoselensError,
    UsageError,
    disk_fault,
)
from poselens.types import Space

LEDGER_FILE = "copies.jsonl"
REPORT_FILE = "copy_report.json"
UNFINISHED = ".unfinished"
LIMITS = Limits(seconds=600.0)
"""What the copy of one clip may cost by default."""


@dataclass(frozen=True)
class Copied:
    """What became of a data set.

    Attributes:
        out: The new one.
        clips: Clips in it.
        made: Copies made by this call; the others were there from one that was stopped.
        frames: Frames of all copies.
        whole: Clips whose whole picture was kept because nobody could be found in it.
        short: Clip id to a sentence, where frames are missing or damaged in the original.
        report: Clips left out.
        before: Bytes of the original videos.
        after: Bytes of the copies.
        seconds: Time of this call.
    """

    out: Path
    clips: int
    made: int
    frames: int
    whole: int
    short: dict[str, str]
    report: ImportReport
    before: int
    after: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        facts = {name: getattr(self, name) for name in ("clips", "made", "frames", "short")}
        return {
            "out": str(self.out),
            **facts,
            "whole_frame": self.whole,
            "bytes_before": self.before,
            "bytes_after": self.after,
            "seconds": round(self.seconds, 1),
            "clips_per_s": round(self.made / max(self.seconds, 1e-9), 2),
            "left_out": self.report.as_dict(),
        }


def copy_folder(
    folder: ClipFolder,
    clips: Sequence[int] | Int[np.ndarray, " n"],
    out: Path,
    settings: CopySettings,
    *,
    workers: int | None = None,
    limits: Limits = LIMITS,
    told: Callable[[], None] = lambda: None,
) -> Copied:
    """Make a data set of copies; a clip that cannot be copied is left out and reported.

    Joints in pixels move with the pixels; ``start_s`` and ``end_s`` are gone, because a copy is its
    clip. Classes, splits and joints in metres stay. The ``source`` of dataset.yaml says what was
    done, so results on copies carry a fingerprint of their own.

    Args:
        folder: The original.
        clips: Positions in it.
        out: The new data set.
        settings: How to copy.
        workers: Child processes; None for one a core.
        limits: Of one clip.
        told: Called for each clip.

    Raises:
        UsageError: ``DATA-020`` when ``out`` is in use, ``DATA-065`` when it lies in the original,
            ``DATA-066`` when another process makes it.
        AnnotationError: ``DATA-012`` when nothing is left, ``DATA-067`` for a damaged ledger.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    start = time.monotonic()
    require_free(out)
    if out.resolve().is_relative_to(folder.root.resolve()):
        raise UsageError(
            "DATA-065", "the copies lie inside the data set", file=out, mend="choose another --out"
        )
    work = out.with_name(out.name + UNFINISHED)
    report = ImportReport()
    with _locked(work):
        plans = _plans(folder, [int(clip) for clip in clips], work, settings, report)
        wanted = [plan for plan in plans.values() if plan is not None]
        copies, made = _copy_all(folder, wanted, work, workers, limits, told, report)
        require_clips(len(copies), folder.root, report)
        sources = {plan.job.source for plan in wanted if plan.job.clip in copies}
        result = Copied(
            out=out,
            clips=len(plans) - (len(wanted) - len(copies)),
            made=made,
            frames=sum(copy.frames for copy in copies.values()),
            whole=sum(copy.region in ("no-joints", "too-small") for copy in copies.values()),
            short=_short(folder, copies),
            report=report,
            before=sum(path.stat().st_size for path in sources),
            after=sum(copy.size for copy in copies.values()),
            seconds=time.monotonic() - start,
        )
        _write(folder, plans, copies, result, settings)
        shutil.rmtree(work, ignore_errors=True)
    return result


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold the folder of unfinished copies against a second run of the same command."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(work, os.O_RDONLY)
    except OSError as fault:
        raise disk_fault(fault, work) from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as fault:
        raise UsageError(
            "DATA-066",
            "another process makes these copies",
            file=work,
            mend="wait for it, or choose another --out",
        ) from fault
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _Plan:
    """One copy to make, without its joints: those of all clips may not fit into memory."""

    job: CopyJob
    name: str
    stamp: str


def _plans(
    folder: ClipFolder, clips: list[int], work: Path, settings: CopySettings, report: ImportReport
) -> dict[int, _Plan | None]:
    """Say what is to be copied, None for a clip of joints alone; links out are left out."""
    plans: dict[int, _Plan | None] = {}
    names = _names(folder, clips)
    for clip in clips:
        record = folder.record(clip)
        try:
            source = folder.video_path(clip)
        except InputError as fault:
            report.skip_fault(fault, f"clip {record.id}")
            continue
        if source is None:
            plans[clip] = None
            continue
        target = work / names[clip]
        job = CopyJob(clip, source, target, record.start_s, record.end_s, None, settings)
        plans[clip] = _Plan(job, names[clip], copy_stamp(_with_joints(folder, job)))
    return plans


def _with_joints(folder: ClipFolder, job: CopyJob) -> CopyJob:
    skeleton = folder.skeleton(job.clip, "pixels") if job.settings.crop != "none" else None
    return job if skeleton is None else replace(job, joints=skeleton.positions)


def _names(folder: ClipFolder, clips: list[int]) -> dict[int, str]:
    """Name copies after their videos, numbered where several clips are of one."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for clip in clips:
        video = PurePosixPath(folder.record(clip).video or "video")
        inside = video if video.parts[0] == "videos" else PurePosixPath("videos", video)
        base = name = str(inside.with_suffix(""))
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        names[clip] = f"{name}.mp4"
    return names


def _copy_all(
    folder: ClipFolder,
    plans: Sequence[_Plan],
    work: Path,
    workers: int | None,
    limits: Limits,
    told: Callable[[], None],
    report: ImportReport,
) -> tuple[dict[int, Copy], int]:
    """Copy what the ledger lacks; return all copies by clip, and the number of new ones.

    Raises:
        EnvironmentFault: The first fault of the machine, such as a full disk.
    """
    ledger = read_copies(work / LEDGER_FILE)
    found: dict[int, Copy] = {}
    for plan in plans:
        copy = ledger.get((plan.name, plan.stamp))
        if copy is not None and file_size(plan.job.target) == copy.size:
            found[plan.job.clip] = copy
            told()
    there = len(found)
    lacking = {plan.job.clip: plan for plan in plans if plan.job.clip not in found}
    with (work / LEDGER_FILE).open("ab") as lines:
        jobs = (_with_joints(folder, plan.job) for plan in lacking.values())
        for job, outcome in in_children(
            copy_clip, jobs, file_of=_source_of, workers=workers, limits=limits
        ):
            if isinstance(outcome, EnvironmentFault):
                raise outcome
            if isinstance(outcome, PoselensError):
                report.skip_fault(outcome, f"clip {folder.ids[job.clip]}: {job.source}")
            else:
                found[job.clip] = outcome
                plan = lacking[job.clip]
                note_copy(lines, plan.name, plan.stamp, outcome)
            told()
    return found, len(found) - there


def _source_of(job: CopyJob) -> Path:
    return job.source


def _short(folder: ClipFolder, copies: dict[int, Copy]) -> dict[str, str]:
    return {
        str(folder.ids[clip]): f"{copy.frames} of {copy.promised} frames, {copy.damaged} damaged"
        for clip, copy in copies.items()
        if copy.frames < copy.promised or copy.damaged
    }


def _write(
    folder: ClipFolder,
    plans: dict[int, _Plan | None],
    copies: dict[int, Copy],
    result: Copied,
    settings: CopySettings,
) -> None:
    columns = [name for name in RARE_COLUMNS if (folder.column(name) != "").any()]
    parts = {name: folder.parts(name) for name in folder.info.protocols}
    with FolderWriter(result.out, _described(folder.info, settings), columns=columns) as writer:
        lines = []
        for clip, plan in plans.items():
            record, copy = folder.record(clip), copies.get(clip)
            splits = {protocol: str(part[clip]) for protocol, part in parts.items()}
            if plan is None:
                writer.add(record, splits, _joints(folder, clip, None))
            elif copy is not None:
                record = replace(
                    record, video=plan.name, start_s=None, end_s=None, width=copy.width,
                    height=copy.height,
                )  # fmt: skip
                writer.add(record, splits, _joints(folder, clip, copy.placement))
                _place(plan.job.target, writer.staging / plan.name)
                lines.append(json.dumps({"id": record.id, "video": plan.name, **asdict(copy)}))
        facts = {
            "of": {"name": folder.info.name, "fingerprint": folder.fingerprint()},
            "settings": asdict(settings),
            **result.as_dict(),
        }
        del facts["out"]
        about = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        write_flushed(writer.staging / REPORT_FILE, about.encode())
        write_flushed(writer.staging / LEDGER_FILE, "".join(f"{line}\n" for line in lines).encode())


def _joints(
    folder: ClipFolder, clip: int, placement: Placement | None
) -> dict[Space, NDArray[np.floating]]:
    found: dict[Space, NDArray[np.floating]] = {}
    for space in folder.info.skeletons:
        skeleton = folder.skeleton(clip, space)
        if skeleton is None:
            continue
        found[space] = skeleton.positions
        if space == "pixels" and placement is not None:
            found[space] = moved(skeleton.positions, placement)
    return found


def _place(copy: Path, target: Path) -> None:
    # a second name, so that a run that is stopped here still has its copies
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(copy, target)
        except OSError:
            shutil.copyfile(copy, target)
    except OSError as fault:
        raise disk_fault(fault, target) from fault


def _described(info: DatasetInfo, settings: CopySettings) -> DatasetInfo:
    cut = "whole pictures"
    if settings.crop != "none":
        shape = "square " if settings.crop == "square" else ""
        cut = f"cut to the {shape}activity region with a margin of {settings.margin:g}"
    said = (
        f"copies with {cut}, short side {settings.short_side}, "
        f"H.264 with GOP {settings.gop} and CRF {settings.crf}"
    )
    source = f"{info.source}; {said}" if info.source else said
    return info.model_copy(update={"source": source, "video_roots": []})
