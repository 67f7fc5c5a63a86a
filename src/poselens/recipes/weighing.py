"""Choose the weights of Eq. (14), and say what the fusion brings: for runs and for score files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from poselens.checkpoint import read_json, write_bytes
from poselens.data.folder import ClipFolder
from poselens.data.info import Column, nearest
from poselens.errors import CheckpointError, UsageError
from poselens.evaluation.figures import standalone
from poselens.evaluation.gain import FusionGain, StreamCost, fusion_gain
from poselens.evaluation.landscape import Landscape, landscape, landscape_figure
from poselens.fusion.held_out import FOLDS, fixed, refitted
from poselens.fusion.scores import align, present
from poselens.fusion.weights import (
    FusionWeights,
    Objective,
    fit_weights,
    fixed_weights,
    fusion_weights_from,
)
from poselens.types import Scores

HELD_OUT_LIMIT = 20_000
"""From here on a gain is measured on the clips of the fit: so many leave little to flatter."""

FEW_GROUPS = 10
"""Below this, a bootstrap over groups covers less than it says."""


@dataclass(frozen=True)
class Choice:
    """How weights are to be chosen.

    Attributes:
        weights: ``paper``, ``equal``, ``fitted``, ``stream=number,...``, a table, or a JSON file
            with weights from before.
        objective: What fitted weights seek: ``likelihood`` or ``accuracy``.
        per_class: Whether fitted weights are per stream and class.
    """

    weights: str | Mapping[str, float] = "paper"
    objective: str = "likelihood"
    per_class: bool = False

    @property
    def fitted(self) -> bool:
        """Whether weights are to be fitted."""
        return self.weights == "fitted"

    def fit(self, scores: Sequence[Scores]) -> FusionWeights:
        """Fit weights as chosen."""
        sought = cast(Objective, self.objective)
        return fit_weights(scores, objective=sought, per_class=self.per_class)


def require_choice(choice: Choice) -> None:
    """Refuse options of fitting for weights that are not fitted.

    Raises:
        UsageError: ``FUS-030``; ``FUS-021`` for an unknown objective.
    """
    if choice.objective not in ("likelihood", "accuracy"):
        raise UsageError(
            "FUS-021", f"found objective {choice.objective!r}, expected likelihood or accuracy"
        )
    if not choice.fitted and (choice.per_class or choice.objective != "likelihood"):
        raise UsageError(
            "FUS-030",
            f"weights {choice.weights!r} are not fitted, so nothing can be sought for them",
            mend="use --weights fitted, or leave --objective and --per-class out",
        )


def choose_weights(
    choice: Choice, names: Sequence[str], scores: Sequence[Scores] | None
) -> FusionWeights:
    """Return the weights that were asked for.

    Args:
        choice: How to choose them.
        names: Stream names.
        scores: Validation scores, for weights that are to be fitted.

    Raises:
        UsageError: ``FUS-005``, ``FUS-011`` weights that cannot be read, ``FUS-020`` a stream that
            the weights of a file do not know; else as ``poselens.fusion.weights.fit_weights``.
        CheckpointError: ``CKPT-001``, ``CKPT-005`` a JSON file that holds no weights.
    """
    require_choice(choice)
    given = choice.weights
    if choice.fitted:
        return choice.fit(scores or ())
    if not isinstance(given, str):
        return fixed_weights(names, given)
    if given.endswith(".json"):
        return _from_file(Path(given), names)
    return fixed_weights(names, parse_weights(given, names) if "=" in given else given)


def _from_file(path: Path, names: Sequence[str]) -> FusionWeights:
    facts = read_json(path)
    inside = facts.get("fusion", facts)
    if not isinstance(inside, dict):
        raise CheckpointError("CKPT-005", "holds no fusion weights", file=path)
    read = fusion_weights_from(inside, file=str(path))
    for name in names:
        if name not in read.weights:
            raise UsageError(
                "FUS-020",
                f"the weights know {', '.join(read.weights)}, but not {name!r}",
                file=path,
                mend="name the streams as they were when the weights were made: name=FILE",
            )
    return read.of(names)


def parse_weights(text: str, names: Sequence[str]) -> dict[str, float]:
    """Read ``stream=number,stream=number``.

    Raises:
        UsageError: ``FUS-011``.
    """
    table: dict[str, float] = {}
    for entry in text.split(","):
        name, _, number = (part.strip() for part in entry.partition("="))
        if name not in names:
            raise UsageError(
                "FUS-011",
                f"found a weight for {name!r}{nearest(name, names)}",
                mend=f"give one for each of {', '.join(names)}",
            )
        try:
            table[name] = float(number)
        except ValueError as fault:
            raise UsageError(
                "FUS-011", f"found weight {entry!r}, expected stream=number"
            ) from fault
    return table


def judge_fusion(
    scores: Sequence[Scores],
    fusion: FusionWeights,
    choice: Choice,
    *,
    clips: str,
    costs: Mapping[str, StreamCost] | None = None,
    groups: Mapping[str, str] | None = None,
) -> FusionGain | None:
    """Return what a fusion brings on labelled clips; None with one stream or without labels.

    Weights that were fitted on these clips are fitted anew on four fifths of them and judged on the
    last, five times over, so that they do not flatter themselves.

    Args:
        scores: One entry per stream.
        fusion: The weights.
        choice: How they were chosen.
        clips: What the clips are; the result says so.
        costs: What each stream asks for.
        groups: Group of each clip by id: intervals over whole groups, which no fold splits.
    """
    labelled = _labelled(scores)
    if len(scores) < 2 or not labelled:
        return None
    fuser = fixed(fusion)
    if choice.fitted:
        if 2 * FOLDS <= labelled <= HELD_OUT_LIMIT:
            fuser, clips = refitted(choice.fit, groups), f"{clips}, weights fitted out of fold"
        else:
            clips = f"{clips}, the clips that the weights were fitted on"
    return fusion_gain(_with_labels(scores), fuser, clips=clips, costs=costs, groups=groups)


def _labelled(scores: Sequence[Scores]) -> int:
    aligned = align(scores)
    known = np.any([present(stream) for stream in aligned], axis=0)
    return int((known & (np.asarray(aligned[0].labels) >= 0)).sum())


def _with_labels(scores: Sequence[Scores]) -> list[Scores]:
    """Return aligned streams without clips that have no label: nothing is judged by them."""
    aligned = align(scores)
    rows = np.flatnonzero(np.asarray(aligned[0].labels) >= 0)
    ids = [aligned[0].ids[row] for row in rows.tolist()]
    return [
        Scores(each.logits[rows], ids, each.labels[rows], each.classes, each.stream, each.views)
        for each in aligned
    ]


def draw_landscape(
    path: Path,
    scores: Sequence[Scores],
    fusion: FusionWeights,
    *,
    clips: str,
    groups: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the landscape of weights as SVG and return what it says.

    Raises:
        UsageError: ``FUS-023`` with one stream, ``EVAL-001`` without a labelled clip.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    marks = weight_marks(fusion, [stream.stream for stream in scores])
    found: Landscape = landscape(scores, fusion.temperatures, marks, clips=clips, groups=groups)
    write_bytes(path, standalone(landscape_figure(found)).encode())
    return found.as_dict()


def weight_marks(fusion: FusionWeights, names: Sequence[str]) -> dict[str, Mapping[str, float]]:
    """Return the weights to show in a landscape: a fusion's own first, then the fixed ones."""
    marks: dict[str, Mapping[str, float]] = {_called(fusion): fusion.weights}
    for other in ("paper", "equal"):
        try:
            marks.setdefault(other, fixed_weights(names, other).weights)
        except UsageError:
            # streams that the paper does not have
            continue
    if len(names) == 2 and marks.get("paper") == marks["equal"]:
        del marks["equal"]
    return marks


