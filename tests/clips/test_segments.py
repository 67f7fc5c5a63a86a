import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.clips.segments import frames_to_read, snippet_starts
from poselens.errors import UsageError


@given(
    frames=st.integers(1, 300),
    segments=st.integers(1, 12),
    length=st.integers(1, 8),
    snippet=st.sampled_from(["center", "random", "mean", "difference-stem"]),
    seed=st.none() | st.integers(0, 99),
)
def test_frames_lie_in_the_clip_in_order_and_never_wrap(frames, segments, length, snippet, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    read = frames_to_read(frames, segments=segments, length=length, snippet=snippet, rng=rng)
    assert read.shape == (segments, 1 if snippet in ("center", "random") else length)
    assert read.min() >= 0
    assert read.max() <= frames - 1
    assert (np.diff(read, axis=1) >= 0).all()
    assert (np.diff(read, axis=1) <= 1).all()
    if snippet != "random":
        assert (np.diff(read, axis=0) >= 0).all()


@given(frames=st.integers(48, 300), seed=st.none() | st.integers(0, 99))
def test_a_snippet_stays_in_its_eighth_of_the_clip(frames, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    starts = snippet_starts(frames, segments=8, length=6, rng=rng)
    for part, start in enumerate(starts):
        assert start >= np.floor(part * frames / 8)
        assert start + 6 <= np.ceil((part + 1) * frames / 8)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (1, [0] * 8),
        (5, [0, 0, 1, 2, 2, 3, 4, 4]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (20, [1, 3, 6, 8, 11, 13, 16, 18]),
        (48, [3, 9, 15, 21, 27, 33, 39, 45]),
        (96, [6, 18, 30, 42, 54, 66, 78, 90]),
    ],
)
def test_the_middle_frame_of_each_snippet(frames, expected):
    read = frames_to_read(frames, segments=8, length=6, snippet="center")
    assert read[:, 0].tolist() == expected


def test_random_is_the_middle_frame_at_test_and_any_of_the_snippet_in_training():
    still = frames_to_read(48, segments=8, length=6, snippet="random")
    assert still.tolist() == frames_to_read(48, segments=8, length=6, snippet="center").tolist()
    rng = np.random.default_rng(0)
    drawn = np.stack(
        [
            frames_to_read(48, segments=8, length=6, snippet="random", rng=rng)[:, 0]
            for _ in range(200)
        ]
    )
    for part in range(8):
        assert set(drawn[:, part]) == set(range(6 * part, 6 * part + 6))


def test_training_moves_the_snippet_over_its_whole_part():
    rng = np.random.default_rng(0)
    starts = {int(snippet_starts(20, segments=2, length=4, rng=rng)[1]) for _ in range(300)}
    assert starts == {10, 11, 12, 13, 14, 15}


@given(frames=st.integers(1, 47), seed=st.integers(0, 99))
def test_of_a_short_clip_every_draw_lies_in_its_part(frames, seed):
    rng = np.random.default_rng(seed)
    drawn = frames_to_read(frames, segments=8, length=6, snippet="random", rng=rng)[:, 0]
    for part, frame in enumerate(drawn):
        assert np.floor(part * frames / 8) <= frame < (part + 1) * frames / 8 + 1e-9


def test_every_frame_of_a_short_clip_is_drawn_alike():
    rng = np.random.default_rng(0)
    drawn = np.concatenate(
        [
            frames_to_read(20, segments=8, length=6, snippet="random", rng=rng)[:, 0]
            for _ in range(500)
        ]
    )
    counts = np.bincount(drawn, minlength=20)
    assert len(counts) == 20
    # 200 draws of each frame, give or take 5 standard deviations
    assert abs(counts - 200).max() < 5 * np.sqrt(200)


@pytest.mark.parametrize("snippet", ["mean", "difference-stem"])
def test_a_snippet_longer_than_its_part_lies_around_its_middle(snippet):
    read = frames_to_read(8, segments=8, length=6, snippet=snippet)
    assert read[0].tolist() == [0, 0, 0, 0, 1, 2]
    assert read[4].tolist() == [1, 2, 3, 4, 5, 6]
    assert read[7].tolist() == [4, 5, 6, 7, 7, 7]


@pytest.mark.parametrize(
    ("frames", "segments", "length"), [(0, 8, 6), (9, 0, 6), (9, 8, 0), (-1, 8, 6)]
)
def test_nothing_to_sample_from_is_refused(frames, segments, length):
    with pytest.raises(UsageError, match=f"{frames} frames, {segments} segments of {length}") as e:
        snippet_starts(frames, segments=segments, length=length, rng=None)
    assert e.value.code == "CFG-010"
