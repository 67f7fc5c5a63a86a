"""Pool score files of folds that somebody else has trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poselens.checkpoint import make_folder
from poselens.data.folder import open_folder
from poselens.data.info import COLUMN_NAMES
from poselens.errors import UsageError
from poselens.evaluation.pooling import judge_pooled, pool
from poselens.fusion.scores import read_scores, write_scores
from poselens.recipes.crossval import pooled_notes


def pool_files(
    paths: Sequence[Path], *, out: Path | None, data: Path | None, cluster: str | None
) -> dict[str, Any]:
    """Return how pooled score files do, and write them as one file where asked.

    Args:
        paths: Score files, one per fold.
        out: Target of the pooled scores, or None.
        data: Data set folder that knows the groups, or None.
        cluster: Column whose groups are drawn whole, or None for clips.

    Raises:
        UsageError: ``EVAL-045``, ``EVAL-002``, ``FUS-002`` as ``pooling.judge_pooled``;
            ``CMP-005`` an unknown cluster, or one without data.
        InputError: ``FUS-006`` damaged scores.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    groups, named = None, {"name": "pooled scores", "fingerprint": None}
    if cluster is not None:
        if cluster not in COLUMN_NAMES or data is None:
            found = "without --data" if data is None else repr(cluster)
            raise UsageError(
                "CMP-005",
                f"found cluster {found}, expected {', '.join(COLUMN_NAMES)} of a data set",
            )
        folder = open_folder(data)
        column = folder.column(cluster).tolist()
        groups = dict(zip(folder.ids.tolist(), column, strict=True))
        named = {"name": folder.info.name, "fingerprint": folder.fingerprint()}
    folds = {str(path): read_scores(path) for path in paths}
    if len(folds) < len(paths):
        raise UsageError("EVAL-045", "a file of scores is given twice", mend="give each fold once")
    judged = judge_pooled(folds, groups=groups, data_fingerprint=named["fingerprint"])
    stream = judged.evaluation.stream
    files = {}
    if out is not None:
        make_folder(out.parent)
        write_scores(out, pool(folds))
        files[stream] = str(out)
    return {
        "data": named,
        "by": cluster or "clip",
        "streams": {stream: judged.as_dict()},
        "files": files,
        "notes": pooled_notes([judged]),
    }
