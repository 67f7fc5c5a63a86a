"""An estimator of a few lines for tests, which children can import; and an engine without any."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poselens.errors import PoselensError
from poselens.pose.estimators import Pose, require_pictures
from poselens.recognition.pose import Opened
from poselens.types import Skeleton


class Bright:
    """Finds one person whose joints are spread around the frame's mean brightness.

    The first joint says which clip it is: x is the mean of the first frame, y counts the frames.
    """

    layout = "coco-17"

    def __init__(self, seconds: float = 0.0):
        self._seconds = seconds

    def estimate(self, frames):
        rows = []
        for number, frame in enumerate(require_pictures(frames)):
            spread = np.arange(17)[:, None] + np.array([0.0, 3.0])
            spread[0] = (frame.mean(), number)
            rows.append(spread)
        time.sleep(self._seconds)
        joints = np.array(rows, np.float32)[None]
        return Pose(Skeleton(joints, self.layout, "pixels"), np.full(joints.shape[:3], 0.8))


@dataclass(frozen=True)
class Fake:
    """Opens ``Bright``; names that need care are in ``mood``."""

    seconds: float = 0.0
    mood: str = ""

    def open(self):
        if self.mood == "no package":
            raise PoselensError("ENV-005", "missing")
        return Opened(Moody(self) if self.mood else Bright(self.seconds), "nothing at all")

    def facts(self):
        return {"estimator": "fake"}


class Moody(Bright):
    """Misbehaves at clips that are darker than 60 on the mean."""

    def __init__(self, fake):
        super().__init__(fake.seconds)
        self._mood = fake.mood

    def estimate(self, frames):
        pictures = list(frames)
        if pictures and pictures[0].mean() < 60:
            if self._mood == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self._mood == "hang":
                time.sleep(600)
            if self._mood == "nobody":
                joints = np.full((1, len(pictures), 17, 2), np.nan, np.float32)
                return Pose(Skeleton(joints, self.layout, "pixels"), np.zeros(joints.shape[:3]))
        return super().estimate(pictures)


def here(work, items, *, file_of, workers, limits):
    """An engine that works in this process."""
    for item in items:
        try:
            yield item, work(item)
        except PoselensError as fault:
            yield item, fault


def grey_videos(folder: Path, count: int, frames: int = 6) -> Path:
    """Write small videos, each of one grey, from dark to bright."""
    from poselens.data.video import write_video

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        shade = np.full((32, 32, 3), 40 + 200 * number // max(count, 1), np.uint8)
        write_video(folder / f"v{number:03d}.mp4", [shade] * frames, fps=30)
    return folder
