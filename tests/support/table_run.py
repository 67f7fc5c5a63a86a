"""Run folders with drawn scores, as training with --score leaves them, without the training."""

import json
from pathlib import Path

import numpy as np

from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.fusion.scores import write_scores
from poselens.training.config import RgbSection, SkeletonSection, override, to_yaml
from poselens.types import Scores

CLASSES = ("wave left", "wave right", "clap", "point")


def some_scores(
    stream: str, accuracy: float, seed: int, clips: int = 40, classes: tuple[str, ...] = CLASSES
) -> Scores:
    draw = np.random.default_rng((sum(map(ord, stream)), seed))
    labels = np.arange(clips) % len(classes)
    right = draw.random(clips) < accuracy
    logits = draw.normal(0, 0.3, (clips, len(classes))).astype(np.float32)
    logits[np.arange(clips), np.where(right, labels, (labels + 1) % len(classes))] += 3
    return Scores(logits, [f"c{n:03d}" for n in range(clips)], labels, list(classes), stream)


def make_run(
    out: Path,
    branch: str,
    *settings: str,
    seed: int = 0,
    accuracy: float = 0.7,
    clips: int = 40,
    classes: tuple[str, ...] = CLASSES,
    **data: object,
) -> Path:
    """Write a finished run whose settings are those of a section with ``settings``."""
    section = RgbSection() if branch == "rgb" else SkeletonSection()
    section = override(section, [*settings, f"training.seed={seed}"])
    if isinstance(section, RgbSection):
        stream = RgbStream(classes=classes, input=section.input, network=section.network)
    else:
        stream = SkeletonStream(
            classes=classes, input=section.input, network=section.network, layout="coco-17",
            dimensions=3,
        )  # fmt: skip
    facts = {"name": "tiny", "protocol": "p", "fingerprint": "f00", "val": 8, **data}
    out.mkdir(parents=True)
    config = {"recipe": "r", "branch": branch, "protocol": facts["protocol"]}
    (out / "config.yaml").write_bytes(to_yaml({**config, **section.model_dump(mode="json")}))
    about = {
        "format": 1, "stream": stream.model_dump(mode="json"), "recipe": "r", "data": facts,
        "selection": "last of 2 epochs, trained on train", "seed": seed, "complete": True,
    }  # fmt: skip
    (out / "run.json").write_text(json.dumps(about))
    write_scores(out / "scores_test.npz", some_scores(stream.name, accuracy, seed, clips, classes))
    write_scores(out / "scores_val.npz", some_scores(stream.name, accuracy, seed + 50, 24, classes))
    return out
