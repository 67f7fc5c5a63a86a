import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from kept_bytes import bytes_of

from poselens.clips.cache import FrameCache, build_cache
from poselens.clips.packed import pack
from poselens.errors import AnnotationError, EnvironmentFault, VideoError

SRC = Path(__file__).parents[2] / "src"


def frames_of(clip, form="raw"):
    if clip == 3:
        raise VideoError("VID-003", "not a video", file="three.mp4")
    return [
        pack(np.full((4, 4, 3), 10 * clip + frame, np.uint8), form) for frame in range(clip + 1)
    ]


def never(clip):
    raise AssertionError(clip)


def build(folder, clips=(0, 1, 3, 5), encode=None, workers=0, told=None, form="raw", stamp="s"):
    told = told if told is not None else []
    added = build_cache(
        folder,
        {clip: f"{stamp}{clip}" for clip in clips},
        encode or partial(frames_of, form=form),
        form=form,
        size=4,
        workers=workers,
        told=told.append,
    )
    return added, told


@pytest.fixture(params=["raw", "packed"])
def form(request):
    return request.param


def test_frames_come_back_and_bad_clips_are_named(tmp_path, form):
    assert build(tmp_path / "cache", form=form) == (4, [0, 1, 3, 5])
    cache = FrameCache(tmp_path / "cache")
    assert [clip in cache for clip in range(7)] == [True, True, False, False, False, True, False]
    assert cache.skipped == {3: "VID-003 three.mp4: not a video"}
    assert cache.frames(5) == 6
    for wanted in ([0, 5, 5], np.array([2, 1])):
        read = cache.read(5, wanted)
        assert read.shape == (len(wanted), 4, 4, 3)
        np.testing.assert_array_equal(read[:, 0, 0, 0], 50 + np.asarray(wanted))


def test_a_complete_cache_is_kept(tmp_path):
    build(tmp_path)
    assert build(tmp_path, encode=never) == (0, [])
    assert build(tmp_path, clips=(5, 0), encode=never) == (0, [])


def test_a_cache_takes_more_clips_and_a_reader_keeps_what_it_saw(tmp_path, form):
    build(tmp_path, clips=(0, 1), form=form)
    before = FrameCache(tmp_path)
    assert build(tmp_path, clips=(0, 1, 5), form=form) == (1, [0, 1, 5])
    assert 5 not in before
    for cache, clip in ((before, 1), (FrameCache(tmp_path), 1), (FrameCache(tmp_path), 5)):
        np.testing.assert_array_equal(cache.read(clip, [1])[0], np.full((4, 4, 3), 10 * clip + 1))


def test_a_clip_made_from_something_else_is_decoded_again(tmp_path):
    build(tmp_path, clips=(0, 1))
    build(tmp_path, clips=(1,), stamp="t", encode=lambda _: frames_of(5))
    cache = FrameCache(tmp_path)
    assert (cache.frames(0), cache.frames(1)) == (1, 6)
    assert cache.read(1, [5])[0, 0, 0, 0] == 55
    build(tmp_path, clips=(1,), stamp="u", encode=lambda _: frames_of(3))
    cache = FrameCache(tmp_path)
    assert list(cache.skipped) == [1]
    assert 1 not in cache
    build(tmp_path, clips=(1,), stamp="v")
    assert not FrameCache(tmp_path).skipped


def test_a_cache_travels_as_its_path(tmp_path):
    build(tmp_path)
    sent = pickle.dumps(FrameCache(tmp_path))
    assert len(sent) < 500
    assert pickle.loads(sent).read(5, [0])[0, 0, 0, 0] == 50


def test_nothing_readable_is_an_empty_cache(tmp_path):
    build(tmp_path, clips=[3])
    cache = FrameCache(tmp_path)
    assert 3 not in cache
    assert list(cache.skipped) == [3]


