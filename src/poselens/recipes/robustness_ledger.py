"""Scores of every disturbance that was finished, so that a stopped card goes on where it was.

::

    card.cells/                       beside card.html
    |-- about.json                    model, data, clips, seed; other ones are refused
    `-- occlusion-0.1/rgb.npz         scores of one stream at one severity, written beside and
                                      renamed; rgb.skipped.json is written before it

A cell is its scores file: it is there whole, or is computed again.
"""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from poselens.checkpoint import make_folder, read_json, write_json
from poselens.errors import CheckpointError, InputError, UsageError
from poselens.fusion.scores import read_scores, write_scores
from poselens.recognition.score import Scored

_ABOUT = "about.json"


class Cells:
    """The folder of finished cells.

    Args:
        folder: Where it lies; made if it is missing.
        about: All that the scores depend on, but kind and severity.
        fresh: Remove what is there.

    Raises:
        UsageError: ``EVAL-063`` when it was begun with another model, other data or other clips.
        CheckpointError: ``CKPT-001``, ``CKPT-002`` for an ``about.json`` that cannot be read.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.folder = folder
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        written = folder / _ABOUT
        if written.exists():
            found = read_json(written)
            differing = [name for name in about if found.get(name) != about[name]]
            if differing:
                name = differing[0]
                raise UsageError(
                    "EVAL-063",
                    f"begun with another {name}: {found.get(name)!r}, now {about[name]!r}",
                    file=folder,
                    mend="choose another --out, or begin anew with --fresh",
                )
        else:
            write_json(written, about)

    def read(self, cell: str, stream: str, clips: Collection[str]) -> Scored | None:
        """Return a finished cell, or None where it is missing, damaged or about other clips."""
        file = self.folder / cell / f"{stream}.npz"
        if not file.exists():
            return None
        try:
            scores = read_scores(file)
            skipped = {name: str(why) for name, why in read_json(_skips(file)).items()}
        except (InputError, CheckpointError):
            return None
        if {*scores.ids, *skipped} != set(clips):
            return None
        return Scored(scores, skipped)

    def write(self, cell: str, stream: str, scored: Scored) -> None:
        """Keep a finished cell.

        Raises:
            EnvironmentFault: ``ENV-001`` to ``ENV-003``.
        """
        file = self.folder / cell / f"{stream}.npz"
        make_folder(file.parent)
        write_json(_skips(file), scored.skipped)
        write_scores(file, scored.scores)


def _skips(scores: Path) -> Path:
    return scores.with_name(f"{scores.stem}.skipped.json")
