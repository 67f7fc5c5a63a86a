import numpy as np
import pytest

from poselens.clips.crop import Placement
from poselens.errors import UsageError
from poselens.explain.overlay import CUT, colour_table, draw_cut, draw_heat, in_frame

DRAW = np.random.default_rng(4)


def lightness(colours):
    """CIE L*, from sRGB."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_colours_are_read_by_their_lightness_alone():
    steps = np.diff(lightness(colour_table() / 255.0))
    assert steps.min() > -0.2
    # evenly: no step is far from the mean, so no edge appears where the map has none
    smooth = np.convolve(steps, np.ones(16) / 16, mode="valid")
    assert smooth.max() < 2 * smooth.mean()


def test_nothing_is_grey_and_the_most_is_brightest():
    picture = np.full((2, 8, 8, 3), (200, 40, 90), np.uint8)
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 2, 3], maps[1, 5, 5] = 1.0, 1.0
    drawn = draw_heat(picture, maps)
    assert drawn.dtype == np.uint8
    assert np.ptp(drawn[0, 0, 0]) == 0
    # one value has one colour, whatever the frame
    assert (drawn[0, 2, 3] == drawn[1, 5, 5]).all()
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    light = lightness(draw_heat(picture[:1], ramp)[0].reshape(64, 3) / 255.0)
    assert light[-1] > light[0] + 25


def test_maps_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"found maps of \(1, 4, 4\)") as caught:
        draw_heat(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 4, 4), np.float32))
    assert caught.value.code == "EXP-009"
    with pytest.raises(UsageError, match="found a cut of") as caught:
        in_frame(np.zeros((1, 4, 4)), corner=(0, 0), extent=(0, 3), frame_size=(8, 8))
    assert caught.value.code == "EXP-009"


@pytest.mark.parametrize("trial", range(5))
def test_a_place_in_the_map_is_at_its_place_in_the_frame(trial):
    draw = np.random.default_rng(trial)
    left, top = draw.uniform(0, 40, 2)
    height, width = draw.uniform(30, 80, 2)
    rows, columns = 32, 32
    y, x = draw.integers(6, 26, 2)
    maps = np.zeros((1, rows, columns), np.float32)
    maps[0, y - 1 : y + 2, x - 1 : x + 2] = 1.0
    placed = in_frame(maps, corner=(left, top), extent=(height, width), frame_size=(130, 130))[0]
    place = Placement(left, top, width, height, (rows, columns))
    expected = place.to_frame(np.array([[x + 0.5, y + 0.5]]))[0]
    down, across = np.indices(placed.shape)
    centre = np.array([(across + 0.5) * placed, (down + 0.5) * placed]).sum((1, 2)) / placed.sum()
    np.testing.assert_allclose(centre, expected, atol=0.35)


def test_around_the_cut_there_is_nothing():
    maps = np.ones((3, 16, 16), np.float32)
    placed = in_frame(maps, corner=(4.0, 6.0), extent=(8.0, 20.0), frame_size=(30, 40))
    inside = np.zeros((30, 40), bool)
    inside[6:14, 4:24] = True
    assert (placed[:, inside] == 1).all()
    assert not placed[:, ~inside].any()


def test_the_cut_is_framed():
    pictures = np.zeros((2, 40, 60, 3), np.uint8)
    framed = draw_cut(pictures, (10.0, 5.0), (20.0, 30.0))
    assert (framed[:, 5, 10:40] == CUT).all()
    assert (framed[:, 24, 10:40] == CUT).all()
    assert not framed[:, 8:20, 12:36].any()
    assert not pictures.any()
