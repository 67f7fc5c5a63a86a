"""Judge a score file, of this package or of another tool, on one part of a split."""

from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from poselens.checkpoint import make_folder
from poselens.clips.views import count_views
from poselens.data.audit import audit
from poselens.data.info import Part
from poselens.errors import UsageError
from poselens.evaluation.foreign import read_score_file
from poselens.evaluation.hierarchy import evaluate_hierarchy
from poselens.evaluation.metrics import evaluate
from poselens.fusion.scores import write_scores
from poselens.recipes.clustering import AUTO, choose_units
from poselens.recipes.evaluating import Result
from poselens.recipes.fusing_scores import Clips, known_clips, require_in_part
from poselens.recipes.scoring import require_part
from poselens.types import ONE_VIEW, Scores

SELECTION = "scores of a file: how its weights were selected is not known"


def evaluate_scores(
    path: Path,
    clips: Clips,
    *,
    only: NDArray[np.int64] | None = None,
    views: str = ONE_VIEW,
    cluster: str = AUTO,
    scores_out: Path | None = None,
) -> Result:
    """Judge a score file as ``poselens.recipes.evaluating.evaluate_bundle`` judges a bundle.

    Clips of the part that the file says nothing about count as unscored.

    Args:
        path: The score file.
        clips: Data set, split and part.
        only: The clips of the part to judge; None for all of them.
        views: Has to be one view: the scores are there already.
        cluster: What the intervals draw (``poselens.recipes.clustering.choose_units``).
        scores_out: File for the scores in this package's form, or None.

    Raises:
        UsageError: ``FUS-030`` without a data set or with other views, ``CFG-004``, ``CFG-009``,
            ``EVAL-001`` without a labelled clip, ``CMP-005`` for groups that cannot be drawn.
        InputError: ``FUS-024`` to ``FUS-029`` as ``poselens.evaluation.foreign``, ``FUS-032`` for
            clips of another part.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when ``scores_out`` cannot be written.
    """
    require_part(clips.part)
    if clips.folder is None or clips.protocol is None or views != ONE_VIEW:
        raise UsageError(
            "FUS-030",
            "a score file is judged as it is, on a data set's clips",
            mend="leave --views out, and give the data set and --protocol",
        )
    read = read_score_file(path, known_clips(clips), kind=clips.kind)
    require_in_part(read, clips, path)
    whole = _with_unscored(read, clips, only)
    if scores_out is not None:
        make_folder(scores_out.parent)
        write_scores(scores_out, whole)
    units = choose_units(clips.folder, list(whole.ids), cluster)
    about = units.about(whole.ids)
    fingerprint = clips.folder.fingerprint()
    judged = evaluate(whole, selection=SELECTION, data_fingerprint=fingerprint, **about)
    levels = clips.folder.info.hierarchy
    tree = evaluate_hierarchy(whole, levels, **about) if levels else None
    found = audit(clips.folder, clips.protocol)
    leaks = found.about(cast(Part, clips.part))
    notes = [*(leak.sentence() for leak in leaks), *found.notes]
    if judged.unscored:
        notes.append(f"the file has no scores for {judged.unscored} clips of {clips.part}")
    seen = count_views(whole.views) if whole.views != ONE_VIEW else 1
    if seen > 1:
        notes.append(f"scores are means over {seen} views")
    return Result(
        [judged], judged, [whole], {}, notes, clips.protocol, clips.part, leaks, units, tree
    )


def _with_unscored(read: Scores, clips: Clips, only: NDArray[np.int64] | None) -> Scores:
    """Return a row for every clip that is judged, of NaN where the file lacks it."""
    assert clips.folder is not None
    assert clips.protocol is not None
    part = clips.folder.indices(clips.protocol, cast(Part, clips.part))
    rows = part if only is None else only
    ids = clips.folder.ids[rows].tolist()
    row_of = {clip: row for row, clip in enumerate(ids)}
    logits = np.full((len(ids), len(read.classes)), np.nan, dtype=np.float32)
    kept = [row for row, clip in enumerate(read.ids) if clip in row_of]
    logits[[row_of[read.ids[row]] for row in kept]] = read.logits[kept]
    labels = clips.folder.labels[rows].astype(np.int64)
    return Scores(logits, ids, labels, read.classes, read.stream, read.views)
