"""People keep their ids through crossings, gaps and any order of what is found."""

from itertools import permutations

import numpy as np
import pytest
from crossings import scene, switches
from hypothesis import given
from hypothesis import strategies as st

from poselens.pose.tracking import Tracker, TrackSettings, assign, gather, track


def shift(pose, x):
    return pose + np.array([x, 0.0])


def shift3(pose, x):
    return pose + np.array([x, 0.0, 0.0])


BODY = scene(0, people=1, length=1, noise=0, dropout=0).truth[0, 0]


@given(st.integers(0, 500), st.integers(2, 4))
def test_the_order_within_frames_changes_nothing(seed, people):
    drawn = scene(seed, people=people, length=25)
    draw = np.random.default_rng(seed)
    orders = [draw.permutation(len(frame)) for frame in drawn.frames]
    shuffled = [frame[order] for frame, order in zip(drawn.frames, orders, strict=True)]
    straight, mixed = track(drawn.frames, "coco-17"), track(shuffled, "coco-17")
    np.testing.assert_array_equal(straight.positions, mixed.positions)
    np.testing.assert_array_equal(straight.scores, mixed.scores)


def test_ties_are_broken_alike_whatever_the_order():
    twins = np.stack([BODY, shift(BODY, 40), shift(BODY, -40)])
    frames = [twins, np.stack([shift(BODY, 20), shift(BODY, -20)]), twins]
    reversed_ = [frame[::-1] for frame in frames]
    one, other = track(frames, "coco-17"), track(reversed_, "coco-17")
    np.testing.assert_array_equal(one.positions, other.positions)


@given(
    st.integers(0, 4), st.integers(0, 4), st.floats(0.05, 0.6), st.randoms(use_true_random=False)
)
def test_assignment_is_the_best_of_all_there_are(rows, columns, least, random):
    alike = np.array([[random.random() for _ in range(columns)] for _ in range(rows)])
    alike = alike.reshape(rows, columns)
    pairs = assign(alike, least)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(alike[pair] >= least for pair in pairs)
    padded = np.zeros((max(rows, columns), max(rows, columns)))
    padded[:rows, :columns] = np.where(alike >= least, alike, 0)
    best = max(
        sum(padded[row, column] for row, column in enumerate(order))
        for order in permutations(range(len(padded)))
    )
    assert sum(alike[pair] for pair in pairs) == pytest.approx(best)


def test_two_people_who_cross_keep_their_ids():
    """Fifty drawn scenes; benchmarks/pose_tracking.py has more of them."""
    drawn = [scene(seed, people=2) for seed in range(50)]
    found = [track(one.frames, "coco-17") for one in drawn]
    changed = [
        switches(one.names, tracks.sources) for one, tracks in zip(drawn, found, strict=True)
    ]
    # 1 of 100 measured
    assert np.count_nonzero(changed) <= 2
    assert sum(len(tracks.positions) == 2 for tracks in found) >= 48


def test_without_prediction_they_do_not(monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr("poselens.pose.tracking._Person.predicted", lambda one, _: one.joints)
    drawn = [scene(seed, people=2) for seed in range(20)]
    changed = [switches(one.names, track(one.frames, "coco-17").sources) for one in drawn]
    assert np.count_nonzero(changed) > 5


def test_who_walks_on_unseen_has_the_id_again():
    frames = [shift(BODY, 5.0 * frame)[None] for frame in range(40)]
    frames[10:30] = [np.empty((0, 17, 2))] * 20
    found = track(frames, "coco-17")
    assert len(found.positions) == 1
    known = np.isfinite(found.positions[0]).all(axis=(1, 2))
    assert known.tolist() == [not 10 <= frame < 30 for frame in range(40)]
    short = track(frames, "coco-17", settings=TrackSettings(max_gap=10))
    assert len(short.positions) == 2


def test_nobody_is_taken_for_somebody_far_away():
    frames = [BODY[None]] * 5 + [shift(BODY, 600)[None]] * 5
    assert len(track(frames, "coco-17").positions) == 2


def test_a_flicker_is_left_out_but_not_in_a_short_clip():
    frames = [BODY[None] for _ in range(10)]
    frames[4] = np.stack([BODY, shift(BODY, 600)])
    assert len(track(frames, "coco-17").positions) == 1
    assert len(track(frames[4:5], "coco-17").positions) == 2


def test_half_a_body_is_still_the_same_person():
    half = BODY.copy()
    half[8:] = np.nan
    found = track([BODY[None], half[None], BODY[None], half[None]], "coco-17")
    assert len(found.positions) == 1
    assert np.isnan(found.positions[0, 1, 8:]).all()


def test_positions_and_scores_are_what_was_found():
    drawn = scene(3, people=3, length=30)
    scores = [np.random.default_rng(1).random(frame.shape[:2]) for frame in drawn.frames]
    found = track(drawn.frames, "coco-17", scores=scores)
    for row, frame in zip(*np.nonzero(found.sources >= 0), strict=True):
        at = found.sources[row, frame]
        np.testing.assert_allclose(found.positions[row, frame], drawn.frames[frame][at], rtol=1e-6)
        np.testing.assert_allclose(found.scores[row, frame], scores[frame][at], rtol=1e-6)
    assert (found.scores[found.sources < 0] == 0).all()
    assert np.isnan(found.positions[found.sources < 0]).all()


def test_empty_clips_and_poses_without_joints():
    assert track([], "coco-17").positions.shape[:2] == (0, 0)
    nobody = track([np.empty((0, 17, 2))] * 3, "coco-17")
    assert nobody.positions.shape == (0, 3, 17, 2)
    tracker = Tracker("coco-17")
    assert tracker.step(np.full((2, 17, 2), np.nan)).tolist() == [-1, -1]
    assert gather([np.array([0])], [BODY[None]]).positions.shape == (1, 1, 17, 2)


def test_three_coordinates_and_other_layouts():
    body = np.random.default_rng(0).uniform(-0.5, 0.5, (25, 3)) + np.array([0, 0, 3])
    frames = [np.stack([shift3(body, 0.02 * t), shift3(body, 2)]) for t in range(20)]
    found = track(frames, "ntu-25")
    assert found.positions.shape == (2, 20, 25, 3)
    assert np.isfinite(found.positions).all()
