"""The files of a check: ``check.json``, ``check.html`` and ``bad.csv``."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import poselens
from poselens.data.disk import write_replacing
from poselens.data.info import PARTS
from poselens.errors import disk_fault
from poselens.evaluation.check_page import (
    CheckPage,
    ClassTable,
    Histogram,
    Level,
    Problem,
    Row,
    render_check,
)
from poselens.recipes.check_findings import FORMAT, Checked, Parts, bad_csv
from poselens.recipes.check_pictures import GROUPS_SHOWN, class_gallery, copy_strips
from poselens.recipes.check_rules import Facts

ROWS_SHOWN = 200
_COLUMNS = (*PARTS, "in none")


@dataclass(frozen=True)
class Written:
    """Where the files of a check lie."""

    page: Path
    facts: Path
    bad: Path


def write_check(checked: Checked, out: Path, *, workers: int | None = None) -> Written:
    """Write ``check.json``, ``check.html`` and ``bad.csv`` into a folder.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when they cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise disk_fault(fault, out) from fault
    written = Written(out / "check.html", out / "check.json", out / "bad.csv")
    text = json.dumps(summary(checked), ensure_ascii=False, indent=1)
    write_replacing(written.facts, (text + "\n").encode(errors="backslashreplace"))
    write_replacing(written.bad, bad_csv(checked))
    page = render_check(_page(checked, workers))
    write_replacing(written.page, page.encode(errors="backslashreplace"))
    return written


def summary(checked: Checked) -> dict[str, Any]:
    """Return what ``check.json`` holds and ``--json`` prints; see docs/guides/check.md."""
    facts, folder = checked.facts, checked.facts.folder
    return {
        "format": FORMAT,
        "dataset": folder.info.name,
        "fingerprint": folder.fingerprint(),
        "clips_fingerprint": folder.clips_fingerprint(),
        "quick": checked.quick,
        "verdict": checked.verdict(),
        "clips": len(folder),
        "fine": checked.fine,
        "with_warnings": checked.with_warnings,
        "with_errors": checked.with_errors,
        "unreadable": checked.unreadable,
        "errors": checked.count("error"),
        "warnings": checked.count("warning"),
        "notes": checked.count("note"),
        "findings": [finding.as_dict() for finding in checked.findings],
        "twins": [[str(folder.ids[clip]) for clip in pair] for pair in checked.twins],
        "copy_groups": len(checked.groups),
        "protocols": {
            parts.protocol: _protocol(parts, folder.info.classes) for parts in checked.parts
        },
        "subjects": dict(_subjects(facts)),
        "numbers": {name: _spread(values) for name, values in _numbers(facts).items()},
        "sizes": _sizes(facts),
    }


def _protocol(parts: Parts, classes: list[str]) -> dict[str, Any]:
    rows = zip([*classes, ""], parts.table.tolist(), strict=True)
    return {
        "parts": dict(zip(_COLUMNS, parts.table.sum(axis=0).tolist(), strict=True)),
        "classes": {name: dict(zip(_COLUMNS, row, strict=True)) for name, row in rows},
        "leaks": [leak.as_dict() for leak in parts.leaks],
        "unknown": parts.unknown,
    }


def _subjects(facts: Facts) -> list[tuple[str, int]]:
    codes, names = facts.folder.coded("subject")
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    return [(names[place], int(counts[place])) for place in np.argsort(-counts, kind="stable")]


def _numbers(facts: Facts) -> dict[str, NDArray[np.float32]]:
    """Return what is drawn as histograms, one number a clip."""
    stated = facts.folder.info.fps or np.nan
    fps = facts["video_fps"]
    rate = np.where(fps > 0, fps, stated)
    frames = np.where(facts["frames"] > 0, facts["frames"], facts.worst("frames"))
    values = {
        "frames": frames,
        "seconds": frames / rate,
        "fps": fps,
        "coverage": 100 * facts.least("coverage"),
        "missing": 100 * facts.worst("missing"),
        "outside": 100 * facts["pixels_outside"],
        "people": facts.worst("people"),
    }
    return {name: found for name, found in values.items() if np.isfinite(found).any()}


def _spread(values: NDArray[np.float32]) -> dict[str, float]:
    known = values[np.isfinite(values)].astype(np.float64)
    low, middle, high = np.percentile(known, [0, 50, 100])
    return {
        "clips": len(known),
        "least": round(float(low), 4),
        "median": round(float(middle), 4),
        "most": round(float(high), 4),
    }


def _sizes(facts: Facts) -> dict[str, int]:
    """Return clips by size of the picture, the most frequent first."""
    known = np.isfinite(facts["video_width"])
    pairs = np.stack([facts["video_width"][known], facts["video_height"][known]], axis=1)
    kinds, counts = np.unique(pairs.astype(int), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:20]
    return {f"{kinds[k][0]}x{kinds[k][1]}": int(counts[k]) for k in order}


