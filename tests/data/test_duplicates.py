import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.data.duplicates import (
    ALIKE,
    ALIKE_JOINTS,
    BANDS,
    COPY,
    COPY_JOINTS,
    SEGMENTS,
    SIDE,
    Likeness,
    Timeline,
    band_keys,
    candidates,
    clusters,
    distance,
    frame_distance,
    joint_distance,
    joint_likeness,
    likeness_from,
    segment_means,
    video_likeness,
    worth_a_look,
)


def performance(seed: int, frames: int = 60, side: int = SIDE) -> np.ndarray:
    """A bright blob that wanders over a scene which is the same for all."""
    draw = np.random.default_rng((1, seed))
    scene = np.random.default_rng(0).uniform(40, 200, (side, side))
    way = np.cumsum(draw.normal(0, 0.35, (frames, 2)), axis=0) + side / 2
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1)
    blob = np.exp(-np.square(grid[None] - way[:, None, None]).sum(-1) / 3)
    return (scene + 60 * blob).clip(0, 255)


def likeness(pictures: np.ndarray) -> Likeness:
    line = Timeline()
    for picture in pictures.round().astype(np.uint8):
        line.add(picture)
    found, _ = video_likeness(line)
    assert found is not None
    return found


def body(seed: int, frames: int = 60) -> np.ndarray:
    draw = np.random.default_rng((2, seed))
    pose = np.random.default_rng(9).normal(0, 0.5, (17, 3))
    way = np.cumsum(draw.normal(0, 0.02, (frames, 17, 3)), axis=0)
    return (pose + way)[None].astype(np.float32)


def test_segment_means_are_those_of_a_loop_over_parts_of_frames():
    frames = np.random.default_rng(0).random((23, 3))
    fine = np.repeat(frames, SEGMENTS, axis=0)
    wanted = fine.reshape(SEGMENTS, 23, 3).mean(axis=1)
    np.testing.assert_allclose(segment_means(frames), wanted)


@given(st.integers(1, 3000))
@settings(max_examples=20)
def test_a_timeline_keeps_the_mean_of_any_number_of_frames(frames):
    line = Timeline()
    for frame in range(frames):
        line.add(np.full((2, 2), frame % 200, np.uint8))
    assert line.frames == frames
    exact = segment_means((np.arange(frames) % 200).astype(np.float64)[:, None])[:, 0]
    tolerance = 0 if frames < 512 else 40
    np.testing.assert_allclose(line.segments()[:, 0], exact, atol=tolerance + 1e-3)


def test_a_likeness_survives_its_text():
    one = likeness(performance(1))
    back = likeness_from(one.to_text())
    assert back.frames == one.frames
    np.testing.assert_array_equal(back.moves, one.moves)


@pytest.mark.parametrize(
    "change",
    [
        lambda clip: clip,
        lambda clip: clip[2:],
        lambda clip: clip[:-2],
        lambda clip: clip[1:-3],
        lambda clip: 0.9 * clip + 12,
        lambda clip: clip + np.random.default_rng(3).normal(0, 1.0, clip.shape),
    ],
    ids=["same", "start", "end", "both", "brighter", "noise"],
)
def test_a_changed_copy_is_found_and_agrees_frame_by_frame(change):
    pictures = performance(1)
    changed = change(pictures)
    one, other = likeness(pictures), likeness(changed)
    assert (band_keys(one) == band_keys(other)).any()
    assert distance(one, other) == distance(other, one) <= ALIKE
    flat = [part.reshape(len(part), -1).astype(np.float32) for part in (pictures, changed)]
    assert frame_distance(*flat) == pytest.approx(frame_distance(*flat[::-1]))
    assert frame_distance(*flat) <= COPY


def test_other_performances_in_the_same_scene_are_no_copies():
    clips = [performance(seed) for seed in range(8)]
    for first in range(8):
        for second in range(first):
            pair = [clips[k].reshape(60, -1).astype(np.float32) for k in (first, second)]
            assert frame_distance(*pair) > COPY + 0.3


