import torch
from banks import scene
from hypothesis import given
from hypothesis import strategies as st

from poselens.contrast.class_similarity import class_similarity, comparable_slots


def test_an_anchors_own_clip_counts_in_no_row():
    held = torch.tensor([[5, -1, 6], [5, 7, 5]])
    assert comparable_slots(held, torch.tensor([5, 8])).tolist() == [
        [[False, False, True], [False, True, False]],
        [[True, False, True], [True, True, True]],
    ]


def test_a_class_without_a_slot_is_minus_infinity():
    similarity = torch.tensor([[[0.5, 0.7], [0.1, 0.9], [0.3, 0.3]]])
    comparable = torch.tensor([[[True, True], [False, True], [False, False]]])
    found = class_similarity(similarity, comparable)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.9, float("-inf")]]))


@given(seed=st.integers(0, 10_000), filled=st.floats(0, 1))
def test_the_order_of_entries_does_not_matter(seed, filled):
    made = scene(seed, filled=filled)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    comparable = comparable_slots(made.held, made.clips)
    found = class_similarity(made.similarity, comparable)
    again = class_similarity(made.similarity[:, :, order], comparable[:, :, order])
    torch.testing.assert_close(found, again)
