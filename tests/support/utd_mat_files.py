"""UTD-MHAD as published, made small: MATLAB files by SciPy, colour videos by our writer."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from poselens.data.video import write_video


def moving_joints(frames: int, action: int, subject: int) -> np.ndarray:
    """A standing body before the camera whose right hand goes left or right, (t, 20, 3)."""
    draw = np.random.default_rng((action, subject))
    joints = np.tile(draw.normal([0, 0, 2.6], [0.2, 0.5, 0.05], (20, 3)), (frames, 1, 1))
    reach = np.linspace(-0.4, 0.4, frames) * (1 if action == 1 else -1)
    joints[:, 9:12, 0] += reach[:, None]
    return joints + draw.normal(0, 0.01, joints.shape)


def write_skeleton_mat(path: Path, joints: np.ndarray, *, compressed: bool = True) -> None:
    savemat(path, {"d_skel": np.moveaxis(joints, 0, 2)}, do_compression=compressed)


def write_depth_mat(path: Path, depth_mm: np.ndarray) -> None:
    """Write (t, 240, 320) millimetres."""
    savemat(path, {"d_depth": np.moveaxis(depth_mm, 0, 2)}, do_compression=True)


def depth_of(joints: np.ndarray) -> np.ndarray:
    """A block of 2.6 m at every joint, before nothing."""
    depth = np.zeros((len(joints), 240, 320), np.uint16)
    for frame, body in enumerate(joints):
        for x, y, z in body:
            u, v = round(160 + 285.63 * x / z), round(120 - 285.63 * y / z)
            depth[frame, max(v - 8, 0) : v + 8, max(u - 8, 0) : u + 8] = 2600
    return depth


def write_original(
    root: Path, names: list[str], *, depth: bool = False, colour: bool = False, frames: int = 12
) -> Path:
    (root / "Skeleton").mkdir(parents=True)
    for folder in ["Depth"] * depth + ["RGB"] * colour:
        (root / folder).mkdir()
    for name in names:
        action, subject = (int(part[1:]) for part in name.split("_")[:2])
        joints = moving_joints(frames, action, subject)
        write_skeleton_mat(root / "Skeleton" / f"{name}_skeleton.mat", joints)
        if depth:
            write_depth_mat(root / "Depth" / f"{name}_depth.mat", depth_of(joints))
        if colour:
            pictures = np.full((frames, 48, 64, 3), 60 + 20 * action, np.uint8)
            write_video(root / "RGB" / f"{name}_color.avi", pictures, fps=30)
    return root


def importing(root: Path) -> tuple[list[object], str, str]:
    """What follows ``poselens data import``, the protocol, and the branch that can train."""
    names = [f"a{action}_s{subject}_t1" for action in (1, 2) for subject in range(1, 9)]
    return ["utd-mhad", write_original(root / "utd", names, depth=True)], "utd-mhad", "both"
