"""Labels that are probably wrong: streams that saw a clip differently agree on another class.

Confident learning (Northcutt, Jiang and Chuang, 2021, *Confident Learning: Estimating Uncertainty
in Dataset Labels*) with more than one witness. It is honest only with scores of networks that were
not trained on the clips they judge: of held-out folds, or of a test part.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import softmax

from poselens.checkpoint import write_bytes
from poselens.errors import UsageError
from poselens.evaluation.explorer import Belief, belief
from poselens.evaluation.intervals import judged_rows
from poselens.fusion.scores import align, present
from poselens.types import Scores

Rank = Literal["margin", "self-confidence"]


@dataclass(frozen=True)
class Suspect:
    """A clip whose label is probably wrong.

    Attributes:
        clip: Its id.
        label: The class it is labelled with.
        suggested: The class that every stream prefers, and their mean is confident of.
        self_confidence: Mean probability, over the streams, of the label.
        margin: ``self_confidence`` less the highest mean probability of another class, in [-1, 1].
        witnesses: What each stream says, the label compared with ``suggested``.
    """

    clip: str
    label: str
    suggested: str
    self_confidence: float
    margin: float
    witnesses: Sequence[Belief]


@dataclass(frozen=True, eq=False)
class Suspects:
    """What a search for wrong labels found.

    Attributes:
        streams: The witnesses.
        n: Clips that all of them judged.
        entries: Suspects, the likeliest error first.
        disagreeing: Clips where the mean of the streams prefers another class than the label: what
            a search without thresholds and agreement would have named.
    """

    streams: Sequence[str]
    n: int
    entries: Sequence[Suspect]
    disagreeing: int


def find_suspects(scores: Sequence[Scores], *, rank: Rank = "margin") -> Suspects:
    r"""Name clips that every stream confidently takes for one class that is not their label.

    With :math:`p` the mean probability of the streams, a clip is confidently of class j when it
    reaches the mean that clips labelled j have:

    .. math::
        t_j = \frac{1}{|X_j|} \sum_{x \in X_j} p_j(x), \qquad
        \hat{y}(x) = \arg\max_{j : p_j(x) \geq t_j} p_j(x)

    It is a suspect when :math:`\hat{y}` is not its label, and every stream by itself prefers
    :math:`\hat{y}` too.

    Args:
        scores: Two or more streams on the same clips, by networks that did not learn from them.
        rank: ``margin`` puts the lowest normalised margin first, ``self-confidence`` the lowest
            probability of the label.

    Departure: the paper has one witness, and estimates how many labels of each class to drop. Here
    all streams must agree, and none is dropped: a person looks. Asking each stream to reach
    thresholds of its own finds a third fewer of planted errors, no more precisely.

    Raises:
        UsageError: ``EVAL-081`` for fewer than two streams, ``EVAL-001`` when no labelled clip is
            common to all, ``EVAL-003`` for a label outside the classes, ``FUS-001``, ``FUS-002`` as
            ``poselens.fusion.scores.align``.
        AnnotationError: ``FUS-003`` for labels that contradict each other.
        InputError: ``FUS-004`` for logits that are neither finite nor wholly NaN.
    """
    if len(scores) < 2:
        raise UsageError(
            "EVAL-081",
            f"found {len(scores)} streams, expected at least 2 that can agree against a label",
            mend="give the scores of a second stream on the same clips",
        )
    aligned = align(scores)
    judged_rows(aligned[0])
    known = np.logical_and.reduce([present(stream) for stream in aligned])
    rows = np.flatnonzero(known & (np.asarray(aligned[0].labels) >= 0))
    if len(rows) == 0:
        raise UsageError(
            "EVAL-001",
            "no labelled clip is common to the streams",
            mend="give scores of the same part of the data set",
        )
    labels = np.asarray(aligned[0].labels)[rows]
    shares = np.stack(
        [softmax(stream.logits[rows].astype(np.float64), axis=1) for stream in aligned]
    )
    mean, preferred = shares.mean(axis=0), shares.argmax(axis=2)
    confident = _confident_class(mean, labels)
    suspected = np.flatnonzero((preferred == confident).all(axis=0) & (confident != labels))
    entries = [
        _suspect(aligned, int(rows[row]), int(confident[row]), mean[row])
        for row in suspected.tolist()
    ]
    entries.sort(key=lambda entry: _order(entry, rank))
    disagreeing = int((mean.argmax(axis=1) != labels).sum())
    return Suspects([stream.stream for stream in aligned], len(rows), entries, disagreeing)


def _order(entry: Suspect, rank: Rank) -> tuple[float, float, str]:
    first, second = entry.margin, entry.self_confidence
    return (first, second, entry.clip) if rank == "margin" else (second, first, entry.clip)


def _confident_class(
    shares: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Return the class that each clip is confidently of, -1 where it is of none."""
    clips = np.bincount(labels, minlength=shares.shape[1])
    own = np.bincount(
        labels, weights=shares[np.arange(len(labels)), labels], minlength=shares.shape[1]
    )
    # nobody knows how sure to be of a class without a clip
    thresholds = np.where(clips > 0, own / np.maximum(clips, 1), np.inf)
    reached: Bool[np.ndarray, "n k"] = shares >= thresholds
    best: Int[np.ndarray, " n"] = np.where(reached, shares, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), best, -1)


def _suspect(
    aligned: Sequence[Scores], clip: int, suggested: int, mean: Float[np.ndarray, " k"]
) -> Suspect:
    first = aligned[0]
    label = int(first.labels[clip])
    return Suspect(
        first.ids[clip],
        first.classes[label],
        first.classes[suggested],
        float(mean[label]),
        float(mean[label] - np.delete(mean, label).max()),
        [
            belief(stream.stream, first.classes, stream.logits[clip], label, suggested)
            for stream in aligned
        ],
    )


def write_suspects(path: Path, found: Suspects) -> None:
    """Write suspects as CSV, the likeliest error first, for whoever looks at the clips.

    Columns: rank, clip, label, suggested, self_confidence, margin, and for each stream the
    probability of the label and of the class suggested.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs = [(f"{name} label", f"{name} suggested") for name in found.streams]
    names = [name for pair in pairs for name in pair]
    writer.writerow(["rank", "clip", "label", "suggested", "self_confidence", "margin", *names])
    for rank, entry in enumerate(found.entries, start=1):
        numbers = [entry.self_confidence, entry.margin]
        numbers += [share for each in entry.witnesses for share in (each.label, each.other)]
        words = [entry.clip, entry.label, entry.suggested]
        writer.writerow([rank, *words, *(f"{number:.4f}" for number in numbers)])
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))
