"""What is stored where, and what is not."""

import numpy as np
import pytest
import torch

from poselens.contrast.memory_bank import fifo_bank, per_sample_bank

LABELS, CLIPS = np.array([2, 0, 0, 2, 2]), np.array([4, 7, 1, 9, 3])


def per_sample():
    return per_sample_bank(labels=LABELS, clips=CLIPS, num_classes=4, dimensions=2)


def entries(*numbers):
    """Features that can be told apart."""
    return torch.tensor([[float(number), 1.0] for number in numbers])


def write(bank, *triples):
    """Write (number, label, clip) triples as one batch."""
    numbers, labels, clips = zip(*triples, strict=True)
    bank.write(entries(*numbers), torch.tensor(labels), torch.tensor(clips))


def content(bank):
    """What a bank holds: (label, clip, number) of each filled slot."""
    return sorted(
        (label, clip, bank.features[label, slot, 0].item())
        for label, row in enumerate(bank.clips.tolist())
        for slot, clip in enumerate(row)
        if clip >= 0
    )


def test_a_slot_per_clip_in_the_row_of_its_class():
    bank = per_sample()
    assert bank.features.shape == (4, 3, 2)
    assert content(bank) == []
    write(bank, *[(10 * c, label, c) for label, c in zip(LABELS, CLIPS, strict=True)])
    assert content(bank) == [
        (0, 1, 10),
        (0, 7, 70),
        (2, 3, 30),
        (2, 4, 40),
        (2, 9, 90),
    ]
    write(bank, (5, 2, 9))
    assert (2, 9, 5) in content(bank)
    assert len(content(bank)) == 5


def test_slots_of_nobody_stay_empty():
    bank = per_sample()
    write(bank, *[(1, label, c) for label, c in zip(LABELS, CLIPS, strict=True)])
    assert (bank.clips >= 0).sum(dim=1).tolist() == [2, 0, 3, 0]
    assert bank.features[bank.clips < 0].abs().max() == 0


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ((1, 1, 7), "mirrored into another class"),
        ((1, 0, 2), "a gap between the training clips"),
        ((1, 0, 0), "before the first training clip"),
        ((1, 2, 10_000), "beyond the last training clip"),
        ((1, -1, 7), "without a class"),
        ((float("nan"), 0, 7), "not finite"),
        ((float("inf"), 0, 7), "not finite"),
    ],
)
def test_what_has_no_slot_of_its_own_is_not_stored(entry, why):
    bank = per_sample()
    before = [(3, 0, 1), (4, 0, 7), (5, 2, 4)]
    write(bank, *before)
    kept = content(bank)
    write(bank, entry)
    assert content(bank) == kept, why
    write(bank, entry, (6, 0, 1), entry)
    assert content(bank) == [(0, 1, 6), (0, 7, 4), (2, 4, 5)], why


def test_the_last_view_of_a_clip_wins_and_a_mirrored_one_does_not():
    bank = per_sample()
    write(bank, (1, 0, 7), (2, 2, 4), (3, 0, 7), (4, 1, 7), (5, 0, 1))
    assert content(bank) == [(0, 1, 5), (0, 7, 3), (2, 4, 2)]


def test_a_ring_keeps_the_latest():
    bank = fifo_bank(num_classes=3, length=3, dimensions=2)
    write(bank, (1, 0, 11), (2, 0, 12))
    assert bank.cursor.tolist() == [2, 0, 0]
    write(bank, (3, 0, 13), (4, 2, 14), (5, 0, 15))
    assert content(bank) == [(0, 12, 2), (0, 13, 3), (0, 15, 5), (2, 14, 4)]
    assert bank.cursor.tolist() == [1, 0, 1]
    write(bank, *[(n, 1, n) for n in range(1, 9)])
    assert [entry for entry in content(bank) if entry[0] == 1] == [(1, 6, 6), (1, 7, 7), (1, 8, 8)]
    assert bank.cursor.tolist() == [1, 2, 1]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_ring_is_the_end_of_a_list(length):
    """However entries are cut into batches."""
    generator = torch.Generator().manual_seed(length)
    bank, seen = fifo_bank(num_classes=2, length=length, dimensions=2), [[], []]
    clip = 0
    for size in (3, 1, 0, 7, 4, 12):
        labels = torch.randint(0, 2, (size,), generator=generator)
        clips = torch.arange(clip, clip + size)
        bank.write(entries(*clips.tolist()) if size else torch.zeros(0, 2), labels, clips)
        for label, each in zip(labels.tolist(), clips.tolist(), strict=True):
            seen[label].append(each)
        clip += size
        expected = [(row, each, each) for row in (0, 1) for each in seen[row][-length:]]
        assert content(bank) == sorted(expected)


def test_a_ring_takes_the_last_view_of_a_batch_and_both_sides_of_a_mirror():
    bank = fifo_bank(num_classes=2, length=4, dimensions=2)
    write(bank, (1, 0, 5), (2, 1, 5), (3, 0, 6), (4, 0, 5), (5, -1, 8), (float("nan"), 0, 6))
    assert content(bank) == [(0, 5, 4), (0, 6, 3), (1, 5, 2)]
    assert bank.cursor.tolist() == [2, 1]
    write(bank, (6, 0, 5))
    assert content(bank) == [(0, 5, 4), (0, 5, 6), (0, 6, 3), (1, 5, 2)]


def test_stored_features_have_no_gradient():
    bank = per_sample()
    features = entries(1, 2).requires_grad_()
    bank.write(features * 2, torch.tensor([0, 2]), torch.tensor([7, 4]))
    assert not bank.features.requires_grad


@pytest.mark.parametrize("kind", ["per-sample", "fifo"])
def test_a_state_carries_on(kind):
    def new():
        return (
            per_sample()
            if kind == "per-sample"
            else fifo_bank(num_classes=4, length=3, dimensions=2)
        )

    one, other = new(), new()
    write(one, (1, 2, 3), (2, 2, 4), (3, 0, 1))
    state = one.state_dict()
    assert set(state) == {"features", "clips", "cursor"}
    other.load_state_dict(state)
    for bank in (one, other):
        write(bank, (4, 2, 9), (5, 2, 3))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_data_set_of_unlabelled_clips_has_an_empty_bank():
    bank = per_sample_bank(
        labels=np.array([-1, -1]), clips=np.array([0, 1]), num_classes=2, dimensions=2
    )
    write(bank, (1, 0, 0), (2, -1, 1))
    assert content(bank) == []
