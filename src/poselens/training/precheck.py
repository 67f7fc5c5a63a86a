"""Videos that cannot be read, known before the first epoch where nothing is cached."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselens.checkpoint import read_json, write_json
from poselens.clips.assemble import RgbClips
from poselens.clips.batches import EpochBatches, loaded, make_loader
from poselens.data.folder import ClipFolder

FILE = "precheck.json"
_TOGETHER = 4
"""Clips that a process reads before it tells of them."""


def prechecked(
    folder: ClipFolder, clips: RgbClips, wanted: NDArray[np.int64], out: Path, *, workers: int
) -> dict[int, str]:
    """Read every clip once; return those that cannot be read, by position, with the reason.

    What was found lies in the run's folder, so that a run that goes on has the same order and reads
    nothing twice. A clip that is damaged later is left out when it comes, as without this.

    Args:
        folder: The data set.
        clips: Without augmentation.
        wanted: Positions in the data set, of those that train and those held out.
        out: The run's folder.
        workers: Data processes.

    Raises:
        CheckpointError: ``CKPT-002`` the file of an earlier pass is damaged.
        EnvironmentFault: ``ENV-011`` a data process was killed.
    """
    place = {str(folder.ids[clip]): int(clip) for clip in wanted}
    made_of = {"data": folder.fingerprint(), "clips": len(place)}
    file = out / FILE
    before = read_json(file) if file.exists() else {}
    found = before.get("unreadable")
    if any(before.get(name) != value for name, value in made_of.items()) or not _is_table(found):
        batches = EpochBatches(wanted, batch_size=_TOGETHER, shuffle=False)
        loader = make_loader(clips, batches, workers=workers)
        found = {left.id: left.reason for batch in loaded(loader) for left in batch["skipped"]}
        write_json(file, {**made_of, "unreadable": found})
    assert isinstance(found, dict)
    return {place[name]: str(reason) for name, reason in found.items() if name in place}


def _is_table(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
