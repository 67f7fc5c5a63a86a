"""Choose on validation when to say ``unknown`` and what a set of labels holds; judge it on test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
from poselens.evaluation.conformal import (
    ConformalEvaluation,
    Method,
    evaluate_conformal,
    fit_conformal,
    require_method,
)
from poselens.evaluation.unknown import (
    UNKNOWN,
    RiskCoverage,
    Threshold,
    UnknownEvaluation,
    choose_threshold,
    evaluate_unknown,
    require_enough,
    require_rate,
    risk_coverage,
)
from poselens.fusion.scores import read_scores
from poselens.fusion.weights import FusionWeights, fuse_with
from poselens.recipes.evaluating import Result
from poselens.recognition.bundle import Bundle
from poselens.recognition.score import score_folder
from poselens.recognition.streams import TrainedStream
from poselens.types import ONE_VIEW, Scores


@dataclass(frozen=True)
class Asked:
    """What is to be known about answers that are held back.

    Attributes:
        unknown: Share of clips of known classes that may be called unknown; None for the threshold
            of the bundle, where it has one.
        conformal: Share of label sets that may miss the right label, or None.
        method: ``lac`` or ``aps``.
        per_class: Whether the promise of the sets holds for every class.
        outside: Score file of clips of other classes, or None.
    """

    unknown: float | None = None
    conformal: float | None = None
    method: Method = "lac"
    per_class: bool = False
    outside: Path | None = None

    @property
    def calibrates(self) -> bool:
        """Whether something is chosen on validation clips."""
        return self.unknown is not None or self.conformal is not None


@dataclass(frozen=True, eq=False)
class Abstention:
    """What holding answers back does.

    Attributes:
        selective: Accuracy where only the most confident clips are answered.
        unknown: What the threshold does, where there is one.
        conformal: What the label sets hold, where they were asked for.
        notes: What makes these numbers less than they seem, one sentence each.
    """

    selective: RiskCoverage | None = None
    unknown: UnknownEvaluation | None = None
    conformal: ConformalEvaluation | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {
            "selective": None if self.selective is None else self.selective.as_dict(),
            "unknown": None if self.unknown is None else self.unknown.as_dict(),
            "conformal": None if self.conformal is None else self.conformal.as_dict(),
        }


def as_asked(
    unknown: float | None,
    conformal: float | None,
    method: str,
    *,
    per_class: bool = False,
    outside: Path | None = None,
) -> Asked:
    """Return the question of a command.

    Raises:
        UsageError: ``EVAL-024`` for an unknown method of label sets.
    """
    require_method(method)
    return Asked(unknown, conformal, cast(Method, method), per_class, outside)


def require_possible(
    bundle: Bundle, folder: ClipFolder, protocol: str, part: str, asked: Asked
) -> None:
    """Refuse what cannot be answered before anything is scored.

    Raises:
        UsageError: ``EVAL-022`` too few validation clips for the rate, ``EVAL-023`` for a rate out
            of range, ``EVAL-025`` when there are no validation clips that no stream was trained on,
            ``EVAL-026`` when the part to judge is the one to choose on, ``EVAL-027`` for clips of
            other classes without a threshold.
        InputError: ``FUS-006`` for damaged scores of other classes.
    """
    if asked.conformal is not None:
        require_rate(asked.conformal)
    if asked.outside is not None:
        read_scores(asked.outside)
        if asked.unknown is None and bundle.unknown is None:
            raise UsageError(
                "EVAL-027",
                "clips of other classes are given, but no threshold to judge",
                mend="ask for one with --unknown RATE",
            )
    if not asked.calibrates:
        return
    if part == "val":
        raise UsageError(
            "EVAL-026",
            "thresholds are chosen on the validation part and cannot be judged on it",
            mend="evaluate the test part",
        )
    require_held_out(bundle.streams, protocol)
    labelled = int((folder.labels[folder.indices(protocol, "val")] >= 0).sum())
    if asked.unknown is not None:
        require_enough(labelled, asked.unknown)


def require_held_out(streams: Sequence[TrainedStream], protocol: str) -> None:
    """Refuse to choose on validation clips that a stream was trained on.

    Raises:
        UsageError: ``EVAL-025``.
    """
    told = seen_validation(streams, protocol, "clips")
    if told is not None:
        message, mend = told
        raise UsageError("EVAL-025", f"{message}: no threshold can be chosen there", mend=mend)


def seen_validation(
    streams: Sequence[TrainedStream], protocol: str, called: str = "slice"
) -> tuple[str, str] | None:
    """Return why nothing may be chosen on validation clips, and the mend; None where it may."""
    for trained in streams:
        name, data = trained.stream.name, trained.facts.get("data", {})
        if not data.get("val"):
            return (
                f"{name} was trained on the validation {called} too",
                "train with training.validation=hold-out",
            )
        if data.get("protocol") != protocol:
            return (
                f"{name} was trained under the protocol {data.get('protocol')!r}, so it may have "
                f"seen validation clips of {protocol!r}",
                "train it under this protocol",
            )
    return None


def abstain(
    bundle: Bundle,
    folder: ClipFolder,
    protocol: str,
    result: Result,
    asked: Asked,
    *,
    told: Callable[[int], None] | None = None,
) -> Abstention:
    """Choose on validation clips, and judge on scores of another part.

    Args:
        bundle: Trained streams and their fusion.
        folder: The data set.
        protocol: Name of the split.
        result: How the bundle does on the part to judge.
        asked: What is to be known.
        told: Called with the number of clips after each batch.

    Raises:
        UsageError: As :func:`require_possible`, ``poselens.recognition.score`` and
            ``poselens.evaluation``.
    """
    judged = answers(result.scores, bundle.fusion)
    about, views = result.units.about(judged.ids), judged.views
    threshold, notes = bundle.unknown, []
    sets = None
    if asked.calibrates:
        held_out = held_out_scores(bundle.streams, folder, protocol, views=views, told=told)
        chosen_on = answers(held_out, bundle.fusion)
        if bundle.fusion.n:
            notes.append("the fusion was fitted on the clips that the thresholds were chosen on")
        if asked.unknown is not None:
            threshold = choose_threshold(chosen_on, asked.unknown)
        if asked.conformal is not None:
            rule = fit_conformal(
                chosen_on, asked.conformal, asked.method, per_class=asked.per_class
            )
            sets = evaluate_conformal(judged, rule, **about)
            notes += sets.told
    outside = None if asked.outside is None else read_scores(asked.outside)
    return Abstention(
        risk_coverage(judged, **about),
        None
        if threshold is None
        else evaluate_unknown(judged, threshold, outside=outside, **about),
        sets,
        notes,
    )


def abstain_from_scores(result: Result, asked: Asked) -> Abstention:
    """Return how accurate the confident ones of scores are, of which no validation part is known.

    Raises:
        UsageError: ``EVAL-025`` when something is to be chosen on validation.
    """
    if asked.calibrates or asked.outside is not None:
        raise UsageError(
            "EVAL-025",
            "thresholds are chosen on the validation part, and a score file holds one part",
            mend="evaluate a run or a bundle",
        )
    judged = result.scores[-1]
    return Abstention(risk_coverage(judged, **result.units.about(judged.ids)))


def answers(scores: Sequence[Scores], fusion: FusionWeights) -> Scores:
    """Return what prediction would say: the fusion at its temperatures, of one stream too."""
    return fuse_with(list(scores)[: len(fusion.weights)], fusion)


def held_out_scores(
    streams: Sequence[TrainedStream],
    folder: ClipFolder,
    protocol: str,
    *,
    views: str = ONE_VIEW,
    told: Callable[[int], None] | None = None,
) -> list[Scores]:
    """Score the validation part with streams that were not trained on it.

    Raises:
        UsageError: ``EVAL-025`` as :func:`require_held_out`; as ``poselens.recognition.score``.
    """
    require_held_out(streams, protocol)
    clips = folder.indices(protocol, "val")
    return [
        score_folder(trained, folder, clips, views=views, told=told).scores for trained in streams
    ]


def unknown_threshold(scores: Sequence[Scores], fusion: FusionWeights, rate: float) -> Threshold:
    """Choose the threshold that a bundle keeps, from its streams' scores of validation clips.

    Raises:
        UsageError: ``EVAL-028`` when a class is called ``unknown`` itself; else as
            ``poselens.evaluation.unknown.choose_threshold``.
    """
    if UNKNOWN in scores[0].classes:
        raise UsageError(
            "EVAL-028",
            f"a class is called {UNKNOWN!r} itself, so nobody could tell the two apart",
            mend="give the class another name",
        )
    return choose_threshold(answers(scores, fusion), rate)
