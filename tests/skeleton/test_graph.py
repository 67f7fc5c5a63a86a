"""The partition of a layout."""

import numpy as np
import pytest

from poselens.pose.layouts import LAYOUTS
from poselens.skeleton.graph import spatial_partition


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_partition_links_itself_parents_and_children(layout):
    adjacency = spatial_partition(layout)
    for i in range(len(layout)):
        children = [j for j, parent in enumerate(layout.parents) if parent == i and j != i]
        for j in range(len(layout)):
            assert adjacency[0, i, j] == (1.0 if i == j else 0.0)
            inward = j == layout.parents[i] and i != j
            assert adjacency[1, i, j] == (1.0 if inward else 0.0)
            outward = 1 / len(children) if j in children else 0.0
            assert adjacency[2, i, j] == pytest.approx(outward)


def test_rows_are_means_or_nothing():
    for layout in LAYOUTS.values():
        sums = spatial_partition(layout).sum(axis=2)
        assert np.isclose(sums, 0).sum() + np.isclose(sums, 1).sum() == sums.size