def _called(fusion: FusionWeights) -> str:
    return f"fitted ({fusion.objective})" if fusion.objective else fusion.method


def clip_groups(
    folder: ClipFolder | None, cluster: str | None, scores: Sequence[Scores]
) -> dict[str, str] | None:
    """Return the group of each scored clip: two groups at least, or nothing would vary.

    Raises:
        UsageError: ``CMP-005`` for an unknown column or fewer than two groups, ``FUS-030`` without
            a data set.
    """
    if cluster is None:
        return None
    if folder is None:
        raise UsageError(
            "FUS-030", "--cluster needs the clips' data set", mend="give --data and --protocol"
        )
    if cluster not in ("subject", "view", "source"):
        raise UsageError("CMP-005", f"found cluster {cluster!r}, expected subject, view or source")
    column = folder.column(cast(Column, cluster)).tolist()
    group = dict(zip(folder.ids.tolist(), column, strict=True))
    groups = {clip: group[clip] for stream in scores for clip in stream.ids}
    count = len(set(groups.values()) - {""})
    if count < 2:
        raise UsageError(
            "CMP-005",
            f"the clips are of {count} {cluster}(s), expected 2 or more",
            file=folder.root,
            mend="leave --cluster out",
        )
    return groups


def group_notes(groups: Mapping[str, str] | None) -> list[str]:
    """Say where intervals over groups are less than they seem."""
    if groups is None or len(set(groups.values())) >= FEW_GROUPS:
        return []
    count = len(set(groups.values()))
    return [f"intervals over {count} groups, fewer than {FEW_GROUPS}, are too narrow"]
