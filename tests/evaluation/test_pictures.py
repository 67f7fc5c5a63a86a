import numpy as np

from poselens.evaluation.explorer import AttributionStrip, FrameStrip
from poselens.evaluation.page import picture
from poselens.evaluation.pictures import encode_within


def strip(seed, height=120):
    draw = np.random.default_rng(seed)
    return FrameStrip(draw.integers(0, 255, (height, 720, 3), dtype=np.uint8), f"s{seed}")


def test_pictures_are_taken_in_order_until_the_budget_is_spent():
    strips = [strip(seed) for seed in range(6)]
    sizes = [len(picture(each.pixels, 80)) for each in strips]
    pictures = encode_within(strips, sum(sizes[:4]) + 10)
    assert [pictures.of(each) is not None for each in strips] == [True] * 4 + [False] * 2
    assert (pictures.taken, pictures.left_out) == (sum(sizes[:4]), 2)


def test_a_small_picture_fits_after_a_large_one_did_not():
    large, small = strip(0), strip(1, height=12)
    pictures = encode_within([large, small], len(picture(small.pixels, 80)))
    assert pictures.of(large) is None
    assert pictures.of(small) is not None


def test_a_picture_shown_twice_counts_twice():
    pixels = strip(0).pixels
    twice = [FrameStrip(pixels, "one"), AttributionStrip("two", pixels)]
    size = len(picture(pixels, 80))
    assert encode_within(twice, 2 * size).taken == 2 * size
    assert encode_within(twice, 2 * size - 1).left_out == 1


def test_without_pictures_nothing_is_left_out():
    assert (encode_within([]).taken, encode_within([]).left_out) == (0, 0)
