"""Score one part of a protocol with the weights of a finished run, once, into its folder."""

from pathlib import Path
from typing import cast

from poselens.checkpoint import write_json
from poselens.clips.device import choose_device
from poselens.data.folder import ClipFolder
from poselens.data.info import Part
from poselens.errors import UsageError
from poselens.fusion.scores import write_scores
from poselens.recipes.evaluating import PARTS
from poselens.recognition.score import score_folder
from poselens.recognition.streams import load_run


def scores_file(run: Path, part: str) -> Path:
    """Return where the scores of a part lie in a run's folder."""
    return run / f"scores_{part}.npz"


def require_part(part: str) -> None:
    """Refuse a part that no split has.

    Raises:
        UsageError: ``CFG-009``.
    """
    if part not in PARTS:
        raise UsageError("CFG-009", f"found part {part!r}, expected {', '.join(PARTS)}")


def score_run(
    run: Path, folder: ClipFolder, protocol: str, part: str, *, device: str, workers: int | None
) -> None:
    """Write ``scores_<part>.npz`` of a finished run, unless it is there.

    The weights are those the run has kept; nothing is chosen by these scores. Clips that could not
    be read are named in ``scores_<part>_skipped.json``, where there are any.

    Args:
        run: Folder of a finished run.
        folder: The data set.
        protocol: Name of the split.
        part: ``train``, ``val`` or ``test``.
        device: ``cpu``, ``cuda`` or ``auto``.
        workers: Data processes; None chooses from the number of cores.

    Raises:
        UsageError: ``CFG-009`` for an unknown part, ``CFG-004`` for an unknown protocol; else as
            ``poselens.recognition.score``.
        CheckpointError: As ``poselens.recognition.streams``.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    require_part(part)
    target = scores_file(run, part)
    if target.exists():
        return
    clips = folder.indices(protocol, cast(Part, part))
    trained = load_run(run, device=choose_device(device))
    scored = score_folder(trained, folder, clips, workers=workers)
    if scored.skipped:
        write_json(run / f"scores_{part}_skipped.json", scored.skipped)
    write_scores(target, scored.scores)
