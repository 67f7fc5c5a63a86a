import torch
from banks import places, scene
from hypothesis import given
from hypothesis import strategies as st

from poselens.contrast.class_similarity import comparable_slots
from poselens.contrast.positives import least_similar


@given(
    seed=st.integers(0, 10_000),
    s=st.integers(1, 8),
    count=st.integers(1, 10),
    filled=st.floats(0, 1),
)
def test_the_least_similar_of_the_class_or_all_it_has(seed, s, count, filled):
    made = scene(seed, s=s, filled=filled)
    similarity, comparable = made.similarity, comparable_slots(made.held, made.clips)
    chosen = least_similar(similarity, comparable, made.labels, count=count)
    for i, (label, clip) in enumerate(zip(made.labels.tolist(), made.clips.tolist(), strict=True)):
        found = places(chosen, i)
        there = [j for j, own in enumerate(made.held[label].tolist()) if own not in (-1, clip)]
        assert len(set(found)) == len(found) == min(count, len(there))
        slots = {place - label * s for place in found}
        assert slots <= set(there)
        left = set(there) - slots
        if slots and left:
            values = similarity[i, label]
            assert max(values[list(slots)]) <= min(values[list(left)])


def test_a_rare_class_gives_the_one_it_has():
    held = torch.tensor([[4, -1, -1], [5, 6, 7]])
    similarity = torch.zeros(1, 2, 3)
    comparable = comparable_slots(held, torch.tensor([5]))
    chosen = least_similar(similarity, comparable, torch.tensor([0]), count=128)
    assert places(chosen, 0) == [0]
