"""What a training was contrasted with, on disk: one small file per epoch."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from poselens.checkpoint import make_folder, write_bytes
from poselens.contrast.tally import Contrasted
from poselens.errors import CheckpointError

FOLDER = "contrast"


def write_contrasted(run: Path, epoch: int, contrasted: Contrasted) -> None:
    """Write what was contrasted in one epoch to ``contrast/NNNN.npz`` in the run's folder.

    Args:
        run: The run's folder.
        epoch: Counted from 1.
        contrasted: What the epoch's tally holds.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    folder = run / FOLDER
    make_folder(folder)
    arrays: dict[str, Any] = {
        "similarity": contrasted.similarity.astype(np.float32),
        "compared": contrasted.compared.astype(np.int32),
    }
    for name, counts in contrasted.taken.items():
        arrays[f"taken-{name}"] = counts.astype(np.int32)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(folder / f"{epoch:04}.npz", content.getvalue())


def read_contrasted(run: Path) -> dict[int, Contrasted]:
    """Return what was contrasted by epoch; nothing for a run without contrast.

    Raises:
        CheckpointError: ``CKPT-017`` for a file that is damaged, or of other classes than the
            first.
    """
    found: dict[int, Contrasted] = {}
    for path in sorted((run / FOLDER).glob("[0-9]*.npz")):
        try:
            entry = _read(path)
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as fault:
            raise _damaged(path, f"not a record of contrast, or damaged: {fault}") from fault
        first = next(iter(found.values()), entry).similarity.shape
        tables = (entry.similarity, entry.compared, *entry.taken.values())
        if not entry.taken or any(table.shape != (first[0], first[0]) for table in tables):
            raise _damaged(path, f"expected tables of {first[0]} classes")
        found[int(path.stem)] = entry
    return found


def _read(path: Path) -> Contrasted:
    # opened here: numpy leaves a damaged file open
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        if not isinstance(content, NpzFile):
            raise ValueError("a single array")
        return Contrasted(
            taken={
                name.removeprefix("taken-"): content[name].astype(np.int64)
                for name in content.files
                if name.startswith("taken-")
            },
            similarity=content["similarity"].astype(np.float64),
            compared=content["compared"].astype(np.int64),
        )


def _damaged(path: Path, message: str) -> CheckpointError:
    mend = "remove this file: the record only shows the training, and nothing else needs it"
    return CheckpointError("CKPT-017", message, file=path, mend=mend)
