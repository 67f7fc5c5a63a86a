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
    snippet=st.sampled_from(["center", "random", "mean"]),
    seed=st.none() | st.integers(0, 99),
)
def test_frames_lie_in_the_clip_in_order_and_never_wrap(frames, segments, length, snippet, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    read = frames_to_read(frames, segments=segments, length=length, snippet=snippet, rng=rng)
    assert read.shape == (segments, length if snippet == "mean" else 1)
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
        (5, [3, 3, 4, 4, 4, 4, 4, 4]),
        (8, [3, 4, 5, 6, 7, 7, 7, 7]),
        (48, [3, 9, 15, 21, 27, 33, 39, 45]),
        (96, [6, 18, 30, 42, 54, 66, 78, 90]),
    ],
)
def test_the_middle_frame_of_each_snippet_clamped_at_the_last(frames, expected):
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


@pytest.mark.parametrize(
    ("frames", "segments", "length"), [(0, 8, 6), (9, 0, 6), (9, 8, 0), (-1, 8, 6)]
)
def test_nothing_to_sample_from_is_refused(frames, segments, length):
    with pytest.raises(UsageError, match=f"{frames} frames, {segments} segments of {length}") as e:
        snippet_starts(frames, segments=segments, length=length, rng=None)
    assert e.value.code == "CFG-010"
