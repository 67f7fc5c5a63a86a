import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.errors import SkeletonError, UsageError
from poselens.explain.body import (
    CANVAS,
    blank_frames,
    draw_body_attribution,
    frames_of,
    front_view,
    positive_share,
    reading_times,
)
from poselens.explain.overlay import colour_table
from poselens.pose.layouts import get_layout
from poselens.skeleton.sampling import choose

LAYOUT = get_layout("coco-17")


def standing(frames=3):
    """A body in pixels of 120 x 100, one joint under the other in two columns."""
    joints = np.zeros((1, frames, 17, 2), np.float32)
    joints[..., 0] = 30 + 40 * (np.arange(17) % 2)
    joints[..., 1] = 10 + 6 * np.arange(17)
    return joints


def at(picture, point):
    x, y = point
    return picture[int(y), int(x)].tolist()


def test_the_joint_that_gave_most_has_the_lightest_colour_and_others_the_darkest():
    attribution = np.zeros((1, 3, 17), np.float32)
    attribution[0, 1, 9] = 2.0
    attribution[0, 1, 4] = -5.0
    joints = 5 * standing()
    drawn = draw_body_attribution(blank_frames(3, (600, 500)), joints, attribution, LAYOUT)
    table = colour_table()
    assert at(drawn[1], joints[0, 1, 9]) == table[-1].tolist()
    for frame, joint in [(0, 9), (1, 4), (2, 9)]:
        grey = at(drawn[frame], joints[0, frame, joint])
        assert max(grey) < 120
    covered = (drawn[1] == table[-1]).all(axis=-1).sum()
    assert covered > 300
    assert (drawn[0] == table[-1]).all(axis=-1).sum() == 0


def test_one_scale_holds_for_the_clip_and_does_not_depend_on_the_unit():
    draw = np.random.default_rng(0)
    attribution = draw.normal(size=(2, 5, 17))
    share = positive_share(attribution)
    assert share.max() == 1.0
    assert (share[attribution <= 0] == 0).all()
    np.testing.assert_allclose(positive_share(40 * attribution), share, rtol=1e-6)
    assert not positive_share(-np.abs(attribution)).any()
    assert positive_share(np.zeros((1, 0, 17))).shape == (1, 0, 17)


def test_missing_joints_and_those_far_outside_are_not_drawn():
    joints = standing()
    joints[0, 0] = np.nan
    joints[0, 1] = 1e9
    blank = blank_frames(3, (120, 100))
    drawn = draw_body_attribution(blank, joints, np.ones((1, 3, 17)), LAYOUT, legend=False)
    empty = draw_body_attribution(
        blank, np.full_like(joints, np.nan), np.ones((1, 3, 17)), LAYOUT, legend=False
    )
    np.testing.assert_array_equal(drawn[:2], empty[:2])
    assert (drawn[2] != empty[2]).any()
    assert np.ptp(empty) <= 1


def test_the_legend_is_drawn_where_there_is_room_for_words():
    nobody = np.full((1, 1, 17, 2), np.nan)
    found = []
    for size in ((240, 320), (60, 60)):
        blank = blank_frames(1, size)
        drawn = draw_body_attribution(blank, nobody, np.ones((1, 1, 17)), LAYOUT)
        found.append(int(np.ptp(drawn)) > 100)
    assert found == [True, False]
    assert blank_frames(2, (4, 5)).shape == (2, 4, 5, 3)
    assert blank_frames(1, (4, 5))[0, 0, 0].tolist() == list(CANVAS)


def test_pictures_that_do_not_fit_are_refused():
    blank, joints = blank_frames(3, (120, 100)), standing()
    with pytest.raises(UsageError, match="found 2 frames") as caught:
        draw_body_attribution(blank[:2], joints, np.ones((1, 3, 17)), LAYOUT)
    assert caught.value.code == "EXP-036"
    with pytest.raises(UsageError, match="EXP-036|an attribution of"):
        draw_body_attribution(blank, joints, np.ones((2, 3, 17)), LAYOUT)
    with pytest.raises(SkeletonError, match="found 17 joints, expected 20"):
        draw_body_attribution(blank, joints, np.ones((1, 3, 17)), get_layout("kinect-20"))
    with pytest.raises(UsageError, match="found 4 times") as caught:
        frames_of(np.ones((1, 3, 17)), np.arange(4.0), 9)
    assert caught.value.code == "EXP-036"