_TITLES = {
    "seconds": ("How long clips last", "seconds"),
    "frames": ("Frames of a clip", "frames"),
    "fps": ("Frame rate of the videos", "frames per second"),
    "coverage": ("Frames with a person", "% of a clip's frames"),
    "missing": ("Joints that are missing", "% of the joints of people seen"),
    "outside": ("Joints outside the picture", "% of the known joints"),
    "people": ("Most people in a frame", "people"),
}


def _histograms(facts: Facts) -> list[Histogram]:
    numbers = _numbers(facts)
    if "seconds" in numbers:
        del numbers["frames"]
    drawn = []
    for name, (title, unit) in _TITLES.items():
        if name not in numbers or (name in ("outside", "people") and numbers[name].max() <= 1):
            continue
        known = numbers[name][np.isfinite(numbers[name])].astype(np.float64)
        low, high = float(known.min()), float(known.max())
        if high - low < 1e-6:
            counts, edges = np.array([len(known)]), np.array([low, high])
        else:
            span = (0.0, 100.0) if unit.startswith("%") else (low, high)
            counts, edges = np.histogram(known, bins=20, range=span)
        drawn.append(Histogram(title, unit, edges, counts))
    return drawn


def _page(checked: Checked, workers: int | None) -> CheckPage:
    facts, folder = checked.facts, checked.facts.folder
    levels = [finding.severity for finding in checked.findings if finding.severity != "note"]
    level: Level | None = levels[0] if levels else None
    strips = copy_strips(facts, checked.groups, workers)
    groups = [
        (f"{len(group)} clips: {_how(checked, group)}", tiles)
        for group, tiles in zip(checked.groups, strips, strict=False)
    ]
    return CheckPage(
        dataset=folder.info.name,
        verdict=checked.verdict(),
        level=level,
        facts=_header(checked),
        problems=[
            Problem(
                finding.code, finding.severity, finding.title, finding.mend, finding.count,
                finding.counted,
                [Row(item.id, item.file, item.reason, item.code) for item in finding.shown()],
            )
            for finding in checked.findings
        ],
        histograms=_histograms(facts),
        tables=[_table(parts, folder.info.classes) for parts in checked.parts],
        groups=groups,
        left_out=max(len(checked.groups) - GROUPS_SHOWN, 0),
        gallery=class_gallery(facts, workers),
        gallery_note=_gallery_note(facts),
        subjects=_subjects(facts)[:ROWS_SHOWN],
        footer=f"Made by poselens {poselens.__version__} on {datetime.now(UTC):%Y-%m-%d}. "
        "No file of the data set was changed.",
    )  # fmt: skip


def _how(checked: Checked, group: list[int]) -> str:
    inside = set(group)
    pairs = [copy for copy in checked.copies if copy.first in inside]
    if all(copy.same for copy in pairs):
        return "the same content"
    worst = max(copy.apart for copy in pairs)
    return f"the same recording (distance up to {worst:.2f})"


def _gallery_note(facts: Facts) -> str:
    note = "The middle frame of the first clip that can be used."
    if "pixels" in facts.folder.info.skeletons:
        return f"{note} Joints should sit on the body: left side orange, right side blue."
    if facts.folder.info.skeletons:
        return f"{note} Joints as seen from the front: left side orange, right side blue."
    return note


def _header(checked: Checked) -> dict[str, str]:
    folder = checked.facts.folder
    spaces = [f"{kept.layout} in {space}" for space, kept in folder.info.skeletons.items()]
    subjects = _subjects(checked.facts)
    sizes = _sizes(checked.facts)
    return {
        "Clips": str(len(folder)),
        "Classes": str(len(folder.info.classes)),
        "Subjects": str(len(subjects)) if subjects else "not known",
        "Joints": ", ".join(spaces) or "none",
        "Picture sizes": ", ".join(list(sizes)[:3]) + (" …" if len(sizes) > 3 else "") or "none",
        "Looked at": "headers and frame counts" if checked.quick else "every frame",
    }


def _table(parts: Parts, classes: list[str]) -> ClassTable:
    table = parts.table.tolist()
    rows = [(name, row) for name, row in zip(classes, table, strict=False)]
    if sum(table[-1]):
        rows.append(("no label", table[-1]))
    told = [leak.sentence() for leak in parts.leaks]
    told += [
        f"{column} is not known for {count} clips: nobody can tell whether parts share it"
        for column, count in parts.unknown.items()
    ]
    return ClassTable(
        parts.protocol, parts.description, _COLUMNS, rows[:ROWS_SHOWN],
        max(len(rows) - ROWS_SHOWN, 0), told,
    )  # fmt: skip
