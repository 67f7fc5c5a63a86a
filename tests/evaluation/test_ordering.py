import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.evaluation.ordering import confusion_rates, similarity_order


def blocks(sizes, seed, clips=40, noise=0.0):
    """Confusions inside groups of classes, and with ``noise`` also between them."""
    draw = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    same = group[:, None] == group[None]
    shares = np.where(same, draw.uniform(0.05, 0.2, same.shape), noise * draw.random(same.shape))
    np.fill_diagonal(shares, 0.0)
    confusion = np.rint(clips * shares).astype(np.int64)
    np.fill_diagonal(confusion, clips)
    return confusion, group


def runs(values):
    return 1 + int((np.diff(values) != 0).sum())


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 6), min_size=2, max_size=6),
    seed=st.integers(0, 10_000),
    noise=st.sampled_from([0.0, 0.01]),
)
def test_groups_stand_together_however_the_classes_were_numbered(sizes, seed, noise):
    confusion, group = blocks(sizes, seed, clips=200, noise=noise)
    mixed = np.random.default_rng(seed).permutation(len(group))
    order = similarity_order(confusion[np.ix_(mixed, mixed)])
    assert sorted(order) == list(range(len(group)))
    assert runs(group[mixed][order]) == len(sizes)


def test_classes_that_are_confused_come_to_stand_together():
    confusion = 10 * np.eye(6, dtype=np.int64)
    for first, second in ((0, 3), (1, 5), (2, 4)):
        confusion[first, second] = confusion[second, first] = 4
    order = similarity_order(confusion)
    assert sorted(order) == list(range(6))
    for pair in ((0, 3), (1, 5), (2, 4)):
        assert abs(order.index(pair[0]) - order.index(pair[1])) == 1


@pytest.mark.parametrize("size", [1, 2, 5])
def test_without_confusions_the_order_stays(size):
    assert similarity_order(np.eye(size, dtype=np.int64)) == list(range(size))


def test_rates_count_both_ways_and_survive_a_class_without_clips():
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    rates = confusion_rates(confusion)
    assert rates[0, 1] == rates[1, 0] == pytest.approx((2 / 8 + 1 / 4) / 2)
    assert rates.diagonal().tolist() == [0, 0, 0]
    assert rates[2].tolist() == [0, 0, 0]
