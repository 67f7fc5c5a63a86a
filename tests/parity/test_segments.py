"""Section 4.2: 8 segments of 6 consecutive frames, written out frame by frame."""

import math

import numpy as np
import pytest

from poselens.clips.segments import frames_to_read


def middle_snippets(frames: int, segments: int, length: int) -> list[list[int]]:
    read = []
    for segment in range(segments):
        begin = segment * frames / segments
        end = (segment + 1) * frames / segments
        slack = max(end - begin - length, 0)
        start = math.floor(begin + slack / 2 + 1e-9)
        read.append([min(start + step, frames - 1) for step in range(length)])
    return read


@pytest.mark.parametrize("frames", [1, 3, 7, 8, 13, 47, 48, 49, 60, 125, 300])
@pytest.mark.parametrize(("segments", "length"), [(8, 6), (8, 1), (3, 5)])
def test_snippets_at_test_equal_the_loop(frames, segments, length):
    expected = middle_snippets(frames, segments, length)
    whole = frames_to_read(frames, segments=segments, length=length, snippet="mean")
    assert whole.tolist() == expected
    middle = frames_to_read(frames, segments=segments, length=length, snippet="center")
    assert middle[:, 0].tolist() == [snippet[length // 2] for snippet in expected]


def test_paper_preset_reads_48_of_a_long_clip():
    read = frames_to_read(200, segments=8, length=6, snippet="mean", rng=np.random.default_rng(1))
    assert len(set(read.flatten().tolist())) == 48
