"""Read back what a run was contrasted with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from poselens.clips.stream import read_stream
from poselens.contrast.record import FOLDER, read_contrasted
from poselens.errors import CheckpointError, UsageError
from poselens.evaluation.contrasted import ContrastHistory
from poselens.recognition.bundle import BUNDLE_FILE
from poselens.recognition.streams import read_facts


def require_contrast(run: Path) -> ContrastHistory:
    """Return what a finished run was contrasted with.

    Raises:
        UsageError: ``RUN-010`` for a run without contrast, and for a bundle.
        CheckpointError: ``CKPT-001``, ``CKPT-014`` for a folder that is no finished run,
            ``CKPT-012`` for an unknown description, ``CKPT-017`` for a damaged record.
    """
    if (run / BUNDLE_FILE).is_file():
        raise UsageError(
            "RUN-010",
            "a bundle keeps no record of contrast",
            file=run,
            mend="give one of the runs it was fused from",
        )
    stream = read_stream(read_facts(run).get("stream", {}), file=str(run / "run.json"))
    history = contrast_history(run, stream.name, stream.classes)
    if history is None:
        raise UsageError(
            "RUN-010",
            f"the {stream.name} stream was trained without contrast: there is no {FOLDER}/",
            file=run,
            mend="train a skeleton stream with --set 'contrast={}'",
        )
    return history


def contrast_history(run: Path, stream: str, classes: Sequence[str]) -> ContrastHistory | None:
    """Return what a stream's run was contrasted with, or None without contrast.

    Args:
        run: Folder of the run.
        stream: Name of the stream.
        classes: Its class names.

    Raises:
        CheckpointError: ``CKPT-017`` for a record that is damaged or of other classes.
    """
    record = read_contrasted(run)
    if not record:
        return None
    entries = list(record.values())
    found = len(entries[0].similarity)
    if found != len(classes):
        raise CheckpointError(
            "CKPT-017",
            f"expected tables of {len(classes)} classes, found {found}",
            file=run / FOLDER,
            mend="remove this folder: it is of another run",
        )
    # every epoch of a run has the same samplers, or it was resumed with other settings
    samplers = [name for name in entries[0].taken if all(name in entry.taken for entry in entries)]
    return ContrastHistory(
        stream,
        classes,
        list(record),
        np.stack([entry.similarity for entry in entries]),
        {name: np.stack([entry.taken[name] for entry in entries]) for name in samplers},
    )
