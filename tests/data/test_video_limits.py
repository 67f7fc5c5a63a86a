"""How many frames a file may have, however it says so."""

import re

import pytest
from hostile_files import frame_bomb
from video_files import video_bytes

from poselens.data import video_decode
from poselens.data.video import count_frames, iterate_frames, probe, read_frames
from poselens.errors import UsageError, VideoError


def read_on(path):
    return sum(1 for _ in iterate_frames(path, size=(8, 8)))


def bare(path, count):
    path.write_bytes(frame_bomb(video_bytes("mp4", 4), count))
    return path


@pytest.mark.parametrize(
    "read", [probe, count_frames, read_on, lambda path: read_frames(path, [0])]
)
def test_a_promise_over_the_limit_is_refused_by_every_reader(tmp_path, read):
    path = bare(tmp_path / "a.mp4", video_decode.MAX_FRAMES + 1)
    with pytest.raises(
        VideoError, match=r"more than 500,000 frames.*POSELENS_MAX_FRAMES"
    ) as caught:
        read(path)
    assert caught.value.code == "VID-018"


@pytest.mark.parametrize("read", [count_frames, read_on])
def test_frames_over_the_limit_are_refused_where_nothing_is_promised(tmp_path, monkeypatch, read):
    path = tmp_path / "a.mkv"
    path.write_bytes(video_bytes("mkv"))
    monkeypatch.setenv("POSELENS_MAX_FRAMES", "60")
    assert read(path) == 60
    monkeypatch.setenv("POSELENS_MAX_FRAMES", "59")
    with pytest.raises(VideoError, match="more than 59 frames") as caught:
        read(path)
    assert caught.value.code == "VID-018"


def test_the_variable_raises_the_limit(tmp_path, monkeypatch):
    path = bare(tmp_path / "a.mp4", video_decode.MAX_FRAMES + 5)
    monkeypatch.setenv("POSELENS_MAX_FRAMES", "1000000")
    assert read_frames(path, [0, 30]).promised == video_decode.MAX_FRAMES + 5


@pytest.mark.parametrize("said", ["", "many", "-1", "1e6", "9" * 19, "１２"])
def test_a_limit_that_is_no_number_is_refused(tmp_path, monkeypatch, said):
    path = tmp_path / "a.mkv"
    path.write_bytes(video_bytes("mkv"))
    monkeypatch.setenv("POSELENS_MAX_FRAMES", said)
    with pytest.raises(UsageError, match=re.escape(repr(said))) as caught:
        count_frames(path)
    assert caught.value.code == "VID-020"
