import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from poselens.errors import UsageError
from poselens.evaluation import landscape as module
from poselens.evaluation.figures import standalone
from poselens.evaluation.landscape import landscape, landscape_figure
from poselens.fusion.scores import fuse
from poselens.types import Scores

NAMES = ["rgb", "joint", "bone", "joint-motion", "bone-motion"]


def streams(count, clips=120, classes=4):
    labels = np.arange(clips) % classes
    ids = [f"c{row}" for row in range(clips)]
    made = []
    for place, name in enumerate(NAMES[:count]):
        draw = np.random.default_rng(place)
        logits = draw.normal(0, 1, (clips, classes)) + 1.5 * np.eye(classes)[labels]
        made.append(Scores(logits.astype(np.float32), ids, labels, list("abcd"), name))
    return made


def found(count, **changes):
    scores = streams(count)
    names = NAMES[:count]
    marks = {
        "fitted": dict.fromkeys(names, 1 / count),
        "paper": {**dict.fromkeys(names, 0.0), "rgb": 1.0},
    }
    options = {"clips": "validation", "resamples": 60, **changes}
    return scores, landscape(scores, dict.fromkeys(names, 1.3), marks, **options)


@pytest.mark.parametrize(("count", "points"), [(2, 101), (3, 231), (5, 505)])
def test_every_point_is_a_fusion(count, points):
    scores, drawn = found(count)
    assert drawn.points.shape == (points, count)
    np.testing.assert_allclose(drawn.points.sum(axis=1), 1)
    assert drawn.points.min() >= 0
    for place in (0, points // 3, points - 1):
        fused = fuse(scores, drawn.points[place].tolist(), dict.fromkeys(NAMES, 1.3))
        labels = fused.labels
        assert drawn.accuracy[place] == pytest.approx(
            (fused.logits.argmax(axis=1) == labels).mean()
        )
        likely = -fused.logits[np.arange(len(labels)), labels].mean()
        assert drawn.nll[place] == pytest.approx(likely, abs=1e-4)
    assert (drawn.accuracy_band[:, 0] <= drawn.accuracy + 1e-9).all()
    assert (drawn.accuracy_band[:, 1] >= drawn.accuracy - 1e-9).all()
    assert (drawn.nll_band[:, 0] < drawn.nll).all()
    assert drawn.in_noise[drawn.accuracy.argmax()]
    facts = json.loads(json.dumps(drawn.as_dict()))
    assert facts["best_accuracy"]["accuracy"] == drawn.accuracy.max()
    assert facts["clips"] == "validation"


def test_a_stream_missing_here_and_there():
    scores = streams(2)
    scores[1].logits[::3] = np.nan
    drawn = landscape(scores, {"rgb": 1.0, "joint": 1.0}, {"m": {"rgb": 0.5, "joint": 0.5}},
                      clips="validation", resamples=20)  # fmt: skip
    fused = fuse(scores, [0.3, 0.7])
    right = (fused.logits.argmax(axis=1) == fused.labels).mean()
    assert drawn.accuracy[30] == pytest.approx(right)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_picture_names_streams_marks_and_clips(count):
    _, drawn = found(count, clips="the TEST part, evaluated on request")
    svg = landscape_figure(drawn)
    ET.fromstring(standalone(svg))
    text = "".join(ET.fromstring(svg).itertext())
    for word in (
        *NAMES[:count],
        "fitted",
        "paper",
        "the TEST part, evaluated on request, 120 clips",
    ):
        assert word in text
    assert "#0102" not in svg
    assert svg == landscape_figure(drawn)


def test_groups_and_many_clips(monkeypatch):
    groups = {f"c{row}": str(row % 6) for row in range(120)}
    _, drawn = found(2, groups=groups)
    assert drawn.unit == "group"
    assert "over whole groups" in landscape_figure(drawn)
    monkeypatch.setattr(module, "CLIP_LIMIT", 50)
    assert found(2)[1].n == 40
    with pytest.raises(UsageError, match="39 of 40 clips have no group") as caught:
        found(2, groups={"c0": "x"})
    assert caught.value.code == "EVAL-002"


def test_what_has_no_landscape():
    with pytest.raises(UsageError, match="one stream has no weights to choose") as caught:
        found(1)
    assert caught.value.code == "FUS-023"
    scores = [
        Scores(each.logits, each.ids, np.full(120, -1), each.classes, each.stream)
        for each in streams(2)
    ]
    with pytest.raises(UsageError, match="no clip has both") as caught:
        landscape(scores, {"rgb": 1, "joint": 1}, {"m": {"rgb": 1, "joint": 0}}, clips="v")
    assert caught.value.code == "EVAL-001"
