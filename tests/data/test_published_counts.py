"""The real recordings, imported with the real video reader: the counts that papers give."""

from pathlib import Path

import numpy as np
import pytest

from poselens.data.audit import audit
from poselens.data.bandai2 import import_bandai2
from poselens.data.folder import open_folder
from poselens.data.leakage import unknown_columns
from poselens.data.nw_ucla import import_nw_ucla
from poselens.data.utd_mhad import import_utd_mhad

pytestmark = pytest.mark.shared


def test_utd_mhad(shared: Path, tmp_path: Path) -> None:
    report = import_utd_mhad(shared / "data/utd_mhad", tmp_path / "out", link="symbolic")
    assert (report.imported, report.skipped) == (861, [])
    folder = open_folder(tmp_path / "out")
    size = {part: len(folder.indices("utd-mhad", part)) for part in ("train", "val", "test")}
    assert size == {"train": 323, "val": 108, "test": 430}
    for part in size:
        assert len(np.unique(folder.labels[folder.indices("utd-mhad", part)])) == 27
    assert audit(folder, "utd-mhad").leaks == []
    frames = 0
    for i in range(len(folder)):
        metres, pixels = folder.skeleton(i, "metres"), folder.skeleton(i, "pixels")
        assert metres is not None
        assert pixels is not None
        assert metres.positions.shape[:3] == pixels.positions.shape[:3] == (1, metres.frames, 20)
        assert metres.coverage == pixels.coverage == 1
        frames += metres.frames
    assert frames == 58_299
    path = folder.video_path(0)
    assert path is not None
    assert path.is_file()


def test_nw_ucla(shared: Path, tmp_path: Path) -> None:
    report = import_nw_ucla(shared / "data/nw_ucla", tmp_path / "out")
    assert (report.imported, report.skipped) == (1_484, [])
    folder = open_folder(tmp_path / "out")
    assert len(folder.indices("nw-ucla", "train+val")) == 1_020
    assert len(folder.indices("nw-ucla", "test")) == 464
    val = folder.indices("nw-ucla", "val")
    assert len(val) == 183
    assert np.bincount(folder.labels[val], minlength=10).min() == 15
    for fold, (train, val, test) in {
        "nw-ucla-1to2": (426, 90, 504),
        "nw-ucla-2to1": (411, 93, 516),
    }.items():
        size = {part: len(folder.indices(fold, part)) for part in ("train", "val", "test")}
        assert size == {"train": train, "val": val, "test": test}
    told = {
        (leak.kind, leak.parts): (leak.values, leak.clips, leak.of)
        for leak in audit(folder, "nw-ucla").leaks
    }
    assert told == {
        ("subject", ("train", "test")): (8, 370, 464),
        ("source", ("train", "test")): (364, 364, 464),
        ("subject", ("val", "test")): (2, 94, 464),
        ("source", ("val", "test")): (94, 94, 464),
        ("view", ("train", "val")): (2, 183, 183),
    }
    assert not any(audit(folder, name).severe for name in folder.info.protocols)
    assert dict(zip(*np.unique(folder.column("view"), return_counts=True), strict=True)) == {
        "1": 516, "2": 504, "3": 464,
    }  # fmt: skip
    found = [folder.skeleton(i, "metres") for i in range(len(folder))]
    lengths = [skeleton.frames for skeleton in found if skeleton is not None]
    assert (len(lengths), min(lengths), max(lengths), sum(lengths)) == (1_484, 1, 201, 58_534)
    missing = sum(int(np.isnan(s.positions).all(-1).sum()) for s in found if s is not None)
    assert missing == 12


def test_bandai2(shared: Path, tmp_path: Path) -> None:
    report = import_bandai2(shared / "data/bandai2", tmp_path / "out")
    assert (report.imported, report.skipped) == (2_902, [])
    folder = open_folder(tmp_path / "out")
    size = {part: len(folder.indices("bandai2", part)) for part in ("train", "val", "test")}
    assert size == {"train": 1_741, "val": 362, "test": 659}
    for part in size:
        counts = np.bincount(folder.labels[folder.indices("bandai2", part)], minlength=70)
        assert counts.min() >= 2
    assert audit(folder, "bandai2").leaks == []
    assert unknown_columns(folder, "bandai2") == {"subject": 2_762}
    frames = heights = 0
    for i in range(len(folder)):
        skeleton = folder.skeleton(i, "metres")
        assert skeleton is not None
        assert skeleton.coverage == 1
        frames += skeleton.frames
        heights += float(skeleton.positions[0, 0, 5, 1])
    assert frames == 384_931
    assert 1.0 < heights / len(folder) < 1.5
