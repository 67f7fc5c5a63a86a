"""The real recordings, imported with the real video reader: the counts that papers give."""

from pathlib import Path

import numpy as np
import pytest

from poselens.data.folder import open_folder
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
    assert dict(zip(*np.unique(folder.column("view"), return_counts=True), strict=True)) == {
        "1": 516, "2": 504, "3": 464,
    }  # fmt: skip
    found = [folder.skeleton(i, "metres") for i in range(len(folder))]
    lengths = [skeleton.frames for skeleton in found if skeleton is not None]
    assert (len(lengths), min(lengths), max(lengths), sum(lengths)) == (1_484, 1, 201, 58_534)
    missing = sum(int(np.isnan(s.positions).all(-1).sum()) for s in found if s is not None)
    assert missing == 12
