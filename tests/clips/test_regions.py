import os
import shutil

import numpy as np

from poselens.clips.assemble import RgbClips
from poselens.clips.regions import cached_regions
from poselens.clips.stream import RgbInput
from poselens.data.folder import open_folder

SETTINGS = RgbInput(segments=2, snippet_length=3, scale=36, size=32)


def test_cached_frames_are_the_decoded_ones(tiny_folder, tmp_path):
    root = shutil.copytree(tiny_folder, tmp_path / "data")
    folder = open_folder(root)
    cache = cached_regions(folder, [0, 9], SETTINGS, workers=0)
    plain = RgbClips(folder, settings=SETTINGS, augment=None, seed=0)
    stored = RgbClips(folder, settings=SETTINGS, augment=None, seed=0, cache=cache)
    for clip in (0, 9):
        assert cache.frames(clip) == 12
        np.testing.assert_array_equal(plain[0, 0, clip].inputs[0], stored[0, 0, clip].inputs[0])


def test_a_process_of_its_own_decodes_the_same(tiny_folder, tmp_path):
    root = shutil.copytree(tiny_folder, tmp_path / "data")
    folder = open_folder(root)
    cache = cached_regions(folder, [4], SETTINGS, workers=1)
    plain = RgbClips(folder, settings=SETTINGS, augment=None, seed=0)
    np.testing.assert_array_equal(cache.read(4, np.arange(12)), plain.decode(4))


def test_a_mended_video_or_another_region_makes_another_cache(tiny_folder, tmp_path):
    root = shutil.copytree(tiny_folder, tmp_path / "data")
    video = root / "videos" / "c00.mp4"
    good = video.read_bytes()
    video.write_bytes(b"broken")
    broken = cached_regions(open_folder(root), [0, 1], SETTINGS, workers=0)
    assert list(broken.skipped) == [0]
    video.write_bytes(good)
    assert not cached_regions(open_folder(root), [0, 1], SETTINGS, workers=0).skipped
    made = len(os.listdir(root / ".cache"))
    cached_regions(open_folder(root), [0, 1], SETTINGS, workers=0)
    assert len(os.listdir(root / ".cache")) == made == 2
    wider = SETTINGS.model_copy(update={"margin": 0.1})
    cached_regions(open_folder(root), [0, 1], wider, workers=0)
    assert len(os.listdir(root / ".cache")) == 3


def test_a_missing_video_is_left_out(tiny_folder, tmp_path):
    root = shutil.copytree(tiny_folder, tmp_path / "data")
    (root / "videos" / "c00.mp4").unlink()
    cache = cached_regions(open_folder(root), [0, 1], SETTINGS, workers=0)
    assert "VID-001" in cache.skipped[0]
    assert 1 in cache
