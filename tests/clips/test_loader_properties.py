"""What training asks of its loader: access to any clip alone, the same for any number of workers,
no memory and no open file that grows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from poselens.clips import assemble
from poselens.clips.assemble import RgbClips
from poselens.clips.batches import EpochBatches, loaded, make_loader
from poselens.clips.regions import cached_regions
from poselens.clips.stream import RgbAugment, RgbInput
from poselens.data.folder import open_folder

SRC = Path(__file__).parents[2] / "src"
SETTINGS = RgbInput(segments=2, snippet_length=3, scale=36, size=32)
FORMS = ["video", "raw", "packed"]


BIGGER = RgbInput(segments=8, snippet_length=1, scale=72, size=64)


def clips_of(root, form="video", settings=SETTINGS):
    folder = open_folder(root)
    cache = None
    if form != "video":
        cache = cached_regions(folder, range(len(folder)), settings, form, workers=0)
    return RgbClips(folder, settings=settings, augment=RgbAugment(), seed=3, cache=cache)


def batches_of(root, form, workers, epochs=2):
    order = EpochBatches(range(14), batch_size=4, seed=5, repeats=2)
    loader = make_loader(clips_of(root, form), order, workers=workers)
    for epoch in range(epochs):
        order.epoch = epoch
        yield from loaded(loader)


@pytest.fixture
def data(tiny_folder, tmp_path):
    """A copy without its caches."""
    return shutil.copytree(tiny_folder, tmp_path / "data", ignore=shutil.ignore_patterns(".cache"))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize("form", FORMS)
def test_order_and_content_do_not_depend_on_the_workers(data, form):
    kept = list(batches_of(data, form, 0))
    assert len(kept) == 14
    for workers in (1, 2, 3):
        for one, other in zip(kept, batches_of(data, form, workers), strict=True):
            assert one["id"] == other["id"]
            torch.testing.assert_close(one["inputs"][0], other["inputs"][0], rtol=0, atol=0)
            assert torch.equal(one["label"], other["label"])
    first, second = kept[0]["inputs"][0], kept[7]["inputs"][0]
    assert not torch.equal(first, second)


@pytest.mark.parametrize("form", FORMS)
def test_any_clip_can_be_had_without_the_others(data, form, monkeypatch):
    clips = clips_of(data, form)
    alone = clips[1, 0, 9]
    whole = [clips_of(data, form)[1, 0, clip] for clip in range(14)]
    torch.testing.assert_close(alone.inputs[0], whole[9].inputs[0], rtol=0, atol=0)
    if form != "video":
        return
    asked = []
    real = assemble.read_frames
    monkeypatch.setattr(
        assemble,
        "read_frames",
        lambda path, *a, **k: asked.append(path.name) or real(path, *a, **k),
    )
    clips_of(data)[0, 0, 12]
    assert asked == ["c12.mp4"]


def test_the_last_frames_of_a_clip_can_be_had_alone(data):
    folder = open_folder(data)
    cached = cached_regions(folder, [4], SETTINGS, "raw", workers=0)
    np.testing.assert_array_equal(cached.read(4, [11])[0], cached.read(4, range(12))[11])


GROWTH_MB = 12.0
"""Most that the memory of a process may rise over the later twenty of thirty epochs.

These are 840 samples of 98 kB: kept, they would be 82 MB, their regions 104 MB.
"""

SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_loader_properties import BIGGER, EpochBatches, clips_of, loaded, make_loader

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

order = EpochBatches(range(14), batch_size=4, seed=5, repeats=3)
loader = make_loader(clips_of(Path({root!r}), {form!r}, BIGGER), order, workers=0)
memories, opened = [], []
for epoch in range(30):
    order.epoch = epoch
    for _ in loaded(loader):
        pass
    memories.append(memory())
    opened.append(len(os.listdir("/proc/self/fd")))
print(json.dumps([memories, opened]))
"""


@pytest.mark.parametrize("form", FORMS)
def test_memory_and_open_files_do_not_grow_over_epochs(data, form):
    script = SCRIPT.format(here=str(Path(__file__).parent), root=str(data), form=form)
    answer = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    memories, opened = json.loads(answer.stdout)
    slope = np.polyfit(np.arange(10, 30), memories[10:], 1)[0]
    assert 20 * slope < GROWTH_MB, memories
    assert len(set(opened[1:])) == 1, opened


def test_data_processes_open_and_close_their_files(data):
    order = EpochBatches(range(14), batch_size=4, seed=5)
    loader = make_loader(clips_of(data), order, workers=2)
    found = []
    for epoch in range(4):
        order.epoch = epoch
        for _ in loaded(loader):
            pass
        workers = loader._iterator._workers
        found.append([len(os.listdir(f"/proc/{worker.pid}/fd")) for worker in workers])
    assert found[1] == found[2] == found[3]
