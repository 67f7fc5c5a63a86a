import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from disturbed_scores import drawn_card, drawn_curve

from poselens.errors import EnvironmentFault
from poselens.evaluation.figures import standalone
from poselens.evaluation.robustness_figure import (
    cell_text,
    panel_svg,
    robustness_figure,
    robustness_section,
    write_robustness,
)


@pytest.fixture(scope="module")
def card():
    return drawn_card()


def test_the_figure_has_a_panel_for_each_kind_and_a_legend(card):
    svg = robustness_figure(card)
    ElementTree.fromstring(svg)
    for trial in card.trials:
        assert trial.title in svg
        assert trial.unit.replace("'", "&#x27;") in svg or trial.unit in svg
    for word in (*card.streams, "chance 10.0 %"):
        assert f">{word}<" in svg
    assert "#0102" not in svg
    assert robustness_figure(card) == svg
    assert "var(" not in standalone(svg)


def test_a_panel_shows_only_streams_that_are_reached(card):
    occlusion, dropout = (
        next(trial for trial in card.trials if trial.name == name)
        for name in ("occlusion", "joint-dropout")
    )
    assert "var(--s0)" in panel_svg(card, occlusion)
    assert "var(--s1)" not in panel_svg(card, occlusion)
    assert "var(--s1)" in panel_svg(card, dropout)
    assert "var(--accent)" in panel_svg(card, dropout)


def test_a_cell_says_in_words_what_its_colour_says(card):
    dropout, rate, occlusion = card.trials
    assert cell_text(card, dropout, "rgb") == ("not touched", "", "")
    assert cell_text(card, dropout, "joint") == (
        "SENSITIVE",
        "5 points lost at 21 %",
        "worst −60.0 at 60 %",
    )
    assert cell_text(card, rate, "joint") == (
        "FRAGILE",
        "5 points lost at 1.2 times fewer",
        "worst −50.0 at 4 times fewer",
    )
    assert cell_text(card, occlusion, "fused") == (
        "STEADY",
        "no 5 points lost up to 40 %",
        "worst −1.0 at 20 %",
    )


def test_a_cell_without_answers_says_so(card):
    one = replace(card.trials[0], curves=[drawn_curve("joint", {0: 0.9})])
    assert cell_text(card, one, "joint") == ("no answer", "no clip could be read", "")
    up = replace(card.trials[0], curves=[drawn_curve("joint", {0: 0.8, 0.1: 0.9})])
    assert cell_text(card, up, "joint")[2] == "never below undisturbed"
    guess = replace(card.trials[0], curves=[drawn_curve("joint", {0: 0.1, 0.1: 0.1})])
    assert cell_text(card, guess, "joint") == ("guessing", "nothing to lose", "")


def test_the_section_holds_every_number(card):
    html = str(robustness_section(card))
    assert html.count("<details>") == 3
    for trial in card.trials:
        for curve in trial.curves:
            for point in curve.points:
                assert f"{100 * point.top1:.1f}\u2009%" in html
    assert html.index(">fused<") < html.index(">rgb<")
    assert "without" in html.lower()


def test_the_page_is_one_file_and_names_a_subset(card, tmp_path):
    write_robustness(tmp_path / "card.html", card)
    html = (tmp_path / "card.html").read_text()
    assert "subset of 400 of 1\u2009000 clips" in html
    assert "drawn &lt;scores&gt;" in html
    assert "a note" in html
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    write_robustness(tmp_path / "whole.html", replace(card, of=400, notes=[], command=""))
    whole = (tmp_path / "whole.html").read_text()
    assert "subset" not in whole
    assert "To know" not in whole


def test_a_page_that_cannot_be_written(card, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write"):
        write_robustness(tmp_path / "file" / "card.html", card)


def test_a_single_stream_is_the_card(card):
    alone = replace(card, undisturbed=card.undisturbed[:1], without=[], trials=[card.trials[2]])
    assert alone.main == "rgb"
    assert "var(--accent)" in robustness_figure(alone)
    assert "One stream missing" not in str(robustness_section(alone))


def test_a_legend_of_two_rows_keeps_clear_of_the_panels(card):
    point = card.undisturbed[0][1]
    many = replace(card, undisturbed=[(f"stream {n}", point) for n in range(6)], trials=[])
    few = replace(many, undisturbed=many.undisturbed[:5])
    high = [float(re.search(r'height="([0-9.]+)pt"', robustness_figure(x))[1]) for x in (few, many)]
    assert high[1] == pytest.approx(high[0] + 18)
