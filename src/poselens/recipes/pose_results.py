"""What comes of estimating poses: a data set or skeleton files, a report, and a table of quality.

``pose_report.json`` says how joints were found and what could not be; ``quality.csv`` has a row a
clip. Both lie in the data set, or beside the skeleton files.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselens.data.disk import StagingFolder, write_flushed
from poselens.data.folder import ClipFolder
from poselens.data.info import PARTS, ClipRecord, SkeletonInfo
from poselens.data.table import RARE_COLUMNS
from poselens.data.writer import FolderWriter
from poselens.errors import disk_fault
from poselens.pose.declared import declaration
from poselens.recipes.pose_ledger import FAILED, POSED, Standing, read_part
from poselens.recipes.pose_sources import DataSetClips, Videos
from poselens.recognition.pose_clip import NUMBERS
from poselens.types import Space

REPORT_FILE = "pose_report.json"
QUALITY_FILE = "quality.csv"
LISTED = 1000
_COLUMNS = ("id", "status", "code", "frames", "people", "found", *NUMBERS)
_MEANING = {
    "quality": "confidence x coverage",
    "confidence": "mean score of the joints found",
    "coverage": "share of joints found, of all joints of all subjects and frames",
    "jitter": "median |x[t+1] - 2 x[t] + x[t-1]| in percent of the person's diagonal, unsmoothed",
}


@dataclass(frozen=True)
class Posed:
    """The content of ``pose_report.json``.

    Attributes:
        settings: Source and settings, by which a finished output is recognised.
        provider: What ran the networks.
        clips: All clips.
        posed: Those with joints.
        spectators: People found and left out, over all clips.
        failures: ``id``, ``code`` and ``message`` of clips without joints, the first 1,000.
        by_code: How many failed, by code.
        quality: Quartiles of each number over the clips with joints.
    """

    settings: dict[str, Any]
    provider: str
    clips: int
    posed: int
    spectators: int
    failures: list[dict[str, str]]
    by_code: dict[str, int]
    quality: dict[str, list[float]]

    @property
    def failed(self) -> int:
        """Clips without joints."""
        return sum(self.by_code.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "clips": self.clips,
            "posed": self.posed,
            "failed": self.failed,
            "failed_by_code": self.by_code,
            "spectators_left_out": self.spectators,
            "provider": self.provider,
            "settings": self.settings,
            "quality_quartiles": self.quality,
            "meaning": _MEANING,
            "list": self.failures,
        }


def read_report(out: Path) -> Posed | None:
    """Return the report of a finished output, None where there is none."""
    try:
        found = json.loads((out / REPORT_FILE).read_text(encoding="utf-8"))
        return Posed(
            settings=dict(found["settings"]),
            provider=str(found["provider"]),
            clips=int(found["clips"]),
            posed=int(found["posed"]),
            spectators=int(found["spectators_left_out"]),
            failures=list(found["list"]),
            by_code=dict(found["failed_by_code"]),
            quality=dict(found["quality_quartiles"]),
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write_results(
    source: DataSetClips | Videos,
    out: Path,
    work: Path,
    standing: Standing,
    settings: Mapping[str, Any],
    layout: str,
    provider: str,
) -> Posed:
    """Assemble the output from the parts; it appears complete or not at all.

    Raises:
        UsageError: ``DATA-020`` when ``out`` holds something else.
        AnnotationError: ``POSE-013`` when a part is damaged.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    posed = _report(source, standing, settings, provider)
    if isinstance(source, DataSetClips):
        _write_data_set(source.folder, out, work, standing, layout, posed)
    else:
        _write_files(source, out, work, standing, layout, posed)
    return posed


