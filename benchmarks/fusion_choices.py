"""Choose fusion weights on validation in every way, and tell what each brings on test.

Run: ``python benchmarks/fusion_choices.py --set NAME rgb=RUN joint=RUN --set NAME joint=RUN ...``.
A run's folder has ``scores_val.npz`` and ``scores_test.npz`` (``poselens train --score test``).
Nothing is chosen on test: it is where the choices are compared, once.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from poselens.checkpoint import write_json
from poselens.errors import UsageError
from poselens.evaluation.gain import paired_gain
from poselens.evaluation.metrics import negative_log_likelihood
from poselens.fusion.scores import read_scores
from poselens.fusion.weights import FusionWeights, fit_weights, fixed_weights, fuse_with
from poselens.types import Scores


def read(runs: list[str], part: str) -> list[Scores]:
    """Return the scores of a part of every ``stream=RUN``."""
    pairs = [run.split("=", 1) for run in runs]
    return [
        replace(read_scores(Path(run) / f"scores_{part}.npz"), stream=name) for name, run in pairs
    ]


def choices(validation: list[Scores]) -> dict[str, FusionWeights]:
    """Return the weights of every way."""
    names = [each.stream for each in validation]
    likely = fit_weights(validation)
    found = {"equal": fixed_weights(names, "equal")}
    try:
        found["paper"] = fixed_weights(names, "paper")
    except UsageError:
        print("no weights of the paper for", names)
    found["equal, calibrated"] = replace(found["equal"], temperatures=likely.temperatures)
    found["likelihood"] = likely
    found["likelihood per class"] = fit_weights(validation, per_class=True)
    found["accuracy"] = fit_weights(validation, objective="accuracy")
    found["accuracy per class"] = fit_weights(validation, objective="accuracy", per_class=True)
    return found


def judged(scores: Scores) -> dict[str, float]:
    """Return accuracy in percent and likelihood in nats."""
    right = (scores.logits.argmax(axis=1) == scores.labels).mean()
    nll = negative_log_likelihood(scores.logits.astype(np.float64), scores.labels)
    return {"top1": round(100 * float(right), 1), "nll": round(nll, 3)}


def main() -> None:
    """Compare every way on every set of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", nargs="+", required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    told: dict[str, Any] = {}
    for name, *runs in given.set:
        validation, test = read(runs, "val"), read(runs, "test")
        equal = fuse_with(test, fixed_weights([each.stream for each in test], "equal"))
        entry: dict[str, Any] = {
            "validation_clips": len(validation[0].ids),
            "test_clips": len(test[0].ids),
            "streams": {
                part.stream: {"val": judged(part)["top1"], "test": judged(other)["top1"]}
                for part, other in zip(validation, test, strict=True)
            },
            "ways": {},
        }
        for way, fusion in choices(validation).items():
            fused = fuse_with(test, fusion)
            gain = paired_gain(fused, equal)
            entry["ways"][way] = {
                "val": judged(fuse_with(validation, fusion)),
                "test": judged(fused),
                "against_equal": [
                    round(100 * value, 1)
                    for value in (
                        gain.difference.value,
                        gain.difference.interval.low,
                        gain.difference.interval.high,
                    )
                ],
                "mcnemar_p": round(gain.test.p, 4),
                "weights": {key: round(value, 3) for key, value in fusion.weights.items()},
            }
            print(name, way, entry["ways"][way])
        told[name] = entry
    if given.out is not None:
        write_json(given.out, told)


if __name__ == "__main__":
    main()
