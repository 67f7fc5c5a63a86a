"""What is made ready ahead is what would have been made when asked for."""

import time

import pytest
import torch
from torch.utils.data import Dataset

from poselens.clips.ahead import Onwards, moved_ahead
from poselens.clips.assemble import Sample
from poselens.clips.batches import EpochBatches, loaded, make_loader, to_device
from poselens.errors import UsageError


class Marked(Dataset):
    """Samples that say which key they are, and leave a file that says they were made."""

    def __init__(self, folder):
        self.folder = folder

    def __getitem__(self, key):
        (self.folder / "-".join(map(str, key))).touch()
        return Sample((torch.tensor(key),), key[2], key[2], "-".join(map(str, key)))


class Wrong(Marked):
    def __getitem__(self, key):
        return UsageError("CFG-021", "unknown stream")


def order(clips=8):
    return EpochBatches(range(clips), batch_size=3, seed=5, repeats=2)


def begun_anew(folder, epochs, *, workers):
    """Each epoch by an iterator of its own."""
    batches = order()
    loader = make_loader(Marked(folder), batches, workers=workers)
    found = []
    for epoch in range(epochs):
        batches.epoch = epoch
        found.append([batch["id"] for batch in loaded(loader)])
    return found


def onwards(folder, epochs, *, workers=0, kind=Marked):
    batches = order()
    loader = make_loader(kind(folder), batches, workers=workers)
    return Onwards(loader, batches, epochs=epochs)


def ids(source, epoch, step=0):
    source.go_to(epoch, step)
    return [batch["id"] for batch in source]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_is_that_of_epochs_begun_anew(tmp_path, workers):
    expected = begun_anew(tmp_path, 3, workers=0)
    source = onwards(tmp_path, 3, workers=workers)
    assert [ids(source, epoch) for epoch in range(3)] == expected
    assert len(set(map(str, expected))) == 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("epoch", "step"), [(0, 4), (1, 0), (1, 5), (2, 1)])
def test_it_begins_anywhere_and_goes_on(tmp_path, workers, epoch, step):
    expected = begun_anew(tmp_path, 3, workers=0)
    source = onwards(tmp_path, 3, workers=workers)
    assert ids(source, epoch, step) == expected[epoch][step:]
    assert [ids(source, each) for each in range(epoch + 1, 3)] == expected[epoch + 1 :]


@pytest.mark.parametrize("workers", [0, 2])
def test_going_elsewhere_begins_there(tmp_path, workers):
    expected = begun_anew(tmp_path, 2, workers=0)
    source = onwards(tmp_path, 2, workers=workers)
    source.go_to(0, 0)
    halfway = iter(source)
    assert [next(halfway)["id"] for _ in range(2)] == expected[0][:2]
    halfway.close()
    assert ids(source, 0, 2) == expected[0][2:]  # where it stands
    assert ids(source, 0, 1) == expected[0][1:]
    assert ids(source, 5) == [  # beyond the end that was announced
        [f"5-{repeat}-{clip}" for _, repeat, clip in keys] for keys in order_of(5)
    ]


def order_of(epoch):
    batches = order()
    batches.epoch = epoch
    return list(batches)


def test_processes_read_for_the_next_epoch_while_nobody_asks(tmp_path):
    source = onwards(tmp_path, 2, workers=1)
    ids(source, 0)
    until = time.monotonic() + 30
    while not list(tmp_path.glob("1-*")):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_nothing_is_read_beyond_the_last_epoch(tmp_path):
    source = onwards(tmp_path, 2, workers=1)
    for epoch in range(2):
        ids(source, epoch)
    del source  # ends the processes: what they were asked for is there now
    assert len(list(tmp_path.iterdir())) == 2 * 16


def test_a_fault_is_raised_and_leaves_nothing_to_go_on_from(tmp_path):
    source = onwards(tmp_path, 2, kind=Wrong)
    for _ in range(2):
        with pytest.raises(UsageError, match="unknown stream"):
            ids(source, 0)


def test_on_a_cpu_no_batch_is_read_before_it_is_asked_for(tmp_path):
    given = []

    def batches():
        for number in range(3):
            given.append(number)
            yield {"inputs": (torch.zeros(1),), "label": torch.tensor([number])}

    moved = moved_ahead(batches(), torch.device("cpu"), None)
    for number in range(3):
        assert next(moved)["label"].tolist() == [number]
        assert given == list(range(number + 1))
    assert list(moved) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_is_copied_beside_a_step_is_what_is_copied_before_it():
    """Five batches that a slow kernel of the network's stream reads while the next is copied."""
    cuda = torch.device("cuda")
    shape = (2, 4, 3, 64, 64)
    batches = [
        {
            "inputs": (torch.randint(0, 256, shape, dtype=torch.uint8).pin_memory(),),
            "label": torch.tensor([key, key + 1]).pin_memory(),
            "id": [str(key)],
        }
        for key in range(5)
    ]
    found, heavy = [], torch.randn(2048, 2048, device=cuda)
    for batch in moved_ahead(batches, cuda, None):
        for _ in range(20):
            heavy = torch.tanh(heavy @ heavy)
        found.append((batch["id"], batch["inputs"][0] + 0, batch["label"] + 0))
        del batch
    assert [name for name, _, _ in found] == [batch["id"] for batch in batches]
    for (_, pixels, label), batch in zip(found, batches, strict=True):
        plain = to_device(batch, cuda)
        assert torch.equal(pixels, plain["inputs"][0])
        assert torch.equal(label, plain["label"])
