"""Small sources of the formats that have no file of their own here.

Each ``importing_*`` writes one below a folder and returns what follows ``poselens data import``,
the protocol to train under, and the branch that can: ``rgb``, ``skeleton`` or ``both``.
"""

import json
from pathlib import Path

import numpy as np

from poselens.data.bandai2 import JOINTS
from poselens.data.video import write_video

Source = tuple[list[object], str, str]


def moving_pictures(seed: int, frames: int = 12, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A grey field with noise and a bright block that wanders; no two seeds look alike."""
    draw = np.random.default_rng(seed)
    height, width = size
    pictures = np.tile(draw.integers(20, 120, (height, width, 3), np.uint8), (frames, 1, 1, 1))
    top, left = draw.integers(0, height // 2), draw.integers(0, width // 2)
    for frame in range(frames):
        column = (left + 2 * frame) % (width - 12)
        pictures[frame, top : top + 12, column : column + 12] = draw.integers(150, 255, 3)
    return pictures


def standing(seed: int, frames: int, joints: int) -> np.ndarray:
    """Joints of a body of its own that move a little, in metres before a camera."""
    draw = np.random.default_rng((3, seed))
    body = draw.normal((0, 0, 2.5), 0.4, (joints, 3))
    return (body + np.cumsum(draw.normal(0, 0.02, (frames, joints, 3)), axis=0)).astype(np.float32)


def importing_nw_ucla(root: Path) -> Source:
    folder = root / "all_sqe"
    folder.mkdir()
    clips = [(a, s, v) for a in (1, 2) for s in (1, 6, 9, 10) for v in (1, 2, 3)]
    for number, (action, subject, view) in enumerate(clips):
        name = f"a{action:02}_s{subject:02}_e00_v{view:02}"
        joints = standing(number, 9, 20).tolist()
        content = {"file_name": name, "skeletons": joints, "label": action}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return ["nw-ucla", root], "nw-ucla", "skeleton"


def importing_utd_mhad(root: Path) -> Source:
    (root / "depth_mp4").mkdir()
    names = [f"a{action}_s{subject}_t1" for action in (1, 2) for subject in range(1, 9)]
    joints = np.concatenate([standing(number, 12, 20) for number in range(len(names))])
    lengths = np.full(len(names), 12)
    np.savez(root / "skeleton.npz", names=np.array(names), lengths=lengths, xyz=joints)
    for number, name in enumerate(names):
        pictures = moving_pictures(number, size=(240, 320))
        write_video(root / "depth_mp4" / f"{name}.mp4", pictures, fps=30)
    return ["utd-mhad", root], "utd-mhad", "both"


def importing_bandai2(root: Path) -> Source:
    names = [f"dataset-2_{c}_{n:03d}" for c in ("run_normal", "walk_normal") for n in range(20)]
    rows = np.concatenate([100 * standing(number, 8, 22) for number in range(len(names))])
    path = root / "bandai2_joints.npz"
    np.savez(
        path,
        names=np.array(names),
        lengths=np.full(len(names), 8),
        joints=np.array(JOINTS),
        xyz=rows.astype(np.float16),
    )
    return ["bandai2", path], "bandai2", "skeleton"


def importing_folder(root: Path) -> Source:
    for label, name in enumerate(("sit", "stand")):
        (root / name).mkdir()
        for clip in range(8):
            pictures = moving_pictures(100 * label + clip)
            write_video(root / name / f"{clip}.mp4", pictures, fps=30)
    return ["folder", root], "random", "rgb"


def importing_csv(root: Path) -> Source:
    lines = ["video,label,subject,start,end"]
    for subject in range(5):
        write_video(root / f"s{subject}.mp4", moving_pictures(subject, 60), fps=30)
        lines += [
            f"s{subject}.mp4,{label},{subject},{start},{start + 0.5}"
            for start, label in ((0, "sit"), (0.5, "stand"), (1, "sit"), (1.5, "stand"))
        ]
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    return ["csv", root / "clips.csv"], "random", "rgb"
