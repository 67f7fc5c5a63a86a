"""Annotation pickles as PYSKL and MMAction2 publish them."""

import pickle
import zlib
from pathlib import Path

import numpy as np
from published_files import moving_pictures

from poselens.data.video import write_video

HEIGHT, WIDTH = 720, 1280


def joints(number: int, *, frames: int = 20, people: int = 1, count: int = 17) -> np.ndarray:
    """Pixels of people whose wrists rise or fall, by whether ``number`` is even."""
    draw = np.random.default_rng((21, number))
    body = draw.uniform((400, 200), (800, 600), (people, 1, count, 2))
    points = np.tile(body, (1, frames, 1, 1)) + draw.normal(0, 2, (people, frames, count, 2))
    points[..., 9 % count, 1] += np.linspace(-80, 80, frames) * (1 if number % 2 else -1)
    return points.astype(np.float16)


def annotation(name: object, label: object, number: int, /, **change: object) -> dict[str, object]:
    """A clip of joints in pixels, as ``gym_hrnet.pkl`` and ``ntu60_hrnet.pkl`` have them.

    What ``change`` sets to None is left out.
    """
    keypoint = change.pop("keypoint", joints(number))
    entry: dict[str, object] = {
        "frame_dir": name,
        "label": label,
        "img_shape": (HEIGHT, WIDTH),
        "original_shape": (HEIGHT, WIDTH),
        "total_frames": keypoint.shape[1],
        "keypoint": keypoint,
        "keypoint_score": np.full(keypoint.shape[:3], 0.75, np.float16),
    }
    entry |= change
    return {key: value for key, value in entry.items() if value is not None}


def annotation_3d(name: str, label: int, number: int, **change: object) -> dict[str, object]:
    """A clip of joints in metres, as ``ntu60_3danno.pkl`` has them: no picture, no confidences."""
    draw = np.random.default_rng((22, number))
    keypoint = draw.normal((0, 0, 3), 0.4, (2, 15, 25, 3)).astype(np.float16)
    # the second body is there only at times
    keypoint[1, 5:] = 0
    entry = {
        "frame_dir": name, "label": label, "keypoint": keypoint, "total_frames": 15,
    }  # fmt: skip
    return entry | change


def write_pickle(path: Path, content: object, protocol: int = 4) -> Path:
    """Write a pickle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_clip(path: Path, *, frames: int = 20, size: tuple[int, int] = (36, 64)) -> Path:
    """Write a tiny video of ``size`` (height, width), unlike that of any other name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(path.name.encode())
    write_video(path, moving_pictures(seed, frames, size), fps=25, gop=6)
    return path


def importing(root: Path) -> tuple[list[object], str, str]:
    """Write 24 clips of two classes, of which the file trains 16; return how they are imported."""
    names = [f"clip_{number:03d}" for number in range(24)]
    content = {
        "split": {"train": names[:16], "val": names[16:]},
        "annotations": [annotation(name, i % 2, i) for i, name in enumerate(names)],
    }
    return ["pyskl", write_pickle(root / "own.pkl", content)], "given", "skeleton"
