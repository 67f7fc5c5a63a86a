"""Classes that lean towards a stream: what a search over all leanings of one class would find."""

import numpy as np
import pytest

from poselens.fusion.leaning import FURTHEST, lean


def made_up(seed, clips=120, classes=4, missing=0.0):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, clips)
    logits = draw.normal(0, 1, (2, clips, classes)) + 1.2 * np.eye(classes)[labels]
    # the second stream knows class 0, the first does not
    logits[0, labels == 0] = draw.normal(0, 1, ((labels == 0).sum(), classes))
    logits[1, labels == 0, 0] += 3
    shares = np.exp(logits)
    shares = (shares / shares.sum(axis=2, keepdims=True)).astype(np.float32)
    mask = draw.random((2, clips)) >= missing
    mask[0] |= ~mask.any(axis=0)
    shares[~mask] = 0.0
    return shares, mask, labels


def right(shares, mask, labels, table):
    count = 0
    for clip, label in enumerate(labels):
        there = np.flatnonzero(mask[:, clip])
        fused = (table[there] * shares[there, clip]).sum(axis=0) / table[there].sum(axis=0)
        count += int(fused.argmax() == label)
    return count


def price(table, shared):
    return (shared[:, None] * np.log(shared[:, None] / table)).sum()


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_gained_is_worth_its_price(seed, missing):
    shares, mask, labels = made_up(seed, missing=missing)
    shared = np.array([0.8, 0.2])
    plain = np.repeat(shared[:, None], 4, axis=1)
    table = lean(shares, mask, labels, shared, 3.0)
    np.testing.assert_allclose(table.sum(axis=0), 1, atol=1e-6)
    assert table.min() >= 0
    before, after = right(shares, mask, labels, plain), right(shares, mask, labels, table)
    assert after - 3.0 * price(table, shared) >= before - 1e-3
    assert after > before


def test_one_class_leans_as_far_as_a_fine_grid_says():
    shares, mask, labels = made_up(7)
    # only class 0 has clips that are judged differently
    keep = np.flatnonzero(labels == 0)
    shares, mask, labels = shares[:, keep], mask[:, keep], labels[keep]
    shared = np.array([0.9, 0.1])
    table = lean(shares, mask, labels, shared, 2.0)
    plain = np.repeat(shared[:, None], 4, axis=1)
    np.testing.assert_allclose(table[:, 1:], plain[:, 1:], atol=1e-6)

    def value(reach, stream):
        leaning = plain.copy()
        leaning[:, 0] = (1 - reach) * shared
        leaning[stream, 0] += reach
        return right(shares, mask, labels, leaning) - 2.0 * price(leaning, shared)

    best = max(value(reach, stream) for reach in np.linspace(0, FURTHEST, 901) for stream in (0, 1))
    mine = right(shares, mask, labels, table) - 2.0 * price(table, shared)
    # the middle of a stretch costs a little more than its beginning
    assert mine >= best - 0.5


def test_a_high_price_and_a_single_stream_change_nothing():
    shares, mask, labels = made_up(1)
    shared = np.array([0.6, 0.4])
    kept = lean(shares, mask, labels, shared, 1e6)
    np.testing.assert_allclose(kept, np.repeat(shared[:, None], 4, axis=1), atol=1e-6)
    alone = lean(shares[:1], mask[:1] | True, labels, np.ones(1), 1.0)
    assert alone.tolist() == [[1.0] * 4]


def test_it_is_deterministic():
    shares, mask, labels = made_up(2)
    first, second = (lean(shares, mask, labels, np.array([0.5, 0.5]), 2.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