def test_a_still_picture_has_no_likeness():
    line = Timeline()
    for _ in range(20):
        line.add(np.full((SIDE, SIDE), 70, np.uint8))
    assert video_likeness(line) == (None, 0.0)
    assert joint_likeness(np.ones((1, 9, 17, 3), np.float32)) is None
    assert joint_likeness(np.full((1, 9, 17, 3), np.nan, np.float32)) is None


@pytest.mark.parametrize("frames", [2, 3, 40])
def test_clips_that_nothing_can_be_said_of_are_infinitely_far(frames):
    still = np.zeros((frames, 4), np.float32)
    assert frame_distance(still, still) == float("inf")
    assert frame_distance(still, np.zeros((2 * frames, 4), np.float32)) == float("inf")
    nobody = np.full((frames, 17, 3), np.nan, np.float32)
    assert joint_distance(nobody, nobody) == float("inf")
    assert joint_distance(nobody, np.ones((9 * frames, 17, 3), np.float32)) == float("inf")


@pytest.mark.parametrize(
    ("change", "copy"),
    [
        (lambda joints: joints[:, 3:], True),
        (lambda joints: np.round(joints, 3), True),
        (lambda joints: 1000 * joints + 7, True),
        (lambda joints: joints + np.random.default_rng(0).normal(0, 0.05, joints.shape), False),
        (lambda _joints: body(2), False),
    ],
    ids=["cut", "rounded", "other unit and origin", "shaken", "another"],
)
def test_joints_are_copies_to_the_millimetre(change, copy):
    joints = body(1)
    changed = change(joints).astype(np.float32)
    assert (joint_distance(joints[0], changed[0]) <= COPY_JOINTS) == copy
    one, other = joint_likeness(joints), joint_likeness(changed)
    assert one is not None
    assert other is not None
    if copy:
        assert (band_keys(one) == band_keys(other)).any()
        assert distance(one, other) <= ALIKE_JOINTS


def test_joints_that_are_missing_move_nothing():
    joints = body(3)
    gappy = joints.copy()
    gappy[:, 20:24, 5] = np.nan
    assert joint_distance(joints[0], gappy[0]) < COPY_JOINTS
    whole, gap = joint_likeness(joints), joint_likeness(gappy)
    assert whole is not None
    assert gap is not None
    assert distance(whole, gap) < ALIKE_JOINTS


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_candidates_are_the_pairs_that_share_a_key(rows):
    keys = np.array(rows, np.uint32).reshape(-1, 2)
    wanted = np.arange(len(keys)) % 5 != 4
    expected = [
        (a, b)
        for a in range(len(keys))
        for b in range(a + 1, len(keys))
        if wanted[a] and wanted[b] and (keys[a] == keys[b]).any()
    ]
    found = candidates(keys, wanted)
    assert [tuple(pair) for pair in found.tolist()] == expected


def test_a_heap_of_a_thousand_copies_hangs_together_in_few_pairs():
    keys = np.zeros((1000, BANDS), np.uint32)
    pairs = candidates(keys, np.ones(1000, bool))
    assert len(pairs) < 1000 * 20
    assert clusters([(a, b) for a, b in pairs.tolist()]) == [list(range(1000))]


def test_only_clips_that_move_alike_at_nearly_one_length_are_worth_a_look():
    clips = [
        likeness(performance(1)),
        likeness(performance(1)[1:]),
        likeness(performance(2)),
        likeness(performance(1)[:40]),
    ]
    joints = joint_likeness(body(1))
    assert joints is not None
    clips += [joints, joints]
    pairs = np.array([(a, b) for a in range(6) for b in range(a + 1, 6)])
    assert list(worth_a_look(pairs, clips.__getitem__)) == [(0, 1), (4, 5)]


def test_clusters_are_the_largest_first():
    assert clusters([(5, 6), (1, 2), (2, 3)]) == [[1, 2, 3], [5, 6]]
    assert clusters([]) == []
