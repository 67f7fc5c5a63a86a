"""What the report says of single clips: every stream's opinion, and who tells a pair apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from poselens.errors import UsageError
from poselens.fusion.scores import align, present
from poselens.types import Scores

_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, eq=False)
class AttributionStrip:
    """What a network looked at in the frames of a clip.

    Attributes:
        name: Network and method, such as ``rgb, Grad-CAM``.
        pixels: ``(h, w, 3)`` RGB, the same frames side by side as in the clip's strip.
    """

    name: str
    pixels: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, eq=False)
class FrameStrip:
    """Frames of one clip side by side.

    Attributes:
        pixels: ``(h, w, 3)`` RGB.
        caption: What the clip is and what was said about it.
        attributions: What networks looked at in these frames.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    caption: str
    attributions: Sequence[AttributionStrip] = ()


@dataclass(frozen=True)
class Belief:
    """What one stream says of a clip.

    Attributes:
        stream: Its name.
        says: Its best class.
        confidence: Probability of that.
        label: Probability of the class the clip is labelled with.
        other: Probability of the class it is compared with.
    """

    stream: str
    says: str
    confidence: float
    label: float
    other: float


def belief(
    stream: str, classes: Sequence[str], logits: Float[np.ndarray, " k"], label: int, other: int
) -> Belief:
    """Return what a stream says of a clip by its logits."""
    shares = softmax(logits.astype(np.float64))
    best = int(logits.argmax())
    return Belief(
        stream, classes[best], float(shares[best]), float(shares[label]), float(shares[other])
    )


@dataclass(frozen=True, eq=False)
class ClipCard:
    """A clip with what is known of it.

    Attributes:
        clip: Its id.
        told: What it is and what was said of it.
        label: The class it is labelled with.
        other: The class it is compared with.
        beliefs: What each stream says; those that say nothing are left out.
        strip: Frames of it; None where it has neither video nor joints.
        loss: Negative log-likelihood of the label, in nats.
    """

    clip: str
    told: str
    label: str
    other: str
    beliefs: Sequence[Belief] = ()
    strip: FrameStrip | None = None
    loss: float | None = None


@dataclass(frozen=True)
class StreamFix:
    """How one stream does on the clips of a confused pair.

    Attributes:
        stream: Its name.
        right: Clips it has right.
        same: Clips of which it makes the same mistake.
        clips: Clips of the pair it has scores for.
    """

    stream: str
    right: int
    same: int
    clips: int


@dataclass(frozen=True, eq=False)
class ConfusedPair:
    """A class taken for another, with pictures.

    Attributes:
        label: The true class.
        predicted: The class it was taken for.
        count: Clips of ``label`` called ``predicted``.
        strips: Pictures without opinions.
        cards: Clips to look at, with what each stream says of them.
        fixes: Which stream has the clips of the pair right.
    """

    label: str
    predicted: str
    count: int
    strips: Sequence[FrameStrip] = ()
    cards: Sequence[ClipCard] = ()
    fixes: Sequence[StreamFix] = ()


