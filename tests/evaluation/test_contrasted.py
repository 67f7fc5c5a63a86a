import numpy as np
import pytest

from poselens.evaluation.contrasted import (
    ContrastHistory,
    Rival,
    rivals,
    similar_together,
    strongest_pairs,
    symmetric,
)


def history(similarity, taken, sampler="class-aware"):
    similarity = np.asarray(similarity, np.float64)
    classes = [f"c{index}" for index in range(similarity.shape[1])]
    epochs = list(range(1, len(similarity) + 1))
    return ContrastHistory("joint", classes, epochs, similarity, {sampler: np.asarray(taken)})


def planted(groups, size, seed=0):
    """Similarities in which the members of each group look alike, in one direction more."""
    draw = np.random.default_rng(seed)
    matrix = draw.uniform(-0.2, 0.1, (size, size))
    for group in groups:
        for one in group:
            for other in group:
                matrix[one, other] = 0.8 + 0.1 * (one < other)
    return matrix


def test_two_confusable_groups_come_to_stand_together():
    groups = [(0, 4, 7), (2, 5, 9)]
    order = similar_together(planted(groups, 10))
    assert sorted(order) == list(range(10))
    for group in groups:
        places = sorted(order.index(member) for member in group)
        assert places == list(range(places[0], places[0] + 3))


def test_classes_that_met_none_stand_behind_the_others():
    matrix = planted([(0, 3), (1, 4)], 6)
    matrix[[2, 5]] = matrix[:, [2, 5]] = np.nan
    order = similar_together(matrix)
    assert order[4:] == [2, 5]
    assert abs(order.index(0) - order.index(3)) == abs(order.index(1) - order.index(4)) == 1


def test_a_pair_that_never_met_does_not_stand_together():
    matrix = planted([(0, 1), (2, 3)], 4)
    matrix[0, 2] = matrix[2, 0] = np.nan
    order = similar_together(matrix)
    assert {order[0], order[1]} in ({0, 1}, {2, 3})


@pytest.mark.parametrize("size", [1, 2])
def test_one_or_two_classes_keep_their_order(size):
    assert similar_together(np.ones((size, size))) == list(range(size))


def test_without_any_comparison_the_order_stays():
    assert similar_together(np.full((5, 5), np.nan)) == list(range(5))


def test_of_two_directions_the_known_one_counts():
    mean = symmetric(np.array([[1.0, 0.2, np.nan], [0.4, 1.0, np.nan], [0.6, np.nan, 1.0]]))
    np.testing.assert_allclose(
        mean, [[np.nan, 0.3, 0.6], [0.3, np.nan, np.nan], [0.6, np.nan, np.nan]]
    )


def test_rivals_are_those_that_gave_most_negatives():
    taken = [[0, 10, 60, 30, 0], [0] * 5, [5, 0, 0, 0, 0], [1, 1, 1, 0, 1], [2, 0, 0, 6, 0]]
    similarity = np.full((5, 5), 0.5)
    found = rivals(history([similarity], [taken]))
    assert [rival.name for rival in found["c0"]] == ["c2", "c3", "c1"]
    assert found["c0"][0] == Rival("c2", 0.6, 0.5)
    assert found["c1"] == []
    assert [rival.name for rival in found["c2"]] == ["c0"]
    assert len(found["c3"]) == 3


def test_among_nearly_equal_shares_the_similar_come_first():
    taken = [[0, 640, 639, 630, 100]] * 5
    similarity = [[1.0, -0.2, 0.1, 0.7, 0.9]] * 5
    (first, *others) = rivals(history([similarity], [taken]), top=4)["c0"]
    assert (first.name, first.similarity) == ("c3", 0.7)
    assert [rival.name for rival in others] == ["c2", "c1", "c4"]


def test_a_rival_never_compared_has_no_similarity():
    found = rivals(history([[[np.nan] * 2] * 2], [[[0, 1], [1, 0]]], sampler="random"))
    assert found["c0"] == [Rival("c1", 1.0, None)]


def test_shares_of_a_row_sum_to_one_and_class_aware_is_preferred():
    similarity = np.zeros((1, 2, 2))
    taken = {"random": np.array([[[0, 3], [1, 0]]]), "class-aware": np.array([[[0, 8], [0, 0]]])}
    both = ContrastHistory("joint", ["a", "b"], [1], similarity, taken)
    assert both.sampler == "class-aware"
    np.testing.assert_array_equal(both.shares[0], [[0, 1], [np.nan, np.nan]])
    alone = ContrastHistory("joint", ["a", "b"], [1], similarity, {"random": taken["random"]})
    assert alone.sampler == "random"


def test_the_strongest_pairs_are_of_the_end_and_of_the_start():
    first, last = (np.zeros((6, 6)) for _ in range(2))
    first[4, 5] = first[5, 4] = 0.9
    for place, pair in enumerate([(0, 1), (2, 3), (0, 2), (1, 3)]):
        last[pair] = last[pair[::-1]] = 0.8 - 0.1 * place
    pairs = strongest_pairs(history([first, last], np.zeros((2, 6, 6), np.int64)))
    assert pairs[:4] == [(0, 1), (2, 3), (0, 2), (1, 3)]
    assert (4, 5) in pairs
    assert len(pairs) == len(set(pairs)) == 6


@pytest.mark.parametrize(("size", "count"), [(1, 0), (2, 1), (3, 3), (40, 6)])
def test_there_are_no_more_pairs_than_classes_make(size, count):
    similarity = np.random.default_rng(0).uniform(-1, 1, (3, size, size))
    assert len(strongest_pairs(history(similarity, np.zeros((3, size, size))))) == count
