import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from colours import contrast, light_and_dark, mixed

from poselens.evaluation.confusion_figure import FULL, confusion_figure, shade
from poselens.evaluation.metrics import evaluate
from poselens.types import Scores

SVG = "{http://www.w3.org/2000/svg}"


def judged(classes, clips=60, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % len(classes)
    logits = draw.normal(0, 1, (clips, len(classes))) + 2 * np.eye(len(classes))[labels]
    ids = [f"c{row}" for row in range(clips)]
    return evaluate(Scores(logits.astype(np.float32), ids, labels, classes, "rgb"), resamples=20)


def test_every_clip_is_in_the_matrix_once():
    best = judged(["a", "b", "c"], clips=90)
    drawn = ElementTree.fromstring(confusion_figure(best))
    numbers = [int(each.text) for each in drawn.iter(f"{SVG}text") if each.text.isdigit()]
    assert sum(numbers) == 90
    titles = [each.find(f"{SVG}title").text for each in drawn.iter(f"{SVG}rect")]
    told = sum(int(re.search(r": (\d+) of 30", title)[1]) for title in titles)
    assert told == 90


def test_a_cell_says_which_classes_it_is_about_and_leads_to_its_clips():
    best = judged(["a<b", "c&d"], clips=40)
    label, predicted = np.argwhere(best.confusion * (1 - np.eye(2, dtype=int)))[0].tolist()
    svg = confusion_figure(best, link=lambda *cell: f"#pair-{cell[0]}-{cell[1]}")
    drawn = ElementTree.fromstring(svg)
    (first, *_) = [
        each for each in drawn.iter(f"{SVG}a") if each.get("href") == f"#pair-{label}-{predicted}"
    ]
    count = best.confusion[label, predicted]
    title = first.find(f"{SVG}rect/{SVG}title").text
    assert title == f"{best.classes[label]}, taken for {best.classes[predicted]}: {count} of 20"
    # the arrow keys move over the cells; a stop at each would make the page endless
    assert {each.get("tabindex") for each in drawn.iter(f"{SVG}a")} == {"-1"}
    assert svg == confusion_figure(best, link=lambda *cell: f"#pair-{cell[0]}-{cell[1]}")


def test_the_order_given_is_the_order_of_rows_and_columns():
    best = judged(["a", "b", "c"], clips=30)
    drawn = ElementTree.fromstring(confusion_figure(best, order=[2, 0, 1]))
    for kind in ("row", "column"):
        names = [each.text for each in drawn.iter(f"{SVG}text") if each.get("class") == kind]
        assert names == ["c", "a", "b"]


def test_a_hundred_and_twenty_classes_are_readable_and_small():
    best = judged([f"class {index}" for index in range(120)], clips=3000)
    svg = confusion_figure(best)
    drawn = ElementTree.fromstring(svg)
    fonts = [float(each.get("font-size")) for each in drawn.iter(f"{SVG}g")]
    assert min(fonts) >= 7.5
    assert len(svg) < 600_000


@pytest.mark.parametrize("scheme", light_and_dark(), ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["accent", "wrong"])
def test_the_number_in_a_cell_can_be_read_on_every_shade(scheme, kind):
    for share in np.linspace(0, 1, 201):
        behind = mixed(scheme[kind], scheme["paper"], shade(share, numbered=True))
        ink = scheme["on-accent" if share >= FULL else "ink"]
        assert contrast(ink, behind) >= 4.5, share


def test_more_is_darker():
    for numbered in (True, False):
        shades = [shade(share, numbered=numbered) for share in np.linspace(0, 1, 50)]
        assert shades == sorted(shades)
        assert 0.1 < shades[0] < shades[-1] <= 1.0
