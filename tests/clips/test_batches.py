import contextlib
import gc
import os
import shutil
import signal
import subprocess
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poselens.clips.assemble import RgbClips, Sample, SkippedClip
from poselens.clips.batches import (
    EpochBatches,
    balanced_order,
    collate,
    loaded,
    make_loader,
    memory_faults_named,
    pieces_of,
    places_of,
    share_of,
    to_device,
)
from poselens.clips.stream import RgbAugment, RgbInput
from poselens.data.folder import open_folder
from poselens.errors import EnvironmentFault, UsageError

RGB = RgbInput(segments=2, snippet_length=3, scale=36, size=32)


def varied(root):
    folder = open_folder(root)
    return RgbClips(folder, settings=RGB, augment=RgbAugment(brightness=0.3), seed=5)


class Wrong(RgbClips):
    """Meets a setting that is found wrong late."""

    def __getitem__(self, key):
        return UsageError("CFG-021", "unknown stream 'bnoe'; did you mean 'bone'?")


def wrong(root):
    return Wrong(open_folder(root), settings=RGB, augment=None, seed=0)


def epochs(clips, *, workers, epochs=2, first_step=0, **options):
    batches = EpochBatches(range(8), batch_size=3, seed=5, **options)
    loader = make_loader(clips, batches, workers=workers)
    seen = []
    for epoch in range(epochs):
        batches.epoch, batches.first_step = epoch, first_step if epoch == 0 else 0
        seen.extend(loaded(loader))
    return seen


def same(one, other):
    return (
        one["id"] == other["id"]
        and torch.equal(one["label"], other["label"])
        and torch.equal(one["index"], other["index"])
        and all(map(torch.equal, one["inputs"], other["inputs"]))
    )


def test_batches_are_equal_whatever_the_number_of_workers(tiny_folder):
    clips = varied(tiny_folder)
    alone = epochs(clips, workers=0, repeats=2)
    shared = epochs(clips, workers=2, repeats=2)
    assert len(alone) == len(shared) == 12
    assert all(map(same, alone, shared))
    assert not same(alone[0], alone[6])


@pytest.mark.parametrize("workers", [0, 2])
def test_persistent_workers_go_on_in_mid_epoch(tiny_folder, workers):
    clips = varied(tiny_folder)
    whole = epochs(clips, workers=0)
    resumed = epochs(clips, workers=workers, first_step=2)
    assert len(resumed) == 4
    assert all(map(same, whole[2:], resumed))


def test_every_clip_comes_once_a_repeat_in_another_order_each_epoch():
    batches = EpochBatches(np.array([4, 7, 9, 11, 12]), batch_size=2, seed=1, repeats=3)
    assert len(batches) == 8
    seen = []
    for epoch in (0, 1):
        batches.epoch = epoch
        keys = [key for batch in batches for key in batch]
        assert sorted(keys) == [(epoch, r, c) for r in range(3) for c in (4, 7, 9, 11, 12)]
        seen.append([key[1:] for key in keys])
    assert seen[0] != seen[1]
    other = EpochBatches([4, 7, 9, 11, 12], batch_size=2, seed=2, repeats=3)
    assert [key[1:] for batch in other for key in batch] != seen[0]


@given(
    labels=st.lists(st.sampled_from([0, 1, 2, 5]), min_size=1, max_size=40),
    count=st.integers(0, 120),
    seed=st.integers(0, 2**63),
)
def test_a_balanced_epoch_has_every_class_and_its_clips_equally_often(labels, count, seed):
    labels = np.array(labels)
    repeat, place = balanced_order(labels, count, (seed, 3))
    assert len(repeat) == len(place) == count
    again = balanced_order(labels, count, (seed, 3))
    assert np.array_equal(repeat, again[0])
    assert np.array_equal(place, again[1])
    of_class = [np.count_nonzero(labels[place] == label) for label in np.unique(labels)]
    assert max(of_class) - min(of_class) <= 1
    for label in np.unique(labels):
        of_clip = [np.count_nonzero(place == clip) for clip in np.flatnonzero(labels == label)]
        assert max(of_clip) - min(of_clip) <= 1
    # no two views of an epoch are one view
    assert len(set(zip(repeat.tolist(), place.tolist(), strict=True))) == count


def test_in_a_balanced_epoch_classes_are_equal_in_expectation_and_orders_differ():
    """Ten places for three classes: each has the fourth place in a third of the epochs."""
    labels = np.array([0] * 7 + [1] * 2 + [2])
    drawn = [balanced_order(labels, 10, (1, epoch))[1] for epoch in range(600)]
    counts = np.array([np.bincount(labels[place], minlength=3) for place in drawn])
    assert sorted(set(counts.flatten())) == [3, 4]
    assert np.abs((counts == 4).mean(0) - 1 / 3).max() < 0.06
    # clips of the large class come and go
    seen = np.array([np.bincount(place, minlength=10) for place in drawn])[:, :7]
    assert np.abs(seen.mean(0) - 10 / 3 / 7).max() < 0.06
    assert len({tuple(place) for place in drawn}) == 600


