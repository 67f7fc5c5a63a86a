import errno
import os
import pickle
import threading
import time
from functools import partial

import numpy as np
import pytest

from poselens.clips.cache import FrameCache, build_cache, cache_folder
from poselens.errors import AnnotationError, EnvironmentFault, VideoError


def frames_of(clip: int) -> np.ndarray:
    if clip == 3:
        raise VideoError("VID-003", "not a video", file="three.mp4")
    return np.full((clip + 1, 4, 4, 3), clip, np.uint8)


# what a decoding process runs has to be importable there, and tests are not
filled = partial(np.full, (3, 4, 4, 3), dtype=np.uint8)


def build(folder, clips=(0, 1, 3, 5), decode=frames_of, workers=0, told=None):
    told = told if told is not None else []
    build_cache(folder, clips, decode, size=4, workers=workers, told=told.append)
    return told


def test_frames_come_back_and_bad_clips_are_named(tmp_path):
    assert build(tmp_path / "cache") == [0, 1, 3, 5]
    cache = FrameCache(tmp_path / "cache")
    assert [clip in cache for clip in range(6)] == [True, True, False, False, False, True]
    assert cache.skipped == {3: "VID-003 three.mp4: not a video"}
    assert cache.frames(5) == 6
    for wanted in ([0, 5, 5], np.array([2, 1])):
        read = cache.read(5, wanted)
        assert read.shape == (len(wanted), 4, 4, 3)
        assert (read == 5).all()


def test_a_complete_cache_is_kept(tmp_path):
    build(tmp_path)
    assert build(tmp_path, decode=os._exit) == []


def test_a_cache_travels_as_its_path(tmp_path):
    build(tmp_path)
    sent = pickle.dumps(FrameCache(tmp_path))
    assert len(sent) < 500
    assert (pickle.loads(sent).read(5, [0]) == 5).all()


def test_nothing_readable_is_an_empty_cache(tmp_path):
    build(tmp_path, clips=[3])
    cache = FrameCache(tmp_path)
    assert 3 not in cache
    assert list(cache.skipped) == [3]


def test_decoding_processes_write_the_same_bytes(tmp_path):
    build(tmp_path / "here", clips=range(12), decode=filled)
    assert build(tmp_path / "there", clips=range(12), decode=filled, workers=1) == [*range(12)]
    for name in ("frames.u8", "index.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_killed_decoder_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(EnvironmentFault, match="decoding process was killed") as caught:
        build(tmp_path, decode=os._exit, workers=1)
    assert caught.value.code == "ENV-011"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        EnvironmentFault, match=r"cannot keep decoded regions.*cache=none"
    ) as caught:
        build(tmp_path)
    assert caught.value.code == "ENV-002"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_data_set_one_may_not_write_is_refused(tmp_path, monkeypatch):
    def forbidden(*_args, **_options):
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", forbidden)
    with pytest.raises(EnvironmentFault, match=r"Read-only file system.*cache=none") as caught:
        build(tmp_path / "new")
    assert caught.value.code == "ENV-001"


def test_an_interrupted_build_leaves_no_partial_file(tmp_path):
    def interrupt(_clip):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(tmp_path, [0, 1], frames_of, size=4, workers=0, told=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    build(tmp_path)
    assert 5 in FrameCache(tmp_path)


def test_a_second_builder_waits_for_the_first(tmp_path):
    began = threading.Event()

    def slow(clip):
        began.set()
        time.sleep(0.02)
        return frames_of(clip)

    first = threading.Thread(target=build, args=(tmp_path,), kwargs={"decode": slow})
    first.start()
    assert began.wait(10)
    assert build(tmp_path, decode=os._exit) == []
    first.join()
    assert 5 in FrameCache(tmp_path)


@pytest.mark.parametrize("harm", ["index", "frames", "json", "keys"])
def test_a_damaged_cache_is_refused(tmp_path, harm):
    build(tmp_path)
    if harm == "index":
        (tmp_path / "index.json").unlink()
    elif harm == "frames":
        (tmp_path / "frames.u8").write_bytes(b"short")
    elif harm == "json":
        (tmp_path / "index.json").write_text("{")
    else:
        (tmp_path / "index.json").write_text("[]")
    with pytest.raises(AnnotationError, match=r"decoded regions are damaged.*remove") as caught:
        FrameCache(tmp_path)
    assert caught.value.code == "DATA-027"


def test_other_facts_other_folder(tmp_path):
    one, same, other = (
        cache_folder(tmp_path, facts) for facts in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2})
    )
    assert one == same
    assert one != other
    assert one.parent == tmp_path / ".cache"
