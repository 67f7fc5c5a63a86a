import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.video import write_video
from poselens.data.writer import FolderWriter

# a loaded machine is no reason to fail
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# a shell starts background jobs with Ctrl-C ignored, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data sets, which are no part of the repository."""
    named = os.environ.get("POSELENS_SHARED")
    path = Path(named) if named else Path(__file__).parents[2] / "shared"
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}; set POSELENS_SHARED to the folder that holds data/")
    return path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine; and tests that run side by side stay quick."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TINY_CLASSES = ["wave left", "wave right", "clap", "point"]
TINY_FRAMES, TINY_HEIGHT, TINY_WIDTH = 12, 48, 64


def tiny_joints(clip: int) -> np.ndarray:
    """One person in pixels: a body in the left or right half, whose wrist rises or falls."""
    draw = np.random.default_rng((7, clip))
    centre = np.array([20.0 if clip % 2 else 44.0, 24.0])
    joints = np.tile(centre + draw.normal(0, 6, (17, 2)), (TINY_FRAMES, 1, 1))
    joints[:, 9 + clip % 2, 1] += np.linspace(-6, 6, TINY_FRAMES) * (1 if clip % 4 < 2 else -1)
    joints = joints + draw.normal(0, 0.3, joints.shape)
    return joints.clip(1, [TINY_WIDTH - 1, TINY_HEIGHT - 1])[None].astype(np.float32)


def tiny_pictures(clip: int) -> np.ndarray:
    """A dim background with a bright square at the wrist."""
    draw = np.random.default_rng((8, clip))
    pictures = np.empty((TINY_FRAMES, TINY_HEIGHT, TINY_WIDTH, 3), np.uint8)
    pictures[:] = draw.integers(30, 90, (TINY_HEIGHT, TINY_WIDTH, 3))
    for frame, (x, y) in enumerate(tiny_joints(clip)[0, :, 9 + clip % 2].round().astype(int)):
        pictures[frame, max(y - 3, 0) : y + 3, max(x - 3, 0) : x + 3] = (250, 220, 60)
    return pictures


def write_tiny_folder(root: Path) -> Path:
    """Eight training clips, four to validate and two to test, of 12 frames of 48 x 64."""
    info = DatasetInfo(
        name="tiny",
        classes=TINY_CLASSES,
        skeletons={
            "pixels": SkeletonInfo(layout="coco-17", dimensions=2),
            "metres": SkeletonInfo(layout="coco-17", dimensions=3),
        },
        protocols={"p": ProtocolInfo(description="by clip")},
        mirror={"wave left": "wave right", "wave right": "wave left", "clap": "clap"},
        fps=30.0,
    )
    with FolderWriter(root, info) as writer:
        (writer.staging / "videos").mkdir()
        for clip in range(14):
            name = f"videos/c{clip:02d}.mp4"
            write_video(writer.staging / name, tiny_pictures(clip), fps=30, gop=6)
            pixels = tiny_joints(clip)
            metres = np.concatenate([pixels / 40, np.full((*pixels.shape[:3], 1), 3.0)], axis=-1)
            writer.add(
                ClipRecord(f"c{clip:02d}", name, clip % 4, height=TINY_HEIGHT, width=TINY_WIDTH),
                {"p": "train" if clip < 8 else "val" if clip < 12 else "test"},
                {"pixels": pixels, "metres": metres.astype(np.float32)},
            )
    return root


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set small enough to train on in a test. Read only: copy it to spoil it."""
    return write_tiny_folder(tmp_path_factory.mktemp("tiny") / "data")
