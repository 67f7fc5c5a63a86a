import json
import os

import pytest
import torch
from torch import nn

from poselens.clips.device import data_processes
from poselens.data.folder import ClipFolder, open_folder
from poselens.errors import InputError
from poselens.training import samples as samples_module
from poselens.training.samples import SKIPPED_FILE, Samples
from poselens.training.state import Progress
from poselens.training.wiring import describe, split

CPU = torch.device("cpu")


class Constant(nn.Module):
    """Scores every clip alike, and counts the batches."""

    def __init__(self):
        super().__init__()
        self.batches = 0

    def forward(self, clips):
        self.batches += 1
        return torch.ones(len(clips), 4)


@pytest.fixture
def samples(tiny_folder, tiny_section, tmp_path):
    def make(branch="rgb", root=None, device=CPU, **training):
        folder = open_folder(root or tiny_folder)
        section = tiny_section(branch, **training)
        parts = split(folder, "p", held_out=section.training.validation == "hold-out")
        return Samples(folder, section, describe(folder, section), parts, tmp_path, device)

    return make


def test_an_epoch_goes_on_where_it_stands(samples):
    whole = samples(epochs=1)
    begun = [batch["id"] for batch in whole.train_batches(Progress(epoch=3), CPU)]
    rest = [batch["id"] for batch in whole.train_batches(Progress(epoch=3, step=1), CPU)]
    assert [len(batch) for batch in begun] == [3, 3, 2]
    assert rest == begun[1:]
    assert sorted(name for batch in begun for name in batch) == [
        f"c{clip:02d}" for clip in range(8)
    ]


def test_a_batch_of_nothing_readable_is_a_step(samples, spoiled):
    made = samples(root=spoiled("c02", "c05"), batch_size=1, max_bad=1.0)
    progress = Progress()
    seen = []
    for batch in made.train_batches(progress, CPU):
        seen.append((progress.step, batch["id"][0]))
        progress.step += 1
    assert progress.step == 8
    assert len(seen) == 6
    assert sorted(progress.skipped) == ["c02", "c05"]
    # each of the others stands where it stood in the whole epoch
    order = [batch["id"][0] for batch in samples(batch_size=1).train_batches(Progress(), CPU)]
    assert [order[step] for step, _ in seen] == [name for _, name in seen]


def test_validation_is_in_order_and_without_augmentation(samples):
    made = samples("skeleton")
    progress = Progress()
    first = made.validate(Constant(), CPU, progress, lambda: False, amp=False)
    assert list(first.ids) == ["c08", "c09", "c10", "c11"]
    assert first.labels.tolist() == [0, 1, 2, 3]
    assert first.stream == "joint"
    assert made.validation_clips == 4


def test_validation_stops_when_asked(samples):
    made = samples("skeleton", batch_size=1)
    network = Constant()
    scored = made.validate(network, CPU, Progress(), lambda: network.batches >= 2, amp=False)
    assert list(scored.ids) == ["c08", "c09"]


def test_clips_of_both_parts_are_counted_against_the_budget(samples, spoiled, tmp_path):
    made = samples(root=spoiled("c01", "c09"), batch_size=1, max_bad=1 / 12)
    progress = Progress()
    assert len(list(made.train_batches(progress, CPU))) == 7
    with pytest.raises(InputError, match=r"2 of 12 clips cannot be read so far \(c01: VID-003"):
        made.validate(Constant(), CPU, progress, lambda: False, amp=False)
    lines = (tmp_path / SKIPPED_FILE).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["c01", "c09"]


def test_the_cores_decide_how_many_workers(samples, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert samples(workers=None)._train.loader.num_workers == data_processes(CPU) > 0
    assert samples(workers=5)._train.loader.num_workers == 5
    assert samples(workers=5)._val.num_workers == 2


def test_a_gpu_makes_of_whole_regions_what_processes_make_for_a_cpu(samples):
    there = samples(device=torch.device("cuda"))
    assert there._train.loader.dataset[0, 0, 1].look is not None
    pairs = zip(
        samples().train_batches(Progress(epoch=1), CPU),
        there.train_batches(Progress(epoch=1), CPU),
        strict=True,
    )
    for here, made in pairs:
        assert made["id"] == here["id"]
        assert torch.equal(made["label"], here["label"])
        assert len(made["inputs"]) == 1
        assert torch.equal(made["inputs"][0], here["inputs"][0])


def test_a_gpu_has_more_processes_but_not_without_end(samples, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    made = samples(workers=None, device=torch.device("cuda"))
    assert (made._train.loader.num_workers, made._val.num_workers) == (16, 8)


@pytest.mark.parametrize(("asked", "expected"), [(None, 6), (0, 0), (1, 1), (5, 5)])
def test_every_core_decodes_regions_unless_a_number_is_asked_for(
    samples, monkeypatch, asked, expected
):
    def cached(*_args, workers):
        used.append(workers)

    used = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(samples_module, "cached_regions", cached)
    samples(workers=asked, cache="disk")
    assert used == [expected]


@pytest.fixture
def without_joints(monkeypatch):
    """Take the joints of some clips away."""

    def spoil(*clips):
        whole = ClipFolder.skeleton
        monkeypatch.setattr(
            ClipFolder,
            "skeleton",
            lambda self, clip, space: None if clip in clips else whole(self, clip, space),
        )

    return spoil


def test_skeletons_go_on_where_they_stand(samples):
    whole = list(samples("skeleton").train_batches(Progress(epoch=3), CPU))
    rest = list(samples("skeleton").train_batches(Progress(epoch=3, step=1), CPU))
    assert [len(batch["id"]) for batch in whole] == [3, 3, 2]
    assert [batch["id"] for batch in rest] == [batch["id"] for batch in whole[1:]]
    for one, other in zip(rest, whole[1:], strict=True):
        assert torch.equal(one["inputs"][0], other["inputs"][0])
        assert torch.equal(one["label"], other["label"])


def test_skeletons_that_cannot_be_read_are_known_before_training(samples, without_joints):
    without_joints(2, 9)
    made = samples("skeleton", max_bad=1.0)
    progress = Progress()
    seen = [name for batch in made.train_batches(progress, CPU) for name in batch["id"]]
    assert sorted(seen) == ["c00", "c01", "c03", "c04", "c05", "c06", "c07"]
    assert progress.skipped.keys() == {"c02", "c09"}
    assert progress.skipped["c02"] == "SKEL-011 c02: the clip has no skeleton"
    assert len(made.batches) == 3
    scored = made.validate(Constant(), CPU, progress, lambda: False, amp=False)
    assert list(scored.ids) == ["c08", "c10", "c11"]


def test_too_many_unreadable_skeletons_stop_a_run_before_it_starts(
    samples, without_joints, tmp_path
):
    without_joints(1, 9)
    samples("skeleton", max_bad=2 / 12)
    with pytest.raises(
        InputError, match=r"2 of 12 clips cannot be read so far \(c01: SKEL"
    ) as caught:
        samples("skeleton", max_bad=1 / 12)
    assert caught.value.code == "DATA-024"
    lines = (tmp_path / SKIPPED_FILE).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["c01", "c09"]


def test_a_run_without_a_skeleton_to_train_on_is_refused(samples, without_joints):
    without_joints(*range(8))
    with pytest.raises(InputError, match="8 of 12 clips cannot be read"):
        samples("skeleton", max_bad=1.0)