@dataclass(frozen=True, eq=False)
class Opinions:
    """What every stream says of labelled clips; the last stream is the one that is judged.

    Attributes:
        ids: Clips with a label and a verdict.
        classes: Class names.
        streams: Their names.
        labels: Class of each clip.
        said: Best class of each stream, -1 where it says nothing.
        confidence: Probability of that, NaN where it says nothing.
        of_label: Probability of the label.
        of_verdict: Probability of the class that the judged stream says.
        loss: Negative log-likelihood of the label by the judged stream, in nats.
        logits: Of each stream.
    """

    ids: Sequence[str]
    classes: Sequence[str]
    streams: Sequence[str]
    labels: Int[np.ndarray, " n"]
    said: Int[np.ndarray, "s n"]
    confidence: Float[np.ndarray, "s n"]
    of_label: Float[np.ndarray, "s n"]
    of_verdict: Float[np.ndarray, "s n"]
    loss: Float[np.ndarray, " n"]
    logits: Sequence[Float[np.ndarray, "n k"]]

    @property
    def verdict(self) -> Int[np.ndarray, " n"]:
        """What the judged stream says."""
        verdict: NDArray[np.int64] = self.said[-1]
        return verdict

    @property
    def wrong(self) -> Bool[np.ndarray, " n"]:
        """Which clips the judged stream has wrong."""
        wrong: NDArray[np.bool_] = self.verdict != self.labels
        return wrong

    def beliefs(self, clip: int, other: int) -> list[Belief]:
        """Return what each stream says of a clip, whose label is compared with another class."""
        label = int(self.labels[clip])
        return [
            belief(name, self.classes, logits[clip], label, other)
            for name, logits, said in zip(
                self.streams, self.logits, self.said[:, clip].tolist(), strict=True
            )
            if said >= 0
        ]

    def worst(self, top: int) -> list[int]:
        """Return the wrong clips of highest loss, the highest first."""
        wrong = np.flatnonzero(self.wrong)
        order: list[int] = wrong[np.argsort(-self.loss[wrong], kind="stable")][:top].tolist()
        return order

    def of_pair(self, label: int, predicted: int) -> Int[np.ndarray, " clips"]:
        """Return clips of one class that were called another, the most confident first."""
        chosen = np.flatnonzero((self.labels == label) & (self.verdict == predicted))
        return chosen[np.argsort(-self.confidence[-1, chosen], kind="stable")]

    def fixes(self, label: int, predicted: int) -> list[StreamFix]:
        """Return how each stream does on the clips of a pair."""
        said = self.said[:, self.of_pair(label, predicted)]
        return [
            StreamFix(
                name,
                int((said[place] == label).sum()),
                int((said[place] == predicted).sum()),
                int((said[place] >= 0).sum()),
            )
            for place, name in enumerate(self.streams)
        ]


def opinions(scores: Sequence[Scores]) -> Opinions:
    """Gather what streams say of the clips that the last of them can be judged on.

    Args:
        scores: One entry per stream; the last one is judged, the fusion where there is one.

    Raises:
        UsageError: ``EVAL-001`` without a labelled clip, ``FUS-001``, ``FUS-002`` as
            ``poselens.fusion.scores.align``.
        AnnotationError: ``FUS-003`` for labels that contradict each other.
        InputError: ``FUS-004`` for logits that are neither finite nor wholly NaN.
    """
    aligned = align(scores)
    judged = aligned[-1]
    rows = np.flatnonzero(present(judged) & (np.asarray(judged.labels) >= 0))
    if len(rows) == 0:
        raise UsageError(
            "EVAL-001", "no clip has both a label and scores", mend="evaluate a part with labels"
        )
    labels = np.asarray(judged.labels)[rows]
    logits = [stream.logits[rows] for stream in aligned]
    verdict = logits[-1].argmax(axis=1)
    asked = [_asked(each, labels, verdict) for each in logits]
    said, confidence, of_label, of_verdict = (np.stack(each) for each in zip(*asked, strict=True))
    return Opinions(
        [judged.ids[row] for row in rows.tolist()],
        list(judged.classes),
        [stream.stream for stream in aligned],
        labels,
        said.astype(np.int64),
        confidence,
        np.exp(of_label),
        np.exp(of_verdict),
        -of_label[-1],
        logits,
    )


def _asked(
    logits: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " n"],
    verdict: Int[np.ndarray, " n"],
) -> tuple[NDArray[np.float64], ...]:
    """Return best class, its probability, and log probabilities of label and verdict."""
    parts = []
    for start in range(0, len(logits), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        log_shares = log_softmax(logits[some].astype(np.float64), axis=1)
        rows = np.arange(len(log_shares))
        known = np.isfinite(logits[some]).all(axis=1)
        best = np.where(known, np.nan_to_num(log_shares).argmax(axis=1), -1)
        columns = (log_shares[rows, labels[some]], log_shares[rows, verdict[some]])
        parts.append((best, np.exp(log_shares[rows, best]), *columns))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def pairs_of(found: Opinions, top: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield (label, predicted, clips) of every confusion, the most frequent first."""
    size = len(found.classes)
    cells = found.labels[found.wrong] * size + found.verdict[found.wrong]
    kinds, counts = np.unique(cells, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:top]
    for cell, count in zip(kinds[order].tolist(), counts[order].tolist(), strict=True):
        yield cell // size, cell % size, count
