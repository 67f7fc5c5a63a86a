import re
import xml.etree.ElementTree as ElementTree

import numpy as np

from poselens.evaluation.confusion_figure import confusion_figure
from poselens.evaluation.figures import curves_figure, recall_figure, shorten
from poselens.evaluation.metrics import evaluate
from poselens.types import Scores


def judged(classes, clips=60, seed=0, stream="rgb"):
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % len(classes)
    logits = draw.normal(0, 1, (clips, len(classes))) + 2 * np.eye(len(classes))[labels]
    ids = [f"c{row}" for row in range(clips)]
    return evaluate(Scores(logits.astype(np.float32), ids, labels, classes, stream), resamples=20)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def test_figures_are_the_same_twice_and_take_their_colours_from_the_page():
    best = judged(["a", "b", "c"])
    other = judged(["a", "b", "c"], seed=1)
    history = [{"epoch": 1, "split": "train", "loss": 1.0, "top1": 0.5, "lr": 0.1}]
    for draw in (
        lambda: recall_figure(best, [other]),
        lambda: curves_figure({"rgb": history, "joint": []}, {"rgb": 1}),
    ):
        svg = draw()
        assert svg == draw()
        assert svg.startswith("<svg ")
        assert "var(--" in svg
        assert "#0102" not in svg
        assert not re.search(r"#ffffff|<image|https?://(?!www\.w3\.org)", svg)


def test_ids_of_one_figure_do_not_meet_those_of_another():
    history = [{"epoch": 1, "split": "val", "loss": 1.0, "top1": 0.5}]
    best = judged(["a", "b", "c"])
    used = [
        set(re.findall(r'\bid="([^"]+)"', svg))
        for svg in (curves_figure({"rgb": history}, {"rgb": 1}), recall_figure(best, []))
    ]
    assert used[0]
    assert used[1]
    assert not used[0] & used[1]
    svg = recall_figure(best, [judged(["a", "b", "c"], seed=2)])
    pointed = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    assert pointed
    assert pointed <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_names_of_classes_are_text_not_formulas_or_markup():
    best = judged(["$5 and $6", "<b>&", "手を振る", "x" * 60])
    shown = texts(confusion_figure(best))
    assert {"$5 and $6", "<b>&", "手を振る", shorten("x" * 60)} <= set(shown)
    assert len(shorten("x" * 60)) == 28


def test_a_hundred_and_twenty_classes_still_draw():
    best = judged([f"class {index}" for index in range(120)], clips=150)
    assert "class 119" in texts(recall_figure(best, []))


def test_curves_skip_rows_that_lack_a_number():
    rows = [
        {"epoch": 1, "split": "val", "loss": 1.0, "top1": None},
        {"split": "val", "loss": 1.0},
        {"epoch": 2, "split": "val", "loss": 0.5, "top1": 0.7, "lr": 0.1},
    ]
    assert "epoch" in texts(curves_figure({"rgb": rows}, {"rgb": None}))


def test_the_loss_of_training_is_the_part_that_validation_has_too():
    plain = [{"epoch": 1, "split": "train", "loss": 1.0, "top1": 0.5}]
    summed = [{"epoch": 1, "split": "train", "loss": 6.0, "ce": 1.0, "top1": 0.5}]
    other = [{"epoch": 1, "split": "train", "loss": 6.0, "top1": 0.5}]
    drawn = [curves_figure({"joint": rows}, {"joint": None}) for rows in (plain, summed, other)]
    assert texts(drawn[0]) == texts(drawn[1])
    assert texts(drawn[0]) != texts(drawn[2])
