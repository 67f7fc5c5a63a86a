"""Writes what CTR-GCN's preparation of NTU RGB+D writes: an archive without names, and its lists.

Follows the published form: clips of train, then of test, each by rising subject (CS, CSub), camera
(CV) or setup (CSet) and within one in the order of ``skes_available_name.txt``; positions less the
middle of the spine of the first frame; zeros where nobody is, and to the end.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ntu_files import names as recordings
from ntu_files import recording

from poselens.data.ntu_protocols import NTU60, NTU120, NtuProtocol, read_name

FRAMES = 300


def rows(name: str, *, frames: int = 24, people: int = 1, twice: bool = False) -> np.ndarray:
    """The (frames, 150) of one clip; ``twice`` writes a person alone in both places."""
    found = np.zeros((frames, 2, 25, 3), dtype=np.float32)
    bodies = recording(name, frames=frames, people=people)
    for person, body in enumerate(bodies):
        found[:, person] = body.joints_metres
    found[:, : len(bodies)] -= found[0, 0, 1].copy()
    if twice:
        found[:, 1] = found[:, 0]
    return found.reshape(frames, 150)


def ordered(names: Sequence[str], protocol: NtuProtocol, *, train: bool) -> list[str]:
    """Subject after subject (camera, setup), and of each the names as they are listed."""
    ntu = NTU120 if protocol.name.startswith("ntu120") else NTU60
    known = [name for name in (read_name(text, ntu) for text in names) if name is not None]
    values = sorted({protocol.value(name) for name in known if protocol.is_train(name) == train})
    return [name.text for value in values for name in known if protocol.value(name) == value]


def write_archive(
    root: Path,
    names: Sequence[str],
    protocol: NtuProtocol,
    *,
    frames: int = FRAMES,
    classes: int = 60,
    clips: dict[str, np.ndarray] | None = None,
    compressed: bool = False,
    file: str = "NTU60_CS.npz",
) -> Path:
    """Write the archive, and ``statistics/skes_available_name.txt`` beside it."""
    arrays: dict[str, np.ndarray] = {}
    for half in ("train", "test"):
        mine = ordered(names, protocol, train=half == "train")
        x = np.zeros((len(mine), frames, 150), dtype=np.float32)
        y = np.zeros((len(mine), classes))
        for place, name in enumerate(mine):
            clip = (clips or {}).get(name)
            clip = rows(name, people=2 if name.endswith("059") else 1) if clip is None else clip
            x[place, : len(clip)] = clip
            y[place, int(name[-3:]) - 1] = 1
        arrays |= {f"x_{half}": x, f"y_{half}": y}
    statistics = root / "statistics"
    statistics.mkdir(parents=True, exist_ok=True)
    (statistics / "skes_available_name.txt").write_text("".join(f"{name}\n" for name in names))
    path = root / file
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def importing(root: Path) -> tuple[list[object], str, str]:
    """A small archive with its names: three subjects that train, of them one validates."""
    listed = sorted(recordings((1, 2, 4, 3), (10, 23, 26, 59), repetitions=1))
    path = write_archive(root, listed, NTU60.protocols[0])
    return ["ctr-gcn", path, "--names", root / "statistics"], "ntu60-xsub", "skeleton"
