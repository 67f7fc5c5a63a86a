import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from poselens.evaluation.contrast_figure import contrast_figure
from poselens.evaluation.contrasted import ContrastHistory
from poselens.evaluation.figures import standalone


def made_up(size, epochs=3, seed=0, names=None):
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(size, 8)) + 1.5 * draw.normal(size=(5, 8))[np.arange(size) % 5]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    grown = np.arange(1, epochs + 1)[:, None, None] / epochs
    similarity = grown * (features @ features.T)
    taken = (1000 * np.exp(3 * similarity) * (1 - np.eye(size))).astype(np.int64)
    names = names or [f"class {index}" for index in range(size)]
    return ContrastHistory(
        "joint", names, list(range(1, epochs + 1)), similarity, {"class-aware": taken}
    )


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def cells(svg):
    """How many squares the shaded paths hold: four corners and a closing each."""
    return sum(path.count("z") for path in re.findall(r'<path d="([^"]*)"', svg) if "z" in path)


def test_the_figure_is_the_same_twice_and_takes_its_colours_from_the_page():
    svg = contrast_figure(made_up(6))
    assert svg == contrast_figure(made_up(6))
    assert svg.startswith("<svg ")
    assert "var(--accent)" in svg
    assert "#0102" not in svg
    assert not re.search(r"<image|https?://(?!www\.w3\.org)", svg)


def test_a_page_can_hold_the_figures_of_several_streams():
    used = [
        set(re.findall(r'\bid="([^"]+)"', contrast_figure(made_up(4), key)))
        for key in ("contrast0", "contrast1")
    ]
    assert used[0]
    assert not used[0] & used[1]


def test_every_pair_of_classes_is_a_cell_in_both_matrices_and_the_diagonal_is_none():
    few, more = (cells(contrast_figure(made_up(size))) for size in (7, 9))
    assert more - few == 2 * (9 * 8 - 7 * 6)


def test_what_is_shown_is_said():
    shown = " ".join(texts(contrast_figure(made_up(6))))
    for words in (
        "Similarity of classes, h of Eq. (10), epoch 3",
        "Negatives by class, class-aware, % of the row",
        "even choice: 20.0",
        "class of the anchor",
        "class compared with",
        "class of the negatives",
    ):
        assert words in shown


def test_numbers_stand_in_large_cells():
    similarity = np.array([[[1.0, -0.25], [0.5, 1.0]]])
    taken = {"class-aware": np.array([[[0, 4], [7, 0]]])}
    shown = texts(contrast_figure(ContrastHistory("joint", ["a", "b"], [2], similarity, taken)))
    assert {"−.25", ".50", "100", "a – b"} <= set(shown)


def test_nearly_equal_shares_look_equal():
    taken = {"class-aware": np.array([[[0, 100, 101], [100, 0, 99], [100, 100, 0]]])}
    similarity = np.full((1, 3, 3), 0.5)
    svg = contrast_figure(ContrastHistory("joint", ["a", "b", "c"], [1], similarity, taken))
    # six similarities are of one shade, and so are six shares that differ in the last digit
    squares = [path.count("z") for path in re.findall(r'<path d="([^"]*)"', svg)]
    assert squares.count(6) == 2


def test_classes_without_anchors_and_epochs_without_anything_still_draw():
    history = made_up(6)
    history.similarity[:, 2] = history.similarity[:, :, 2] = np.nan
    history.taken["class-aware"][:, 2] = history.taken["class-aware"][:, :, 2] = 0
    whole, holed = contrast_figure(made_up(6)), contrast_figure(history)
    assert "class 2" in texts(holed)
    # ten similarities are unknown, and a row of shares; nobody took anything from class 2
    assert cells(whole) - cells(holed) == 10 + 5
    history.similarity[:] = np.nan
    history.taken["class-aware"][:] = 0
    assert "class 5" in texts(contrast_figure(history))
    assert "Most similar pairs: similarity over epochs" not in texts(contrast_figure(history))


def test_one_class_has_no_rivals_and_no_pairs():
    shown = texts(contrast_figure(made_up(1)))
    assert "class 0" in shown
    assert not any("even choice" in text or "pairs" in text for text in shown)


def test_a_single_epoch_is_a_mark_not_a_line():
    assert "Most similar pairs: similarity over epochs" in texts(contrast_figure(made_up(4, 1)))


@pytest.mark.parametrize("size", [38, 100])
def test_many_classes_stay_readable(size):
    svg = contrast_figure(
        made_up(size, names=[f"a long name of class {n:03}" for n in range(size)])
    )
    shown = texts(svg)
    # stacked matrices name their rows themselves
    assert shown.count(f"a long name of class {size - 1:03}") >= 3
    sizes = re.findall(r"font-size: ([\d.]+)px[^>]*>a long name", svg)
    assert min(map(float, sizes)) > 4.8
    assert len(svg) < 2_500_000


def test_names_are_text_not_formulas_or_markup():
    names = ["$5 and $6", "<b>&", "手を振る"]
    assert set(names) <= set(texts(contrast_figure(made_up(3, names=names))))


def test_alone_the_figure_brings_its_own_colours():
    svg = standalone(contrast_figure(made_up(5)))
    assert "var(" not in svg
    assert "max-width" not in svg
    assert "#1d5bb8" in svg
    assert ElementTree.fromstring(svg)[0].get("fill") == "#ffffff"
