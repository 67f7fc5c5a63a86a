"""The folder of a sweep with drawn scores, without any training."""

import itertools
import json
from pathlib import Path

import numpy as np

from poselens.fusion.scores import write_scores
from poselens.recipes.combinations import label
from poselens.types import Scores

CLASSES = ["wave left", "wave right", "clap", "point"]
ACCURACY = {"joint": 0.8, "bone": 0.7, "joint-motion": 0.5, "bone-motion": 0.4}


def drawn(stream: str, contrast: object, seed: int, part: str, ids: list[str] | None) -> Scores:
    """Scores that depend on the settings, a little better with contrast."""
    key = (sum(map(ord, f"{stream}{label(contrast)}{part}")), seed)
    draw = np.random.default_rng(key)
    ids = ids or [f"{part}{n}" for n in range(80)]
    labels = np.arange(len(ids)) % 4
    right = draw.random(len(ids)) < ACCURACY[stream] + (0.05 if contrast else 0)
    logits = draw.normal(0, 1, (len(ids), 4)).astype(np.float32)
    logits[np.arange(len(ids)), np.where(right, labels, (labels + 1) % 4)] += 3
    return Scores(logits, ids, labels, CLASSES, stream)


def make_sweep(
    root: Path, axes: dict[str, list], *, ids: list[str] | None = None, source: str = "", **data
) -> Path:
    """A sweep's folder as training leaves it, without the training."""
    runs = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        name = "_".join(f"{key.split('.')[-1]}={label(value)}" for key, value in chosen.items())
        folder = root / name
        folder.mkdir(parents=True)
        facts = {"name": "tiny", "protocol": "p", "fingerprint": "f00", "val": 80, **data}
        selection = "last of 2 epochs, trained on train"
        (folder / "run.json").write_text(json.dumps({"data": facts, "selection": selection}))
        stream, seed = chosen.get("input.stream", "joint"), chosen.get("training.seed", 0)
        contrast = chosen.get("contrast.samplers")
        for part in ("val", "test"):
            named = ids if part == "test" else None
            scores = drawn(stream, contrast, seed, part, named)
            write_scores(folder / f"scores_{part}.npz", scores)
        runs.append({"folder": name, "values": chosen, "outcome": "complete", "error": None})
    about = {
        "format": 1, "branch": "skeleton", "recipe": "tiny-test", "data": source,
        "protocol": "p", "settings": [], "axes": axes, "runs": runs,
    }  # fmt: skip
    (root / "sweep.json").write_text(json.dumps(about))
    return root
