import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from poselens.errors import UsageError
from poselens.explain.strips import (
    MOST_COLUMNS,
    Curve,
    Section,
    StripRow,
    render,
    strip_figure,
    time_curve,
)

TIMES = np.arange(4) * 0.25


def row(name, colour, frames=4, curve=None, size=(30, 40)):
    return StripRow(name, np.full((frames, *size, 3), colour, np.uint8), "says $5 & more", curve)


def section(frames=4):
    times = np.arange(frames) * 0.25
    curve = Curve(times, np.linspace(0, 1, frames))
    return Section(
        [row("clip", (250, 0, 0), frames), row("rgb <x>", (0, 0, 250), frames, curve)], times
    )


def shown(figure):
    return np.asarray(Image.open(io.BytesIO(render(figure, "png"))).convert("RGB")).astype(int)


def area(pixels, colour):
    return int((abs(pixels - np.array(colour)).sum(axis=-1) < 30).sum())


def test_rows_of_frames_are_drawn_below_each_other():
    pixels = shown(strip_figure([section()], title="a clip", subtitle="b"))
    red, blue = (abs(pixels - c).sum(-1) < 30 for c in ([250, 0, 0], [0, 0, 250]))
    assert red.sum() == pytest.approx(blue.sum(), rel=0.02)
    assert np.flatnonzero(red.any(1)).max() < np.flatnonzero(blue.any(1)).min()
    # four tiles, with white between them
    line = red[np.flatnonzero(red.any(1))[20]].astype(int)
    assert (np.diff(line) == 1).sum() == 4


def test_sections_stand_below_each_other():
    one = shown(strip_figure([section()], title="a"))
    two = shown(strip_figure([section(), section()], title="a"))
    assert area(two, (250, 0, 0)) == pytest.approx(2 * area(one, (250, 0, 0)), rel=0.01)


def test_of_many_frames_some_are_shown():
    pixels = shown(strip_figure([section(40)], title="a"))
    few = shown(strip_figure([section(MOST_COLUMNS)], title="a"))
    assert pixels.shape == few.shape


def test_a_strip_is_the_same_bytes_every_time_and_text_stays_text():
    figures = [strip_figure([section()], title="x < y", subtitle="z") for _ in range(2)]
    drawn = [render(figure, "svg") for figure in figures]
    assert drawn[0] == drawn[1]
    root = ElementTree.fromstring(drawn[0])
    texts = {"".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"x < y", "z", "clip", "rgb <x>", "0.25 s", "nothing", "most in the clip"} <= texts
    assert render(figures[0], "png") == render(figures[1], "png")


def test_names_without_glyphs_and_long_ones_are_drawn():
    rows = [StripRow("手" * 60, np.zeros((4, 8, 8, 3), np.uint8), "ä" * 200)]
    assert shown(strip_figure([Section(rows, TIMES)], title="名" * 500)).shape[2] == 3


def test_a_still_clip_has_equal_times():
    curve = Curve(np.zeros(4), np.ones(4))
    rows = [row("a", (0, 0, 250), curve=curve)]
    assert area(shown(strip_figure([Section(rows, np.zeros(4))], title="a")), (0, 0, 250)) > 0


def test_a_curve_is_each_moments_share():
    maps = np.zeros((3, 4, 4), np.float32)
    maps[1], maps[2, :2] = 0.5, 0.5
    found = time_curve(maps, np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(found.values, [0, 1, 0.5])
    assert not time_curve(np.zeros((3, 4, 4)), TIMES[:3]).values.any()


def test_streams_of_a_whole_bundle_have_curves_of_their_own():
    curve = Curve(TIMES, np.linspace(0, 1, 4))
    rows = [row(f"stream{n}", (9, 9, 9), curve=curve) for n in range(6)]
    figure = strip_figure([Section(rows, TIMES)], title="t")
    drawn = [line for axes in figure.axes for line in axes.lines]
    assert len(drawn) == 6
    assert len({line.get_color() for line in drawn}) == 6


def test_what_cannot_be_drawn():
    for rows in ([], [row("a", (0, 0, 0), frames=3)]):
        with pytest.raises(UsageError, match="for 4 times") as caught:
            strip_figure([Section(rows, TIMES)], title="a")
        assert caught.value.code == "EXP-009"
    with pytest.raises(UsageError, match="found a picture of kind 'gif'") as caught:
        render(strip_figure([section()], title="a"), "gif")
    assert caught.value.code == "EXP-007"
