import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from poselens.data.folds import cut_in_time, deal_folds, joined
from poselens.errors import UsageError

clips = st.lists(
    st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 3)), min_size=1, max_size=60
)


def drawn(clips, groups, classes, seed=0):
    draw = np.random.default_rng(seed)
    names = [f"g{group}" for group in draw.integers(groups, size=clips)]
    return names, draw.integers(classes, size=clips)


def deviation(labels, fold_of, folds):
    """Largest distance of a class's share in a fold from one F-th."""
    total = np.bincount(labels)
    shares = [
        np.bincount(labels[fold_of == fold], minlength=len(total)) / total for fold in range(folds)
    ]
    return np.abs(np.array(shares) - 1 / folds).max()


@given(clips, st.integers(2, 5), st.integers(0, 3))
def test_groups_stay_whole_and_every_fold_has_one(found, folds, seed):
    groups, labels = zip(*found, strict=True)
    if len(set(groups)) < folds:
        with pytest.raises(UsageError, match=rf"group\(s\) .* for {folds} folds"):
            deal_folds(groups, labels, folds, seed=seed)
        return
    fold_of = deal_folds(groups, labels, folds, seed=seed)
    assert set(fold_of.tolist()) == set(range(folds))
    for group in set(groups):
        inside = {fold for fold, name in zip(fold_of, groups, strict=True) if name == group}
        assert len(inside) == 1
    sizes = [
        len({g for g, fold in zip(groups, fold_of, strict=True) if fold == f}) for f in range(folds)
    ]
    assert max(sizes) - min(sizes) <= 1


@given(clips, st.randoms())
def test_the_order_of_clips_plays_no_part(found, random):
    if len({group for group, _ in found}) < 3:
        return
    places = list(range(len(found)))
    random.shuffle(places)
    groups, labels = zip(*found, strict=True)
    once = deal_folds(groups, labels, 3)
    again = deal_folds([groups[i] for i in places], [labels[i] for i in places], 3)
    assert once[places].tolist() == again.tolist()


@pytest.mark.parametrize(
    ("size", "groups", "classes", "folds"), [(2000, 30, 10, 5), (5000, 100, 20, 5)]
)
def test_classes_are_more_even_than_by_chance(size, groups, classes, folds):
    names, labels = drawn(size, groups, classes)
    mine = deviation(labels, deal_folds(names, labels, folds), folds)
    naive = []
    for seed in range(20):
        fold = dict(
            zip(sorted(set(names)), np.random.default_rng(seed).integers(folds, size=groups),
                strict=False)
        )  # fmt: skip
        naive.append(deviation(labels, np.array([fold[name] for name in names]), folds))
    assert mine < 0.5 * np.median(naive)
    assert mine < 0.06


def test_a_clip_more_moves_few():
    names, labels = drawn(3000, 60, 10)
    before = deal_folds(names, labels, 5)
    moved = []
    for extra in range(12):
        after = deal_folds([*names, names[extra]], [*labels, labels[-extra - 1]], 5)[:-1]
        met = np.zeros((5, 5))
        np.add.at(met, (before, after), 1)
        kept = met[linear_sum_assignment(-met)].sum()
        moved.append(1 - kept / len(names))
    # folds drawn anew would keep a fifth
    assert np.median(moved) < 0.15
    assert np.mean(moved) < 0.25


def test_another_seed_gives_other_folds():
    names, labels = drawn(300, 30, 4)
    one, other = (deal_folds(names, labels, 3, seed=seed) for seed in (0, 1))
    assert one.tolist() != other.tolist()


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["", "x", "y", "z"])),
        max_size=15,
    )
)
def test_joined_clips_share_a_chain_of_values(found):
    columns = [[one for one, _ in found], [other for _, other in found]]
    groups = joined(columns)
    # spread the smallest number of a neighbour until nothing changes
    number = list(range(len(found)))
    for _ in found:
        for i, (a, x) in enumerate(found):
            for j, (b, y) in enumerate(found):
                if (a and a == b) or (x and x == y):
                    number[i] = number[j] = min(number[i], number[j])
    for i, one in enumerate(found):
        assert (groups[i] == "") == (one == ("", ""))
        for j, other in enumerate(found):
            if one != ("", "") and other != ("", ""):
                assert (groups[i] == groups[j]) == (number[i] == number[j])


def test_one_column_gives_its_values():
    assert joined([["b", "", "a"]]) == ["b", "", "a"]


spans = st.lists(
    st.tuples(st.sampled_from(["r", "s"]), st.integers(0, 40), st.integers(1, 6)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200)
@given(spans, st.sampled_from([0.0, 0.2]), st.sampled_from([0.0, 1.0, 2.5]))
def test_parts_of_a_recording_follow_one_another_with_the_gap_between(found, val, gap):
    names = [name for name, _, _ in found]
    times = np.array([(start, start + length) for _, start, length in found], float).T
    parts = cut_in_time(names, times, val=val, test=0.2, gap_s=gap)
    assert set(parts) <= {"train", "val", "test", None}
    assert val > 0 or "val" not in parts
    order = ["train", "val", "test"]
    for i, one in enumerate(parts):
        for j, other in enumerate(parts):
            if None in (one, other) or names[i] != names[j]:
                continue
            if order.index(one) < order.index(other):
                assert times[1, i] + gap <= times[0, j]


def test_recordings_are_cut_by_shares_and_borders_left_out():
    times = np.array([(2.0 * n, 2.0 * n + 2) for n in range(10)]).T
    assert cut_in_time(["r"] * 10, times, val=0.2, test=0.2, gap_s=0) == (
        ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    )
    assert cut_in_time(["r"] * 10, times, val=0.2, test=0.2, gap_s=1) == (
        ["train"] * 5 + [None, "val", None] + ["test"] * 2
    )


def test_clips_without_times_are_left_out_where_there_are_others():
    times = np.array([(0, 1), (1, 2), (2, 3), (np.nan, 1), (5, np.nan)], float).T
    names = ["r", "r", "r", "r", "alone"]
    parts = cut_in_time(names, times, val=0.2, test=0.2, gap_s=0)
    assert parts == ["train", "val", "test", None, "train"]
