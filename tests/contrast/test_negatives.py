"""Properties of the samplers, whatever the batch and the bank."""

from dataclasses import replace

import pytest
import torch
from banks import places, rivals, scene
from hypothesis import given
from hypothesis import strategies as st

from poselens.contrast.negatives import class_aware, hard, random

SAMPLERS = {"hard": hard, "random": random, "class-aware": class_aware}
SEED = torch.tensor(3)

sampler_names = st.sampled_from(sorted(SAMPLERS))
scenes = st.builds(
    scene,
    st.integers(0, 10_000),
    n=st.integers(0, 6),
    k=st.integers(1, 6),
    s=st.integers(1, 8),
    filled=st.floats(0, 1),
)
caps = st.none() | st.integers(1, 9)


@given(made=scenes, name=sampler_names, count=st.integers(1, 30), cap=caps)
def test_what_is_chosen_may_be_chosen(made, name, count, cap):
    given = rivals(made)
    chosen = SAMPLERS[name](given, count=count, cap=cap, seed=SEED)
    classes, slots = made.held.shape
    assert chosen.place.shape == chosen.taken.shape
    assert chosen.place.shape == (len(made.labels), min(count, classes * slots))
    if chosen.place.numel():
        assert 0 <= int(chosen.place.min()) <= int(chosen.place.max()) < classes * slots
    for i, (label, clip) in enumerate(zip(made.labels.tolist(), made.clips.tolist(), strict=True)):
        found = places(chosen, i)
        assert len(set(found)) == len(found)
        usable = given.usable[i].sum(dim=1)
        taken = [0] * classes
        for place in found:
            taken[place // slots] += 1
            assert int(made.held.flatten()[place]) not in (-1, clip)
        assert taken[label] == 0
        if name == "class-aware":
            usable = usable.clamp(max=count if cap is None else cap)
            assert all(n <= int(most) for n, most in zip(taken, usable, strict=True))
        assert len(found) == min(count, int(usable.sum()))


@given(made=scenes, name=sampler_names, seed=st.integers(-(2**63), 2**63 - 1))
def test_an_anchors_choice_is_its_own(made, name, seed):
    """It does not depend on the rest of the batch."""
    given, seed = rivals(made), torch.tensor(seed)
    together = SAMPLERS[name](given, count=5, cap=2, seed=seed)
    for i in range(len(made.labels)):
        alone = replace(
            given,
            similarity=given.similarity[i : i + 1],
            usable=given.usable[i : i + 1],
            closeness=given.closeness[i : i + 1],
            clips=given.clips[i : i + 1],
        )
        chosen = SAMPLERS[name](alone, count=5, cap=2, seed=seed)
        assert set(places(chosen, 0)) == set(places(together, i))


@given(made=scenes, name=st.sampled_from(["hard", "class-aware"]), cap=caps)
def test_the_order_of_entries_does_not_matter(made, name, cap):
    slots = made.held.shape[1]
    order = torch.randperm(slots, generator=torch.Generator().manual_seed(slots))
    moved = replace(made, bank=made.bank[:, order], held=made.held[:, order])
    chosen = SAMPLERS[name](rivals(made), count=6, cap=cap, seed=SEED)
    again = SAMPLERS[name](rivals(moved), count=6, cap=cap, seed=SEED)
    for i in range(len(made.labels)):
        clips = {int(made.held.flatten()[place]) for place in places(chosen, i)}
        assert {int(moved.held.flatten()[place]) for place in places(again, i)} == clips


@given(made=scenes, name=st.sampled_from(["hard", "class-aware"]), cap=caps)
def test_the_names_of_classes_do_not_matter(made, name, cap):
    classes = len(made.held)
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(classes))
    moved = replace(
        made, bank=made.bank[order], held=made.held[order], labels=order.argsort()[made.labels]
    )
    chosen = SAMPLERS[name](rivals(made), count=6, cap=cap, seed=SEED)
    again = SAMPLERS[name](rivals(moved), count=6, cap=cap, seed=SEED)
    for i in range(len(made.labels)):
        clips = {int(made.held.flatten()[place]) for place in places(chosen, i)}
        assert {int(moved.held.flatten()[place]) for place in places(again, i)} == clips


def test_random_negatives_are_drawn_with_equal_chances():
    """4,000 draws of 5 from 20: a slot's count has deviation 27 about 1,000."""
    made = scene(0, n=1, k=5, s=5, filled=1.0)
    made = replace(made, labels=torch.tensor([2]), clips=torch.tensor([999]))
    given, counts = rivals(made), torch.zeros(25)
    together = torch.zeros(25, 25)
    for seed in range(4000):
        found = places(random(given, count=5, cap=None, seed=torch.tensor(seed)), 0)
        counts[found] += 1
        together[torch.tensor(found)[:, None], torch.tensor(found)] += 1
    rest = [place for place in range(25) if place // 5 != 2]
    assert counts.sum() == 20_000
    assert (counts[rest] - 1000).abs().max() < 5 * 27
    # pairs come together as often: 4,000 x (5 x 4) / (20 x 19) = 211, deviation 14
    pairs = together[rest][:, rest][~torch.eye(20, dtype=torch.bool)]
    assert (pairs - 211).abs().max() < 6 * 14


def test_random_negatives_differ_by_seed_and_by_clip():
    made = scene(0, n=2, k=5, s=40, filled=1.0)
    made = replace(made, labels=torch.tensor([2, 2]), clips=torch.tensor([998, 999]))
    one = random(rivals(made), count=10, cap=None, seed=torch.tensor(0))
    other = random(rivals(made), count=10, cap=None, seed=torch.tensor(1))
    drawn = [frozenset(places(chosen, i)) for chosen in (one, other) for i in (0, 1)]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize(("cap", "expected"), [(None, 1), (100, 6), (64, 8)])
def test_a_cap_brings_in_more_classes(cap, expected):
    """512 negatives of classes as large as those of NTU RGB+D 60."""
    made = scene(0, n=3, k=12, s=600, filled=1.0)
    chosen = class_aware(rivals(made), count=512, cap=cap, seed=SEED)
    assert bool(chosen.taken.all())
    for row in chosen.place:
        assert len((row // 600).unique()) == expected