def test_decoding_processes_write_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("poselens.clips.cache._AHEAD", 2)
    build(tmp_path / "here", clips=range(12), encode=bytes_of)
    build(tmp_path / "there", clips=range(12), encode=bytes_of, workers=1)
    for name in ("frames.bin", "frames.table", "clips.jsonl"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_killed_decoder_is_named_and_what_was_whole_stays(tmp_path):
    build(tmp_path, clips=(0, 1))
    with pytest.raises(EnvironmentFault, match="decoding process was killed") as caught:
        build(tmp_path, encode=os._exit, workers=1)
    assert caught.value.code == "ENV-011"
    assert build(tmp_path) == (2, [0, 1, 3, 5])


def test_a_full_disk_is_named_and_what_was_whole_stays(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    build(tmp_path, clips=(0, 1))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            EnvironmentFault, match=r"cannot keep decoded regions.*goes on.*cache=none"
        ) as caught:
            build(tmp_path)
    assert caught.value.code == "ENV-002"
    assert FrameCache(tmp_path).read(1, [1])[0, 0, 0, 0] == 11
    assert build(tmp_path)[0] == 2
    assert FrameCache(tmp_path).read(5, [1])[0, 0, 0, 0] == 51


def test_a_data_set_one_may_not_write_is_refused(tmp_path, monkeypatch):
    def forbidden(*_args, **_options):
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", forbidden)
    with pytest.raises(EnvironmentFault, match=r"Read-only file system.*cache=none") as caught:
        build(tmp_path / "new")
    assert caught.value.code == "ENV-001"


def test_an_interrupted_build_goes_on_where_it_was(tmp_path, form):
    def interrupt(clip):
        if clip == 5:
            raise KeyboardInterrupt
        return frames_of(clip, form)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, encode=interrupt, form=form)
    once = []

    def counted(clip):
        once.append(clip)
        return frames_of(clip, form)

    assert build(tmp_path, encode=counted, form=form) == (1, [0, 1, 3, 5])
    assert once == [5]
    build(tmp_path / "whole", form=form)
    for name in ("frames.bin", "frames.table", "clips.jsonl"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("commit_s", [0.0, 1e9])
def test_a_killed_build_loses_no_whole_clip_and_keeps_no_half(tmp_path, commit_s):
    script = f"""
import os, signal
from pathlib import Path
from poselens.clips import cache

cache._COMMIT_S = {commit_s}
def encode(clip):
    if clip == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return [bytes([clip] * 48)]
cache.build_cache(Path({str(tmp_path)!r}), {{clip: "s" for clip in range(4)}}, encode,
    form="raw", size=4, workers=0, told=print)
"""
    killed = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(SRC)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    added = build_cache(
        tmp_path,
        dict.fromkeys(range(4), "s"),
        lambda clip: [bytes([clip] * 48)],
        form="raw",
        size=4,
        workers=0,
        told=[].append,
    )
    assert added == (2 if commit_s == 0 else 4)
    cache = FrameCache(tmp_path)
    assert [cache.read(clip, [0])[0, 0, 0, 0] for clip in range(4)] == [0, 1, 2, 3]
    assert (tmp_path / "frames.bin").stat().st_size == 4 * 48


def test_decoding_processes_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "script.py").write_text(f"""
import os, time
from pathlib import Path
from poselens.clips.cache import build_cache

HERE = Path({str(tmp_path)!r})
def encode(clip):
    (HERE / "part").write_text(str(os.getpid()))
    os.replace(HERE / "part", HERE / "pid")
    time.sleep(600)
if __name__ == "__main__":
    build_cache(HERE / "cache", {{0: "s"}}, encode, form="raw", size=4, workers=1, told=print)
""")
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], env={**os.environ, "PYTHONPATH": str(SRC)}
    )
    until(lambda: (tmp_path / "pid").exists(), parent)
    child = Path("/proc") / (tmp_path / "pid").read_text()
    assert child.exists()
    parent.kill()
    parent.wait()
    until(lambda: not child.exists(), parent)


def until(reached, parent):
    """Wait for what happens in other processes, on a machine that may be busy."""
    for _ in range(1200):
        if reached():
            return
        time.sleep(0.05)
    parent.kill()
    pytest.fail("it did not happen in a minute")


def test_a_line_cut_short_is_as_if_it_had_not_been_begun(tmp_path):
    build(tmp_path)
    whole = (tmp_path / "clips.jsonl").read_bytes()
    (tmp_path / "clips.jsonl").write_bytes(whole[:-7])
    assert 5 not in FrameCache(tmp_path)
    assert build(tmp_path)[0] == 1
    assert (tmp_path / "clips.jsonl").read_bytes() == whole


def test_a_second_builder_waits_for_the_first(tmp_path):
    began = threading.Event()

    def slow(clip):
        began.set()
        time.sleep(0.02)
        return frames_of(clip)

    first = threading.Thread(target=build, args=(tmp_path,), kwargs={"encode": slow})
    first.start()
    assert began.wait(10)
    assert build(tmp_path, encode=never)[0] == 0
    first.join()
    assert 5 in FrameCache(tmp_path)


@pytest.mark.parametrize("harm", ["about", "form", "frames", "table", "line", "kind", "cut"])
def test_a_damaged_cache_is_refused(tmp_path, harm):
    build(tmp_path)
    if harm == "about":
        (tmp_path / "about.json").unlink()
    elif harm == "form":
        (tmp_path / "about.json").write_text('{"format": "gif", "size": 4}')
    elif harm in ("frames", "table"):
        (tmp_path / {"frames": "frames.bin", "table": "frames.table"}[harm]).unlink()
    elif harm == "cut":
        os.truncate(tmp_path / "frames.bin", 100)
    else:
        line = {"line": "{\n", "kind": "[]\n"}[harm]
        (tmp_path / "clips.jsonl").write_text(line)
    with pytest.raises(AnnotationError, match=r"decoded regions are damaged.*remove") as caught:
        FrameCache(tmp_path)
    assert caught.value.code == "DATA-027"


def test_a_damaged_cache_is_not_built_on(tmp_path):
    build(tmp_path)
    os.truncate(tmp_path / "frames.bin", 100)
    with pytest.raises(AnnotationError, match=r"frames.bin is cut short: the decoded regions"):
        build(tmp_path, clips=(7,))


def test_a_flipped_bit_names_the_clip(tmp_path):
    build(tmp_path, form="packed")
    kept = bytearray((tmp_path / "frames.bin").read_bytes())
    kept[-40] ^= 4
    (tmp_path / "frames.bin").write_bytes(kept)
    cache = FrameCache(tmp_path)
    cache.read(5, [0, 1, 2, 3, 4])
    with pytest.raises(AnnotationError, match=r"clip 5: the decoded regions") as caught:
        cache.read(5, [0, 5])
    assert caught.value.code == "DATA-027"


def test_a_file_cut_short_while_it_is_read_names_the_clip(tmp_path, form):
    build(tmp_path, form=form)
    cache = FrameCache(tmp_path)
    os.truncate(tmp_path / "frames.bin", 3)
    with pytest.raises(AnnotationError, match="clip 5: the decoded regions"):
        cache.read(5, [0])


def test_what_it_is_can_be_read_by_people(tmp_path):
    build(tmp_path, clips=(1, 3))
    lines = [json.loads(line) for line in (tmp_path / "clips.jsonl").read_text().splitlines()]
    assert lines == [
        {"clip": 1, "stamp": "s1", "frames": 2, "bytes": 96},
        {"clip": 3, "stamp": "s3", "skipped": "VID-003 three.mp4: not a video"},
    ]
    assert json.loads((tmp_path / "about.json").read_text())["format"] == "raw"
