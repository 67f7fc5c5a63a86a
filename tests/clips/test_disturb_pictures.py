import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.clips.crop import Region
from poselens.clips.disturb_pictures import (
    GREY,
    cover,
    darken,
    grain,
    scale_region,
    shift_region,
)
from poselens.types import Box

FRAME = (200, 300)
REGION = Region(Box(100, 60, 180, 140), "skeleton")


def rng(seed=5):
    return np.random.default_rng(seed)


def pictures(frames=4, size=32):
    return rng(0).integers(0, 100, (frames, size, size, 3)).astype(np.uint8)


def moved(region, other):
    return (
        (other.box.left + other.box.right - region.box.left - region.box.right) / 2,
        (other.box.top + other.box.bottom - region.box.top - region.box.bottom) / 2,
    )


@pytest.mark.parametrize("change", [shift_region, scale_region])
def test_a_region_at_rest_is_the_region(change):
    for seed in range(20):
        assert change(REGION, FRAME, 0.0, rng(seed)) == REGION
    odd = Region(Box(3, 5, 44, 60), "skeleton")
    assert change(odd, FRAME, 0.0, rng()) == odd


def test_a_region_moves_by_its_share_in_every_direction():
    angles = set()
    for seed in range(30):
        x, y = moved(REGION, shift_region(REGION, FRAME, 0.25, rng(seed)))
        assert np.hypot(x, y) == pytest.approx(20, abs=1)
        angles.add(int(np.arctan2(y, x) // (np.pi / 2)))
    assert angles == {-2, -1, 0, 1}


def test_a_region_grows_or_shrinks_by_its_share_about_its_centre():
    widths = set()
    for seed in range(20):
        found = scale_region(REGION, FRAME, 0.25, rng(seed))
        assert moved(REGION, found) == (0, 0)
        widths.add(found.box.width)
    assert widths == {100, 64}


@given(seed=st.integers(0, 99), share=st.floats(0, 0.95))
def test_a_region_stays_in_the_frame_and_large_enough(seed, share):
    corner = Region(Box(0, 0, 30, 12), "skeleton")
    for change in (shift_region, scale_region):
        for region in (REGION, corner):
            found = change(region, FRAME, share, rng(seed))
            assert 0 <= found.box.left < found.box.right <= FRAME[1]
            assert 0 <= found.box.top < found.box.bottom <= FRAME[0]
            assert min(found.box.width, found.box.height) >= 10
            if found.reason == "too-small":
                assert found.box == Box(0, 0, 300, 200)


def test_a_whole_frame_that_no_joint_chose_stays():
    whole = Region(Box(0, 0, 300, 200), "no-joints")
    assert shift_region(whole, FRAME, 0.4, rng()) is whole
    assert scale_region(whole, FRAME, 0.4, rng()) is whole


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_box_covers_its_share_of_every_frame(share, moving):
    given_pictures = pictures(size=100)
    found = cover(given_pictures, share, np.linspace(0, 1, 4), rng(), moving=moving)
    grey = (found == GREY).all(axis=-1)
    assert grey.mean(axis=(1, 2)) == pytest.approx([share] * 4, abs=0.02)
    np.testing.assert_array_equal(found[~grey], given_pictures[~grey])
    assert given_pictures.max() < GREY


def test_a_box_stands_or_passes():
    when = np.linspace(0, 1, 4)
    for moving in (False, True):
        grey = cover(pictures(), 0.2, when, rng(), moving=moving)[..., 0] == GREY
        assert (grey == grey[:1]).all() is np.bool_(not moving)


@given(mild=st.floats(0, 1), hard=st.floats(0, 1), seed=st.integers(0, 20))
def test_what_is_covered_stays_covered(mild, hard, seed):
    mild, hard = sorted((mild, hard))
    for moving in (False, True):
        early, late = (
            cover(pictures(), share, np.linspace(0, 1, 4), rng(seed), moving=moving)[..., 0] == GREY
            for share in (mild, hard)
        )
        # edges are rounded to whole pixels, to both sides alike
        inner = early.copy()
        inner[:, 1:-1, 1:-1] &= (
            early[:, :-2, 1:-1] & early[:, 2:, 1:-1] & early[:, 1:-1, :-2] & early[:, 1:-1, 2:]
        )
        inner[:, [0, -1]] = inner[:, :, [0, -1]] = False
        assert not (inner & ~late).any()


def test_light_is_halved_as_the_standard_says():
    grey = np.arange(256, dtype=np.uint8)[None, None, :, None].repeat(3, axis=-1)
    for stops in (0.0, 1.0, 3.5):
        expected = []
        for value in range(256):
            share = value / 255
            light = share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
            light *= 0.5**stops
            dark = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
            expected.append(round(255 * dark))
        assert darken(grey, stops)[0, 0, :, 0].tolist() == expected
    np.testing.assert_array_equal(darken(pictures(), 0.0), pictures())
    assert darken(np.full((1, 1, 1, 3), 255, np.uint8), 1.0).max() == 188


def test_grain_has_its_deviation_and_none_at_rest():
    flat = np.full((2, 64, 64, 3), 128, np.uint8)
    found = grain(flat, 10.0, rng()).astype(float)
    assert found.std() == pytest.approx(10, abs=0.3)
    assert found.mean() == pytest.approx(128, abs=0.3)
    np.testing.assert_array_equal(grain(pictures(), 0.0, rng()), pictures())
    assert grain(np.zeros_like(flat), 5.0, rng()).max() < 60
