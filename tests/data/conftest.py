import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.writer import FolderWriter
from poselens.errors import PoselensError, VideoError


@pytest.fixture
def info() -> DatasetInfo:
    return DatasetInfo(
        name="tiny",
        classes=["wave", "clap"],
        skeletons={
            "pixels": SkeletonInfo(layout="coco-17", dimensions=2),
            "metres": SkeletonInfo(layout="coco-17", dimensions=3),
        },
        protocols={
            "cross-subject": ProtocolInfo(description="1 trains, 2 tests", group="subject"),
            "random": ProtocolInfo(description="by clip"),
        },
        mirror={"wave": "wave"},
        fps=30.0,
    )


def joints(people: int, frames: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((people, frames, 17, dimensions), dtype=np.float32)


@pytest.fixture
def tiny(tmp_path: Path, info: DatasetInfo) -> Path:
    """Four clips: a with both spaces and two people, b with pixels, c and d without joints."""
    root = tmp_path / "tiny"
    with FolderWriter(root, info) as writer:
        writer.add(
            ClipRecord("a", "videos/a.mp4", 0, "1", "front", "r1", 0.5, 2.25, 320, 240),
            {"cross-subject": "train", "random": "val"},
            {"pixels": joints(2, 3, 2), "metres": joints(2, 3, 3, 1)},
        )
        writer.add(
            ClipRecord("b", label=1, subject="2"),
            {"cross-subject": "test"},
            {"pixels": joints(1, 5, 2, 2)},
        )
        writer.add(ClipRecord("c", "videos/c.mp4", 1, "1"), {"cross-subject": "train"}, {})
        writer.add(ClipRecord("d"), {"cross-subject": "test"}, {})
    return root


def _here(work, items, **_options):
    for item in items:
        try:
            yield item, work(item)
        except PoselensError as fault:
            yield item, fault


@pytest.fixture
def fake_video(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A reader of text files ``WIDTHxHEIGHT FRAMES``, to test importers without FFmpeg."""
    module = ModuleType("poselens.data.video")

    def probe(path: Path) -> SimpleNamespace:
        if not path.exists():
            raise VideoError("VID-001", "the file is missing", file=path)
        try:
            size, frames = path.read_text().split()
        except ValueError as fault:
            raise VideoError("VID-003", "not a video", file=path) from fault
        width, height = size.split("x")
        return SimpleNamespace(
            width=int(width), height=int(height), frames=int(frames), fps=30.0, duration_s=None
        )

    module.probe = probe  # type: ignore[attr-defined]
    module.count_frames = lambda path: probe(path).frames  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "poselens.data.video", module)
    # a child process would not see it
    monkeypatch.setattr("poselens.data.found_videos.in_children", _here)
    return module
