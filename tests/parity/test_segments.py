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
        if end - begin < length:
            # the snippet lies around the part's middle frame
            start = math.floor((begin + end) / 2 + 1e-9) - length // 2
        else:
            start = math.floor(begin + (end - begin - length) / 2 + 1e-9)
        read.append([min(max(start + step, 0), frames - 1) for step in range(length)])
    return read


CLIPS = [1, 3, 7, 8, 9, 13, 20, 40, 47, 48, 49, 60, 125, 300]


@pytest.mark.parametrize("frames", CLIPS)
@pytest.mark.parametrize(("segments", "length"), [(8, 6), (8, 1), (3, 5)])
def test_snippets_at_test_equal_the_loop(frames, segments, length):
    expected = middle_snippets(frames, segments, length)
    for snippet in ("mean", "difference-stem"):
        whole = frames_to_read(frames, segments=segments, length=length, snippet=snippet)
        assert whole.tolist() == expected
    middle = frames_to_read(frames, segments=segments, length=length, snippet="center")
    assert middle[:, 0].tolist() == [snippet[length // 2] for snippet in expected]


@pytest.mark.parametrize("frames", CLIPS)
@pytest.mark.parametrize(("segments", "length"), [(8, 6), (3, 5)])
def test_the_middle_frame_lies_in_its_part(frames, segments, length):
    read = frames_to_read(frames, segments=segments, length=length, snippet="center")[:, 0]
    for segment, frame in enumerate(read.tolist()):
        begin, end = segment * frames / segments, (segment + 1) * frames / segments
        # a part that no frame begins in has the frame that goes on through it
        assert math.floor(begin) <= frame < end + 1e-9


def test_paper_preset_reads_48_of_a_long_clip():
    read = frames_to_read(200, segments=8, length=6, snippet="mean", rng=np.random.default_rng(1))
    assert len(set(read.flatten().tolist())) == 48