def test_balanced_batches_keep_the_number_of_places():
    labels = np.array([0, 0, 0, 0, 1])
    batches = EpochBatches([4, 7, 9, 11, 12], batch_size=2, seed=1, repeats=2)
    batches.balance(labels)
    batches.epoch = 6
    keys = [key for batch in batches for key in batch]
    assert len(keys) == 10
    assert len(batches) == 5
    assert {key[0] for key in keys} == {6}
    assert sum(key[2] == 12 for key in keys) == 5
    assert sorted(key[1] for key in keys if key[2] == 12) == [0, 1, 2, 3, 4]


def test_evaluation_keeps_the_order():
    batches = EpochBatches([4, 7, 9], batch_size=2, shuffle=False)
    assert list(batches) == [[(0, 0, 4), (0, 0, 7)], [(0, 0, 9)]]


def test_a_position_that_changes_under_way_does_not_change_the_batches():
    batches = EpochBatches(range(4), batch_size=1, shuffle=False)
    given = iter(batches)
    first = next(given)
    batches.epoch = 9
    assert [first, *given] == [[(0, 0, clip)] for clip in range(4)]


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_draws_nothing_from_torchs_generator(tiny_folder, workers):
    clips = varied(tiny_folder)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    epochs(clips, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("inside", [True, False])
def test_a_data_process_stacks_where_the_parent_reads(monkeypatch, inside):
    monkeypatch.setattr("torch.utils.data.get_worker_info", lambda: "one" if inside else None)
    samples = [Sample((torch.full((2,), clip),), 1, clip, "g") for clip in range(3)]
    (stacked,) = collate(samples)["inputs"]
    assert stacked.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert stacked.is_shared() is inside


def test_collate_puts_skipped_clips_beside_the_batch():
    good = Sample((torch.ones(2), torch.zeros(3)), 1, 7, "g")
    bad = SkippedClip("b", "VID-003 b: no video")
    batch = collate([bad, good, good])
    assert [tuple(tensor.shape) for tensor in batch["inputs"]] == [(2, 2), (2, 3)]
    assert batch["id"] == ["g", "g"]
    assert batch["label"].tolist() == [1, 1]
    assert batch["index"].tolist() == [7, 7]
    assert batch["skipped"] == [bad]
    assert batch["fault"] is None
    nobody = collate([bad])
    assert (nobody["inputs"], nobody["id"], nobody["skipped"]) == ((), [], [bad])


@pytest.mark.parametrize("workers", [0, 1])
def test_one_broken_video_is_told_and_the_rest_go_on(tiny_folder, tmp_path, workers):
    root = shutil.copytree(tiny_folder, tmp_path / "data")
    (root / "videos" / "c03.mp4").write_bytes(b"not a video")
    batches = epochs(varied(root), workers=workers, epochs=1)
    assert sorted(name for batch in batches for name in batch["id"]) == [
        f"c{clip:02d}" for clip in range(8) if clip != 3
    ]
    skipped = [clip for batch in batches for clip in batch["skipped"]]
    assert [clip.id for clip in skipped] == ["c03"]
    assert skipped[0].reason.startswith("VID-003")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_setting_comes_out_of_a_worker_as_itself(tiny_folder, workers):
    clips = wrong(tiny_folder)
    with pytest.raises(UsageError, match="unknown stream 'bnoe'; did you mean 'bone'"):
        epochs(clips, workers=workers)


def test_a_fault_lets_the_workers_go(tiny_folder):
    """Without waiting for the collector of circles, which would come upon half a loader."""
    loader = make_loader(wrong(tiny_folder), EpochBatches(range(8), batch_size=2), workers=1)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(UsageError):
            for _ in loaded(loader):
                pytest.fail("a batch")
        (worker,) = loader._iterator._workers
        assert worker.is_alive()
        del loader
        assert not worker.is_alive()
    finally:
        gc.enable()


def test_workers_leave_signals_to_the_parent(tiny_folder):
    batches = EpochBatches(range(8), batch_size=2, seed=5)
    loader = make_loader(varied(tiny_folder), batches, workers=1)
    given = iter(loaded(loader))
    seen = [next(given)]
    (worker,) = loader._iterator._workers
    # as Ctrl-C or a scheduler would: not the parent itself
    subprocess.run(["kill", "-INT", str(worker.pid)], check=True)
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    seen.extend(given)
    assert [len(batch["id"]) for batch in seen] == [2, 2, 2, 2]
    assert worker.is_alive()
    worker.terminate()
    worker.join(10)
    assert not worker.is_alive()


def test_a_killed_worker_is_named(tiny_folder):
    batches = EpochBatches(range(8), batch_size=2, seed=5)
    loader = make_loader(varied(tiny_folder), batches, workers=1)

    def run():
        with memory_faults_named(2):
            for _ in loaded(loader):
                os.kill(loader._iterator._workers[0].pid, signal.SIGKILL)
                time.sleep(0.2)

    with pytest.raises(EnvironmentFault, match=r"data process was killed.*--resume") as caught:
        run()
    assert caught.value.code == "ENV-011"


class Deadly(RgbClips):
    """Kills the process that reads one of the clips, as the kernel does when memory runs out."""

    def __getitem__(self, key):
        if key[2] == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(key)


def test_the_clip_that_killed_a_worker_is_named(tiny_folder):
    folder = open_folder(tiny_folder)
    clips = Deadly(folder, settings=RGB, augment=None, seed=0)
    loader = make_loader(clips, EpochBatches(range(8), batch_size=4, shuffle=False), workers=2)

    def run():
        for _ in loaded(loader):
            time.sleep(0)

    with pytest.raises(EnvironmentFault, match="clip c05: a data process was killed") as caught:
        run()
    assert (caught.value.code, caught.value.where) == ("ENV-011", "clip c05")


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: out of memory", 2),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_full_gpu_is_named_whoever_wanted_its_memory(fault):
    with (
        pytest.raises(EnvironmentFault, match=r"full with 64 clips.*batch_size=32") as caught,
        memory_faults_named(64),
    ):
        raise fault
    assert caught.value.code == "ENV-012"


def test_faults_that_are_not_the_memorys_are_left_alone():
    with pytest.raises(RuntimeError, match="size mismatch"), memory_faults_named(64):
        raise RuntimeError("size mismatch")


def test_pictures_are_normalised_with_imagenets_numbers():
    picture = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 3, 1, 1)
    batch = {"inputs": (picture,), "label": torch.tensor([2]), "id": ["a"]}
    moved = to_device(batch, torch.device("cpu"))
    expected = [
        (value / 255 - mean) / deviation
        for value, mean, deviation in zip(
            (0, 128, 255), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True
        )
    ]
    assert moved["inputs"][0].flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert moved["id"] == ["a"]
    joints = torch.tensor([[float("nan"), 1.5]])
    moved = to_device({"inputs": (joints,), "label": torch.tensor([0])}, torch.device("cpu"))
    torch.testing.assert_close(moved["inputs"][0], joints, equal_nan=True)


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_over_epochs(tiny_folder):
    batches = EpochBatches(range(8), batch_size=3, seed=5)
    loader = make_loader(varied(tiny_folder), batches, workers=0)

    def run(first, last):
        for epoch in range(first, last):
            batches.epoch = epoch
            for batch in loaded(loader):
                assert batch["id"]
        gc.collect()

    run(0, 3)
    tracemalloc.start()
    try:
        run(3, 5)
        python, resident = tracemalloc.get_traced_memory()[0], resident_bytes()
        run(5, 15)
        # ten epochs decode 80 clips of 24 kB each: 2 MB, were they all kept
        assert tracemalloc.get_traced_memory()[0] - python < 100_000
        assert resident_bytes() - resident < 8_000_000
    finally:
        tracemalloc.stop()


