"""Damaged videos end in frames or in a documented error, and never in fewer frames unsaid."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from mutate import mutations, note, wanted
from video_files import CONTAINERS, FRAMES, video_bytes

from poselens.data.children import Limits, in_children
from poselens.data.video import count_frames, iterate_frames, probe, read_frames
from poselens.data.video_decode import Tally
from poselens.data.video_extent import measure_extent
from poselens.errors import PoselensError

LIMITS = Limits(seconds=20.0)
CODES = re.compile(r"\| (VID-[0-9]{3}|ENV-007) \|")
ROOT = Path(__file__).parents[2]


def read_all(path):
    """Read a file in every way there is; a function of a module, as children need."""
    start = time.monotonic()
    facts = probe(path)
    extent = measure_extent(path)
    assert count_frames(path) == extent.shown
    found = read_frames(path, range(FRAMES), size=(16, 16))
    tally = Tally()
    yielded = sum(1 for _ in iterate_frames(path, size=(16, 16), tally=tally))
    # both count the same frames, and reading stops at the last one wanted
    assert found.decoded == min(yielded, FRAMES)
    assert tally.decoded == yielded
    assert found.promised == tally.promised == facts.frames
    assert found.pixels.shape == (FRAMES, 16, 16, 3)
    return {
        "decoded": found.decoded,
        "short": found.short,
        "promised": found.promised,
        "damaged": tally.damaged,
        "stored": extent.shown,
        "missing": extent.missing,
        "seconds": time.monotonic() - start,
    }


@pytest.fixture(scope="module")
def sources():
    return {kind: video_bytes(kind) for kind in CONTAINERS}


def test_whole_videos_are_read_whole(sources, tmp_path):
    for kind, content in sources.items():
        path = tmp_path / f"a.{kind}"
        path.write_bytes(content)
        found = read_all(path)
        assert (found["decoded"], found["short"], found["damaged"]) == (FRAMES, False, 0), kind
        assert (found["stored"], found["missing"]) == (FRAMES, 0), kind


def test_damaged_videos(sources, tmp_path):
    """POSELENS_MUTATIONS scales it: 200 by default, in equal parts of every container."""
    table = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    documented = set(CODES.findall(table))
    number = wanted(200)
    each = number // len(sources)
    ways: dict[Path, tuple[str, str]] = {}
    for kind, content in sources.items():
        for index, (way, damaged) in enumerate(mutations([content], each, text=False, seed=1)):
            path = tmp_path / f"{index}.{kind}"
            path.write_bytes(damaged)
            ways[path] = (kind, way)
    codes, sorts, slowest = Counter(), Counter(), 0.0
    start = time.monotonic()
    for path, outcome in in_children(read_all, ways, file_of=Path, workers=2, limits=LIMITS):
        said = f"{ways[path]} {path}: {outcome}"
        if isinstance(outcome, PoselensError):
            assert outcome.code in documented, said
            assert outcome.code != "VID-091", said
            assert outcome.file == str(path), said
            assert outcome.mend, said
            codes[outcome.code] += 1
            continue
        assert outcome["short"] == (outcome["decoded"] < FRAMES), said
        slowest = max(slowest, outcome["seconds"])
        promised = outcome["promised"] or outcome["stored"] + outcome["missing"]
        sorts["whole" if outcome["decoded"] >= FRAMES else "short"] += 1
        if outcome["decoded"] < FRAMES:
            known = outcome["damaged"] or outcome["decoded"] < promised
            sorts["short, and the file itself shows it" if known else "short, seen by count"] += 1
    tried = sum(codes.values()) + sorts["whole"] + sorts["short"]
    note(
        {
            "tried": tried,
            "containers": sorted(sources),
            "refused": dict(sorted(codes.items())),
            "read": dict(sorted(sorts.items())),
            "parent_crashes": 0,
            "child_crashes": codes["VID-090"],
            "hangs": codes["VID-091"],
            "slowest_s": round(slowest, 2),
            "seconds": round(time.monotonic() - start, 1),
        }
    )
    assert tried == len(ways)
    assert sorts["whole"]
    assert sorts["short"]
    assert sum(codes.values())
