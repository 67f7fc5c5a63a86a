import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import SkeletonError, UsageError
from poselens.evaluation.overlay import BAR, BEST, LEFT, PANEL, RIGHT, draw_overlay
from poselens.pose.layouts import get_layout
from poselens.types import Box

COCO = get_layout("coco-17")
GREY = np.full((480, 480, 3), 120, np.uint8)
SCORES = [("wave", 0.1), ("clap", 0.75), ("push", 0.05), ("jog", 0.04), ("walk", 0.03), ("x", 0.02)]


def count(picture, colour):
    return int((picture == np.array(colour, np.uint8)).all(axis=-1).sum())


def standing(height=480, width=480):
    joints = np.full((1, 17, 2), np.nan)
    for name, x, y in (
        ("nose", 0.5, 0.2),
        ("left_shoulder", 0.6, 0.3),
        ("left_elbow", 0.7, 0.5),
        ("right_shoulder", 0.4, 0.3),
        ("right_elbow", 0.3, 0.5),
    ):
        joints[0, COCO.index(name)] = x * width, y * height
    return joints


@settings(max_examples=25, deadline=None)
@given(height=st.integers(2, 500), width=st.integers(2, 500), empty=st.booleans())
def test_size_is_even_and_depends_on_the_frame_alone(height, width, empty):
    frame = np.zeros((height, width, 3), np.uint8)
    bare = draw_overlay(frame)
    full = draw_overlay(
        frame,
        np.full((1, 17, 2), np.nan) if empty else standing(height, width),
        COCO,
        Box(0, 0, width, height),
        SCORES,
        "a\nb\nc\nd\ne",
    )
    assert bare.shape == full.shape
    assert bare.shape[0] >= 480
    assert bare.shape[0] % 2 == bare.shape[1] % 2 == 0
    assert bare.dtype == np.uint8


def test_the_panel_stands_beside_a_square_picture_and_below_a_wide_one():
    assert draw_overlay(GREY).shape[0] == 480
    assert draw_overlay(GREY).shape[1] > 480
    wide = draw_overlay(np.zeros((540, 960, 3), np.uint8))
    assert wide.shape[1] == 960
    assert wide.shape[0] > 540


def test_without_anything_to_draw_the_picture_stays_as_it_is():
    np.testing.assert_array_equal(draw_overlay(GREY)[:480, :480], GREY)


def test_sides_have_their_colours_where_the_joints_are():
    picture = draw_overlay(GREY, standing(), COCO)[:480, :480]
    assert count(picture[:, 250:], LEFT) > 50
    assert count(picture[:, :230], RIGHT) > 50
    assert count(picture[:, :230], LEFT) == 0
    elbow = picture[240, round(0.7 * 480)]
    np.testing.assert_array_equal(elbow, LEFT)


def test_missing_and_far_joints_are_left_out():
    nobody = draw_overlay(GREY, np.full((2, 17, 2), np.nan), COCO)
    np.testing.assert_array_equal(nobody[:480, :480], GREY)
    far = standing()
    far[0, COCO.index("left_elbow")] = 1e9, -np.inf
    picture = draw_overlay(GREY, far, COCO)[:480, :480]
    assert count(picture[:, round(0.65 * 480) :], LEFT) == 0
    assert count(picture, RIGHT) > 50


def test_joints_and_box_follow_an_enlarged_picture():
    small = np.full((120, 120, 3), 120, np.uint8)
    picture = draw_overlay(small, standing(120, 120), COCO, Box(30, 30, 110, 100))
    np.testing.assert_array_equal(picture[240, round(0.7 * 480)], LEFT)
    assert (picture[10, 10] < 120).all()
    np.testing.assert_array_equal(picture[380, 420], [120] * 3)
    assert (picture[410, 420] < 120).all()


def test_a_box_beyond_the_frame_is_cut_to_it():
    picture = draw_overlay(GREY, box=Box(-50, -50, 9999, 9999))[:480, :480]
    np.testing.assert_array_equal(picture[100:300, 100:300], GREY[100:300, 100:300])


def test_bars_are_as_long_as_the_scores_and_only_five():
    panel = draw_overlay(GREY, scores=SCORES)[:, 480:]
    best = np.unique(np.nonzero((panel == np.array(BEST)).all(axis=-1))[1])
    track = 320 - 40
    assert len(best) == pytest.approx(0.75 * track, abs=2)
    rows = np.nonzero((panel == np.array(BAR)).all(axis=-1))[0]
    starts = 1 + int((np.diff(np.unique(rows)) > 1).sum())
    assert starts == 4


@pytest.mark.parametrize("probability", [float("nan"), -1.0, 2.0])
def test_odd_probabilities_do_not_leave_the_panel(probability):
    panel = draw_overlay(GREY, scores=[("a", probability)])[:, 480:]
    np.testing.assert_array_equal(panel[:, -15:], np.broadcast_to(PANEL, (480, 15, 3)))


@pytest.mark.parametrize("shape", [(480, 480, 3), (480, 960, 3)])
def test_long_names_and_captions_stay_inside_the_panel(shape):
    picture = draw_overlay(
        np.full(shape, 120, np.uint8), scores=[("word " * 40, 0.5)], caption="word " * 80
    )
    panel = picture[480:] if shape[1] == 960 else picture[:, 480:]
    assert (panel[:, -15:] == np.array(PANEL)).all()


def test_refusals():
    with pytest.raises(UsageError, match="found joints without a layout"):
        draw_overlay(GREY, standing())
    with pytest.raises(SkeletonError, match="found 17 joints, expected 20"):
        draw_overlay(GREY, standing(), get_layout("ucla-20"))
