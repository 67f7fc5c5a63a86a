import json
import os
import shutil

import numpy as np
import pytest

from poselens.clips.assemble import RgbClips, SkippedClip
from poselens.clips.regions import add_regions, cache_folder, cached_regions
from poselens.clips.stream import RgbInput
from poselens.data.folder import open_folder
from poselens.data.video_extent import Extent

SETTINGS = RgbInput(segments=2, snippet_length=3, scale=36, size=32)


@pytest.fixture
def root(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "data")


def each(folder, clip, settings=SETTINGS):
    plain = RgbClips(folder, settings=settings, augment=None, seed=0)
    return np.stack(list(plain.each_frame(clip)))


def added(root, clips, settings=SETTINGS, form="raw"):
    told = []
    number = add_regions(open_folder(root), clips, settings, form, workers=0, told=told.append)
    assert sorted(told) == sorted(clips) or number == 0
    return number


def test_cached_frames_are_the_decoded_ones(root):
    folder = open_folder(root)
    cache = cached_regions(folder, [0, 9], SETTINGS, "raw", workers=0)
    plain = RgbClips(folder, settings=SETTINGS, augment=None, seed=0)
    stored = RgbClips(folder, settings=SETTINGS, augment=None, seed=0, cache=cache)
    for clip in (0, 9):
        assert cache.frames(clip) == 12
        np.testing.assert_array_equal(plain[0, 0, clip].inputs[0], stored[0, 0, clip].inputs[0])


def test_packed_frames_are_near_the_decoded_ones(root):
    folder = open_folder(root)
    cache = cached_regions(folder, [0, 9], SETTINGS, "packed", workers=0)
    for clip in (0, 9):
        error = np.mean((cache.read(clip, np.arange(12)) - each(folder, clip).astype(float)) ** 2)
        assert 10 * np.log10(255**2 / error) > 30


@pytest.mark.parametrize("form", ["raw", "packed"])
def test_a_process_of_its_own_decodes_the_same(root, form):
    folder = open_folder(root)
    cache = cached_regions(folder, [4], SETTINGS, form, workers=1)
    again = cached_regions(folder, [4, 5], SETTINGS, form, workers=0)
    np.testing.assert_array_equal(cache.read(4, np.arange(12)), again.read(4, np.arange(12)))
    if form == "raw":
        np.testing.assert_array_equal(cache.read(4, np.arange(12)), each(folder, 4))


def test_a_part_of_the_clips_is_found_in_a_cache_of_all(root):
    assert added(root, range(14)) == 14
    assert added(root, [7, 3]) == 0
    assert len(os.listdir(root / ".cache")) == 1


def test_a_mended_video_is_decoded_again(root):
    video = root / "videos" / "c00.mp4"
    good = video.read_bytes()
    video.write_bytes(b"broken")
    broken = cached_regions(open_folder(root), [0, 1], SETTINGS, "raw", workers=0)
    assert list(broken.skipped) == [0]
    video.write_bytes(good)
    assert added(root, [0, 1]) == 1
    assert not cached_regions(open_folder(root), [0, 1], SETTINGS, "raw", workers=0).skipped


def test_other_joints_or_another_stretch_are_decoded_again_and_another_split_is_not(root):
    assert added(root, [0, 1, 2]) == 3
    table = root / "clips.csv"
    lines = table.read_text().splitlines()
    before = lines[1]
    lines[1] = before.replace("train", "test", 1)
    assert lines[1] != before
    table.write_text("\n".join(lines) + "\n")
    assert added(root, [0, 1, 2]) == 0
    joints = np.load(root / "skeletons" / "pixels.npy", mmap_mode="r+")
    joints[0] += 2
    joints.flush()
    del joints
    assert added(root, [0, 1, 2]) == 1
    names = lines[0].split(",")
    fields = lines[2].split(",")
    fields[names.index("start_s")], fields[names.index("end_s")] = "0.1", "0.3"
    table.write_text("\n".join([*lines[:2], ",".join(fields), *lines[3:]]) + "\n")
    assert added(root, [0, 1, 2]) == 1
    assert cached_regions(open_folder(root), [1], SETTINGS, "raw", workers=0).frames(1) == 6


def test_without_a_crop_joints_do_not_matter(root):
    whole = SETTINGS.model_copy(update={"crop": False})
    assert added(root, [0], whole) == 1
    joints = np.load(root / "skeletons" / "pixels.npy", mmap_mode="r+")
    joints[0] += 2
    joints.flush()
    assert added(root, [0], whole) == 0


def test_another_region_or_form_is_another_cache(tmp_path):
    wider = SETTINGS.model_copy(update={"margin": 0.1})
    longer = SETTINGS.model_copy(update={"segments": 4})
    one = cache_folder(tmp_path, SETTINGS, "raw")
    assert one.parent == tmp_path / ".cache"
    assert cache_folder(tmp_path, longer, "raw") == one
    assert len({one, cache_folder(tmp_path, wider, "raw"),
                cache_folder(tmp_path, SETTINGS, "packed")}) == 3  # fmt: skip


def test_a_missing_video_is_left_out(root):
    (root / "videos" / "c00.mp4").unlink()
    cache = cached_regions(open_folder(root), [0, 1], SETTINGS, "raw", workers=0)
    assert "VID-001" in cache.skipped[0]
    assert 1 in cache


def test_a_clip_whose_last_frames_cannot_be_decoded_ends_in_copies(root, monkeypatch):
    folder = open_folder(root)
    whole = each(folder, 0)
    monkeypatch.setattr("poselens.clips.stretch.measure_extent", lambda _: Extent(13, 0))
    longer = each(folder, 0)
    np.testing.assert_array_equal(longer[:12], whole)
    np.testing.assert_array_equal(longer[12], whole[-1])
    ledger = cache_folder(root, SETTINGS, "raw") / "clips.jsonl"
    assert added(root, [0]) == 1
    assert json.loads(ledger.read_text())["frames"] == 13


def test_a_clip_of_which_too_little_can_be_decoded_is_left_out(root, monkeypatch):
    monkeypatch.setattr("poselens.clips.stretch.measure_extent", lambda _: Extent(15, 0))
    cache = cached_regions(open_folder(root), [0], SETTINGS, "raw", workers=0)
    assert "VID-019" in cache.skipped[0]
    assert "12 of 15 frames can be read, expected at least 90% of them" in cache.skipped[0]
    every = SETTINGS.model_copy(update={"segments": 5, "snippet": "mean"})
    skipped = RgbClips(open_folder(root), settings=every, augment=None, seed=0)[0, 0, 0]
    assert isinstance(skipped, SkippedClip)
    assert "12 of 15 frames" in skipped.reason