@given(
    st.integers(1, 90),
    st.integers(1, 70),
    st.sampled_from(["crop", "uniform", "random", "resize"]),
    st.floats(0.3, 1.0),
)
@settings(max_examples=60)
def test_reading_a_clip_of_frame_numbers_gives_the_times(frames, window, sample, interval):
    times = reading_times(frames, window=window, sample=sample, interval=interval)
    read = choose(torch.tensor([frames]), window=window, sample=sample, share=interval)
    numbers = torch.arange(frames, dtype=torch.float64)
    seen = numbers[read.before[0]]
    if read.after is not None:
        seen = torch.lerp(seen, numbers[read.after[0]], read.weight[0].double())
    np.testing.assert_allclose(times, seen.numpy(), atol=1e-4)
    later = reading_times(frames, window=window, sample=sample, interval=interval, first=7)
    np.testing.assert_allclose(later, times + 7)


def test_what_is_linear_over_the_window_is_linear_over_the_frames_that_were_read():
    times = reading_times(50, window=16, sample="crop", interval=0.8)
    attribution = np.broadcast_to(times[None, :, None], (1, 16, 17))
    found = frames_of(attribution, times, 50)[0, :, 0]
    first, last = int(np.floor(times[0])), int(np.ceil(times[-1]))
    np.testing.assert_allclose(found[first + 1 : last], np.arange(first + 1, last), rtol=1e-5)
    assert not found[:first].any()
    assert not found[last + 1 :].any()


def test_moments_of_one_frame_are_averaged():
    times = np.array([0.0, 0.0, 1.0, 2.0])
    found = frames_of(np.array([[[2.0], [4.0], [5.0], [7.0]]]), times, 3)
    assert found[0, :, 0].tolist() == [3.0, 5.0, 7.0]


@given(st.floats(0, 6.28), st.floats(-5, 5), st.floats(0.1, 20))
@settings(max_examples=30)
def test_a_front_view_does_not_depend_on_where_the_body_stood_or_faced(angle, shift, scale):
    draw = np.random.default_rng(4)
    body = draw.normal(size=(1, 6, 17, 3))
    left, right = LAYOUT.index("left_shoulder"), LAYOUT.index("right_shoulder")
    body[:, :, left] = [0.4, 1.0, 0.1]
    body[:, :, right] = [-0.4, 1.0, 0.1]
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    want = front_view(body, LAYOUT, size=(200, 160))
    found = front_view(scale * body @ turn.T + shift, LAYOUT, size=(200, 160))
    np.testing.assert_allclose(found, want, atol=1e-6)
    # seen from the front, left is on the right, and up is up
    assert found[0, 0, left, 0] > found[0, 0, right, 0]
    assert found[..., 0].min() >= 0.08 * 160 - 1e-6
    assert found[..., 1].max() <= 0.92 * 200 + 1e-6
    high, low = body[0, :, :, 1].argmax(axis=1), body[0, :, :, 1].argmin(axis=1)
    rows = np.arange(6)
    assert (found[0, rows, high, 1] < found[0, rows, low, 1]).all()


def test_a_front_view_of_nobody_and_of_missing_joints():
    body = np.random.default_rng(4).normal(size=(1, 6, 17, 3))
    body[0, 2, 5] = np.nan
    found = front_view(body, LAYOUT, size=(200, 160))
    assert np.isnan(found[0, 2, 5]).all()
    assert np.isfinite(found).sum() == found.size - 2
    assert np.isnan(front_view(np.full_like(body, np.nan), LAYOUT, size=(200, 160))).all()