@given(st.integers(0, 70), st.integers(1, 9))
def test_parts_are_the_whole_in_order(count, parts):
    taken = [list(range(count)[share_of(count, (part, parts))]) for part in range(parts)]
    assert [place for part in taken for place in part] == list(range(count))
    sizes = list(map(len, taken))
    assert max(sizes) - min(sizes) <= 1


def test_every_part_has_as_many_batches():
    whole = list(EpochBatches(range(7), batch_size=3, seed=5))
    parts = [list(EpochBatches(range(7), batch_size=3, seed=5, share=(r, 2))) for r in (0, 1)]
    assert [len(part) for part in parts] == [3, 3]
    assert [one + other for one, other in zip(*parts, strict=True)] == whole
    assert parts[0][-1] == []


@given(count=st.integers(0, 40), parts=st.integers(1, 5), size=st.integers(1, 9))
def test_shares_of_micro_batches_are_the_micro_batches(count, parts, size):
    """Piece by piece, the shares of all ranks are the piece that one process would compute."""
    pieces = pieces_of(count, size)
    assert [place for piece in pieces for place in range(count)[piece]] == list(range(count))
    assert all(piece.stop - piece.start <= size for piece in pieces)
    own = [list(np.arange(count)[places_of(count, (part, parts, size))]) for part in range(parts)]
    assert sorted(place for places in own for place in places) == list(range(count))
    for piece in pieces:
        inside = set(range(count)[piece])
        lengths = [len(inside.intersection(places)) for places in own]
        assert sum(lengths) == len(inside)
        assert max(lengths) - min(lengths) <= 1


def test_ranks_read_their_share_of_each_micro_batch():
    whole = list(EpochBatches(range(7), batch_size=6, seed=5))
    parts = [list(EpochBatches(range(7), batch_size=6, seed=5, share=(r, 2, 3))) for r in (0, 1)]
    for batch, one, other in zip(whole, *parts, strict=True):
        if len(batch) == 6:
            assert one == [batch[0], batch[3]]
            assert other == [batch[1], batch[2], batch[4], batch[5]]
        else:
            assert one + other == batch