def _report(
    source: DataSetClips | Videos, standing: Standing, settings: Mapping[str, Any], provider: str
) -> Posed:
    done = standing.status == POSED
    counts = standing.counts
    failed = sorted(standing.failures)
    failures = []
    for clip in failed[:LISTED]:
        item = source.item(clip)
        code, message = standing.failures[clip]
        failures.append(
            {"id": str(clip) if item is None else item.id, "code": code, "message": message}
        )
    quartiles = {}
    for name in NUMBERS:
        known = standing.numbers[name][done & np.isfinite(standing.numbers[name])]
        found = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)) if len(known) else []
        quartiles[name] = [round(float(value), 4) for value in found]
    return Posed(
        settings=json.loads(json.dumps(dict(settings))),
        provider=provider,
        clips=len(source),
        posed=int(done.sum()),
        spectators=int((counts["found"] - counts["people"])[done].clip(0).sum()),
        failures=failures,
        by_code=dict(sorted(Counter(standing.failures[clip][0] for clip in failed).items())),
        quality=quartiles,
    )


def _write_data_set(
    folder: ClipFolder, out: Path, work: Path, standing: Standing, layout: str, posed: Posed
) -> None:
    """Copy a data set with joints in pixels; videos are linked, not copied."""
    own = declaration(layout)
    info = folder.info.model_copy(
        update={
            "layouts": {**folder.info.layouts, **({layout: own} if own else {})},
            "skeletons": {"pixels": SkeletonInfo(layout=layout, dimensions=2)},
            "video_roots": [*folder.info.video_roots, str(folder.root.resolve())],
        }
    )
    columns = [name for name in RARE_COLUMNS if (folder.column(name) != "").any()]
    splits = {name: folder.parts(name) for name in info.protocols}
    with FolderWriter(out, info, columns=columns) as writer:
        for clip in range(len(folder)):
            record = folder.record(clip)
            _link(folder, clip, record, writer.staging)
            joints: dict[Space, NDArray[np.float32]] = {}
            if standing.status[clip] == POSED:
                joints["pixels"] = read_part(work, clip)[0]
            parts = {name: str(found[clip]) for name, found in splits.items()}
            writer.add(
                record, {name: part for name, part in parts.items() if part in PARTS}, joints
            )
        _write_tables([str(one) for one in folder.ids], writer.staging, standing, posed)


def _link(folder: ClipFolder, clip: int, record: ClipRecord, staging: Path) -> None:
    path = folder.video_path(clip)
    if path is None or record.video is None:
        return
    target = staging / record.video
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_symlink():
            os.symlink(path.resolve(), target)
    except OSError as fault:
        raise disk_fault(fault, target) from fault


def _write_files(
    source: Videos, out: Path, work: Path, standing: Standing, layout: str, posed: Posed
) -> None:
    """Write ``ID.npz`` for each video: ``pixels``, ``layout``, and ``scores`` beside them."""
    folder = StagingFolder(out)
    try:
        for clip in np.flatnonzero(standing.status == POSED).tolist():
            pixels, scores = read_part(work, clip)
            content = io.BytesIO()
            np.savez(content, pixels=pixels, scores=scores, layout=np.array(layout))
            target = folder.path / f"{source.ids[clip]}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_flushed(target, content.getvalue())
        _write_tables(source.ids, folder.path, standing, posed)
    except BaseException as fault:
        folder.discard()
        if isinstance(fault, OSError):
            raise disk_fault(fault, out) from fault
        raise
    folder.commit()


def _write_tables(ids: list[str], folder: Path, standing: Standing, posed: Posed) -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    names = {0: "no video", POSED: "posed", FAILED: "failed"}
    for clip, one in enumerate(ids):
        values = [standing.numbers[name][clip] for name in NUMBERS]
        rows.writerow(
            (
                one,
                names[int(standing.status[clip])],
                standing.failures.get(clip, ("", ""))[0],
                *(int(standing.counts[name][clip]) for name in ("frames", "people", "found")),
                *(f"{value:.4f}" if np.isfinite(value) else "" for value in values),
            )
        )
    write_flushed(folder / QUALITY_FILE, text.getvalue().encode(errors="backslashreplace"))
    report = json.dumps(posed.as_dict(), indent=2, ensure_ascii=False) + "\n"
    write_flushed(folder / REPORT_FILE, report.encode(errors="backslashreplace"))
