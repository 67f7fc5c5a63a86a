"""Score files as other tools write them."""

import csv
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch


def made_up_scores(ids: Sequence[str], classes: int, seed: int = 0) -> np.ndarray:
    """Logits of float32, a row per id."""
    return np.random.default_rng(seed).normal(0, 2, (len(ids), classes)).astype(np.float32)


def write_ctr_gcn(path: Path, ids: Sequence[object], scores: np.ndarray, protocol: int = 4) -> Path:
    """``main.py`` of CTR-GCN: a dict of sample name to logits."""
    path.write_bytes(pickle.dumps(dict(zip(ids, scores, strict=True)), protocol=protocol))
    return path


def write_pyskl(path: Path, scores: np.ndarray) -> Path:
    """``tools/test.py --out`` of PYSKL: a list of arrays in the order of the annotations."""
    path.write_bytes(pickle.dumps(list(scores)))
    return path


def write_mmaction(
    path: Path, scores: np.ndarray, labels: Sequence[int], *, nested: bool = False,
    names: Sequence[str] | None = None, protocol: int = 2,
) -> Path:  # fmt: skip
    """``tools/test.py --dump`` of MMAction2: dicts of torch tensors; rows are views of a batch."""
    batch = torch.from_numpy(scores)
    samples = []
    for row, label in enumerate(labels):
        score, truth = batch[row], torch.tensor([label])
        sample: dict[str, object] = (
            {"pred_scores": {"item": score}, "gt_labels": {"item": truth}}
            if nested
            else {"pred_score": score, "gt_label": truth, "pred_label": score.argmax()[None]}
        )
        if names is not None:
            sample["frame_dir"] = names[row]
        samples.append({**sample, "img_shape": (1080, 1920)})
    path.write_bytes(pickle.dumps(samples, protocol=protocol))
    return path


def write_annotations(
    path: Path, labels: Mapping[str, int], splits: Mapping[str, Sequence[str]]
) -> Path:
    """An annotation file of PYSKL, with as few joints as it can have."""
    annotations = [
        {
            "frame_dir": name,
            "label": label,
            "total_frames": 1,
            "keypoint": np.ones((1, 1, 17, 2), np.float16),
        }
        for name, label in labels.items()
    ]
    content = {"split": {part: list(names) for part, names in splits.items()}}
    path.write_bytes(pickle.dumps({**content, "annotations": annotations}))
    return path


def write_csv(
    path: Path, ids: Sequence[str], scores: np.ndarray, classes: Sequence[str],
    labels: Sequence[str] | None = None, separator: str = ",",
) -> Path:  # fmt: skip
    """A table with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(["id", *(["label"] if labels is not None else []), *classes])
        for row, name in enumerate(ids):
            told = [labels[row]] if labels is not None else []
            writer.writerow([name, *told, *(repr(float(value)) for value in scores[row])])
    return path
