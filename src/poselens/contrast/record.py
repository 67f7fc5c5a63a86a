"""What a training was contrasted with, on disk: one small file per epoch."""

from pathlib import Path
from typing import Any

import numpy as np

from poselens.contrast.tally import Contrasted

FOLDER = "contrast"


def write_contrasted(run: Path, epoch: int, contrasted: Contrasted) -> None:
    """Write what was contrasted in one epoch to ``contrast/NNNN.npz`` in the run's folder.

    Args:
        run: The run's folder.
        epoch: Counted from 1.
        contrasted: What the epoch's tally holds.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {
        "similarity": contrasted.similarity.astype(np.float32),
        "compared": contrasted.compared.astype(np.int32),
    }
    for name, counts in contrasted.taken.items():
        arrays[f"taken-{name}"] = counts.astype(np.int32)
    np.savez_compressed(folder / f"{epoch:04}.npz", **arrays)


def read_contrasted(run: Path) -> dict[int, Contrasted]:
    """Return what was contrasted by epoch; nothing for a run without contrast."""
    found: dict[int, Contrasted] = {}
    for path in sorted((run / FOLDER).glob("[0-9]*.npz")):
        with np.load(path, allow_pickle=False) as content:
            found[int(path.stem)] = Contrasted(
                taken={
                    name.removeprefix("taken-"): content[name].astype(np.int64)
                    for name in content.files
                    if name.startswith("taken-")
                },
                similarity=content["similarity"].astype(np.float64),
                compared=content["compared"].astype(np.int64),
            )
    return found
