"""A robustness card of drawn scores: streams that lose accuracy at known rates."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from poselens.evaluation.robustness import Curve, RobustnessCard, Trial, judge
from poselens.types import Scores

CLASSES = [f"class {number}" for number in range(10)]


def scores_right(stream: str, share: float, clips: int = 400) -> Scores:
    """Return scores of which the first ``share`` of the clips, in a fixed order, are right."""
    order = np.random.default_rng(3).permutation(clips)
    labels = np.arange(clips) % len(CLASSES)
    right = order < round(share * clips)
    said = np.where(right, labels, (labels + 1) % len(CLASSES))
    logits = np.where(np.arange(len(CLASSES)) == said[:, None], 2.0, 0.0).astype(np.float32)
    return Scores(logits, [f"c{clip}" for clip in range(clips)], labels, CLASSES, stream)


def drawn_curve(stream: str, shares: Mapping[float, float], clips: int = 400) -> Curve:
    """Return a curve: severity to share that is right, rest first."""
    (rest, whole), *tried = shares.items()
    base = scores_right(stream, whole, clips)
    points = [judge(base, level=rest, skipped=0, undisturbed=None)]
    points += [
        judge(scores_right(stream, share, clips), level=level, skipped=1, undisturbed=base)
        for level, share in tried
    ]
    return Curve(stream, points)


@cache
def drawn_card(
    kinds: Sequence[str] = ("joint-dropout", "frame-rate", "occlusion"),
) -> RobustnessCard:
    """Return a card of two streams and their fusion: steady, sensitive and fragile ones."""
    about = {
        "joint-dropout": (
            "Joints missing, one by one",
            "% of the joints",
            "{} of the joints are missing",
        ),
        "frame-rate": ("Fewer frames a second", "times fewer", "the frame rate is {} times lower"),
        "occlusion": (
            "Something stands in front",
            "% of the crop's area",
            "{} of the crop is covered",
        ),
    }
    shares = {
        "joint-dropout": {
            "joint": {0: 0.9, 0.1: 0.89, 0.2: 0.86, 0.4: 0.6, 0.6: 0.3},
            "fused": {0: 0.96, 0.1: 0.96, 0.2: 0.94, 0.4: 0.86, 0.6: 0.8},
        },
        "frame-rate": {
            "rgb": {1: 0.8, 2: 0.8, 4: 0.79},
            "joint": {1: 0.9, 2: 0.7, 4: 0.4},
            "fused": {1: 0.96, 2: 0.95, 4: 0.7},
        },
        "occlusion": {
            "rgb": {0: 0.8, 0.1: 0.7, 0.2: 0.5, 0.4: 0.2},
            "fused": {0: 0.96, 0.1: 0.96, 0.2: 0.95, 0.4: 0.95},
        },
    }
    undisturbed = {"rgb": 0.8, "joint": 0.9, "fused": 0.96}
    fused = scores_right("fused", 0.96)
    return RobustnessCard(
        dataset="drawn <scores>",
        protocol="p",
        part="test",
        clips=400,
        of=1000,
        chance=0.1,
        undisturbed=[
            (name, judge(scores_right(name, share), level=0.0, skipped=0, undisturbed=None))
            for name, share in undisturbed.items()
        ],
        without=[
            (name, judge(scores_right("fused", share), level=0.0, skipped=0, undisturbed=fused))
            for name, share in (("rgb", 0.9), ("joint", 0.8))
        ],
        trials=[
            Trial(kind, *about[kind], [drawn_curve(name, of) for name, of in shares[kind].items()])
            for kind in kinds
        ],
        notes=["a note"],
        facts={"seed": "0", "data_fingerprint": "0123456789abcdef"},
        command="poselens robustness",
    )
