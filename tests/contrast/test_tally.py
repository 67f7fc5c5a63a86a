import numpy as np
import torch
from banks import places, rivals, scene

from poselens.contrast.negatives import class_aware, hard
from poselens.contrast.tally import Tally

SEED = torch.tensor(0)


def filled(made, tally):
    given = rivals(made)
    chosen = [sampler(given, count=5, cap=2, seed=SEED) for sampler in (hard, class_aware)]
    tally.add(made.labels, given.closeness, chosen, slots=made.held.shape[1])
    return given, chosen


def test_a_tally_is_the_count_over_batches():
    tally = Tally(num_classes=4, samplers=("hard", "class-aware"))
    taken = {name: np.zeros((4, 4)) for name in tally.samplers}
    total, compared = np.zeros((4, 4)), np.zeros((4, 4))
    for seed in range(3):
        made = scene(seed, filled=0.4)
        made.held[3] = -1
        given, chosen = filled(made, tally)
        for i, label in enumerate(made.labels.tolist()):
            for name, choice in zip(tally.samplers, chosen, strict=True):
                for place in places(choice, i):
                    taken[name][label, place // 7] += 1
            for other, h in enumerate(given.closeness[i].tolist()):
                if h > float("-inf"):
                    total[label, other] += h
                    compared[label, other] += 1
    read = tally.read()
    assert set(read.taken) == set(taken)
    for name, counts in taken.items():
        np.testing.assert_array_equal(read.taken[name], counts)
        assert not counts.diagonal().any()
    np.testing.assert_array_equal(read.compared, compared)
    assert (compared == 0).any()
    np.testing.assert_array_equal(np.isnan(read.similarity), compared == 0)
    seen = compared > 0
    np.testing.assert_allclose(read.similarity[seen], (total / compared.clip(1))[seen], atol=1e-7)


def test_a_reset_begins_anew_and_a_state_carries_on():
    one, other = (Tally(num_classes=4, samplers=("hard", "class-aware")) for _ in range(2))
    filled(scene(0), one)
    one.reset()
    filled(scene(1), one)
    filled(scene(1), other)
    assert torch.equal(one.sums, other.sums)
    other.load_state_dict(one.state_dict())
    for tally in (one, other):
        filled(scene(2), tally)
    assert torch.equal(one.sums, other.sums)


def test_nothing_added():
    read = Tally(num_classes=2, samplers=("hard",)).read()
    assert not read.taken["hard"].any()
    assert np.isnan(read.similarity).all()
