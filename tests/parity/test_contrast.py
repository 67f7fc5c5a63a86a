"""Eq. (10), the samplers, Eq. (12): one anchor, one class and one slot at a time."""

import math

import numpy as np
import pytest
import torch
from banks import places, rivals, scene
from torch.nn import functional as F

from poselens.contrast.losses import info_nce, mean_over_anchors
from poselens.contrast.negatives import class_aware, hard, random
from poselens.contrast.positives import least_similar
from poselens.training.config import ContrastSettings
from poselens.training.contrastive import build_contrast

SEED = torch.tensor(11)


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return dot / norms if norms else math.nan  # an empty slot, which nothing may look at


def table(features, bank):
    """Cosines as nested lists: anchor, class, slot."""
    return [
        [[cosine(z, slot) for slot in row] for row in bank.double().tolist()]
        for z in features.double().tolist()
    ]


def slots_of(held, clip, label):
    return [j for j, owner in enumerate(held[label].tolist()) if owner >= 0 and owner != clip]


def h_by_loops(cosines, held, clip):
    found = []
    for label, row in enumerate(cosines):
        mine = [row[j] for j in slots_of(held, clip, label)]
        found.append(sum(mine) / len(mine) if mine else -math.inf)
    return found


def rivals_by_loops(held, clip, label):
    return [
        (other, j)
        for other in range(len(held))
        if other != label
        for j in slots_of(held, clip, other)
    ]


def hard_by_loops(cosines, held, clip, label, count):
    found = rivals_by_loops(held, clip, label)
    return sorted(found, key=lambda slot: -cosines[slot[0]][slot[1]])[:count]


def class_aware_by_loops(cosines, held, clip, label, count, cap):
    h = h_by_loops(cosines, held, clip)
    chosen = []
    for other in sorted(range(len(held)), key=lambda c: -h[c]):
        if other == label:
            continue
        mine = sorted(slots_of(held, clip, other), key=lambda j: -cosines[other][j])
        for j in mine[:cap]:
            if len(chosen) < count:
                chosen.append((other, j))
    return chosen


def positives_by_loops(cosines, held, clip, label, count):
    mine = sorted(slots_of(held, clip, label), key=lambda j: cosines[label][j])
    return [(label, j) for j in mine[:count]]


def keys_by_loops(seed, clip, count):
    """The bits behind random negatives, in integers without limit."""

    def splitmix(x):
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    anchor = splitmix(splitmix(seed % 2**64) ^ clip) % 2**31
    keys = []
    for place in range(count):
        x = place * 0x9E3779B1 % 2**32 ^ anchor
        x = (x ^ x >> 16) * 0x7FEB352D % 2**32
        x = (x ^ x >> 15) * 0x846CA68B % 2**32
        x ^= x >> 16
        keys.append(x - 2**32 if x >= 2**31 else x)
    return keys


def random_by_loops(held, clip, label, count, seed):
    slots = held.shape[1]
    keys = keys_by_loops(seed, clip, held.numel())
    found = rivals_by_loops(held, clip, label)
    return sorted(found, key=lambda slot: -keys[slot[0] * slots + slot[1]])[:count]


def info_nce_by_loops(positives, negatives, tau):
    if not positives or not negatives:
        return None
    total = 0.0
    for p in positives:
        below = math.exp(p / tau) + sum(math.exp(q / tau) for q in negatives)
        total -= math.log(math.exp(p / tau) / below)
    return total / len(positives)


def flat(slots, width):
    return [label * width + j for label, j in slots]


@pytest.mark.parametrize("filled", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_class_similarity(seed, filled):
    made = scene(seed, filled=filled)
    cosines = table(made.features, made.bank)
    found = rivals(made).closeness
    for i, clip in enumerate(made.clips.tolist()):
        expected = torch.tensor(h_by_loops(cosines[i], made.held, clip))
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("filled", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("count", [1, 5, 100])
@pytest.mark.parametrize("seed", range(3))
def test_hard_random_and_positives(seed, count, filled):
    made = scene(seed, filled=filled)
    cosines, width = table(made.features, made.bank), made.held.shape[1]
    given = rivals(made)
    nearest = hard(given, count=count, cap=None, seed=SEED)
    drawn = random(given, count=count, cap=None, seed=SEED)
    comparable = (made.held >= 0) & (made.held != made.clips[:, None, None])
    pulled = least_similar(made.similarity, comparable, made.labels, count=count)
    for i, (clip, label) in enumerate(zip(made.clips.tolist(), made.labels.tolist(), strict=True)):
        expected = hard_by_loops(cosines[i], made.held, clip, label, count)
        assert set(places(nearest, i)) == set(flat(expected, width))
        expected = random_by_loops(made.held, clip, label, count, SEED.item())
        assert set(places(drawn, i)) == set(flat(expected, width))
        expected = positives_by_loops(cosines[i], made.held, clip, label, count)
        assert set(places(pulled, i)) == set(flat(expected, width))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**62, -(2**63)])
def test_the_bits_of_random_negatives(seed):
    from poselens.contrast.negatives import _keys

    clips = torch.tensor([0, 1, 40_090])
    expected = [keys_by_loops(seed, clip, 50) for clip in clips.tolist()]
    assert _keys(torch.tensor(seed), clips, 50).tolist() == expected


@pytest.mark.parametrize("filled", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("cap", [None, 1, 3, 50])
@pytest.mark.parametrize("count", [1, 5, 100])
@pytest.mark.parametrize("seed", range(3))
def test_class_aware(seed, count, cap, filled):
    made = scene(seed, filled=filled)
    cosines, width = table(made.features, made.bank), made.held.shape[1]
    chosen = class_aware(rivals(made), count=count, cap=cap, seed=SEED)
    for i, (clip, label) in enumerate(zip(made.clips.tolist(), made.labels.tolist(), strict=True)):
        expected = class_aware_by_loops(cosines[i], made.held, clip, label, count, cap)
        assert places(chosen, i) == flat(expected, width)  # in the order of filling


@pytest.mark.parametrize("tau", [0.05, 0.8])
def test_info_nce_and_its_gradient(tau):
    generator = torch.Generator().manual_seed(3)
    positive = (torch.rand(5, 3, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    negative = (torch.rand(5, 6, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    has_p = torch.rand(5, 3, generator=generator) < 0.6
    has_q = torch.rand(5, 6, generator=generator) < 0.6
    has_p[3], has_q[4] = False, False

    def by_loops(positive, negative):
        each = [
            info_nce_by_loops(
                [v for v, taken in zip(p, ps, strict=True) if taken],
                [v for v, taken in zip(q, qs, strict=True) if taken],
                tau,
            )
            for p, ps, q, qs in zip(
                positive.tolist(), has_p.tolist(), negative.tolist(), has_q.tolist(), strict=True
            )
        ]
        mine = [value for value in each if value is not None]
        return each, sum(mine) / len(mine)

    losses, counted = info_nce(positive, has_p, negative, has_q, temperature=tau)
    each, mean = by_loops(positive, negative)
    assert counted.tolist() == [value is not None for value in each]
    assert losses.tolist() == pytest.approx([value or 0.0 for value in each], rel=1e-9)
    loss = mean_over_anchors(losses, counted)
    assert loss.item() == pytest.approx(mean, rel=1e-9)
    loss.backward()
    for tensor in (positive, negative):
        for place in np.ndindex(*tensor.shape):
            moved = [positive.detach().clone(), negative.detach().clone()]
            which = moved[0 if tensor is positive else 1]
            which[place] += 1e-6
            above = by_loops(*moved)[1]
            which[place] -= 2e-6
            below = by_loops(*moved)[1]
            slope = (above - below) / 2e-6
            assert tensor.grad[place].item() == pytest.approx(slope, abs=1e-8)


def loss_by_loops(features, labels, clips, bank, held, settings, seed):
    """The whole contrast in float64; with gradient where the features have one."""
    cosines = table(features.detach(), bank)
    total = features.new_zeros(())
    for sampler in settings.samplers:
        each = []
        for i, (clip, label) in enumerate(zip(clips.tolist(), labels.tolist(), strict=True)):
            pulled = positives_by_loops(cosines[i], held, clip, label, settings.positives)
            if sampler == "hard":
                pushed = hard_by_loops(cosines[i], held, clip, label, settings.negatives)
            elif sampler == "random":
                pushed = random_by_loops(held, clip, label, settings.negatives, seed)
            else:
                pushed = class_aware_by_loops(
                    cosines[i], held, clip, label, settings.negatives, settings.cap
                )
            if not pulled or not pushed:
                continue
            tau = settings.temperature
            below = sum(torch.exp(features[i] @ bank[q] / tau) for q in pushed)
            for p in pulled:
                above = torch.exp(features[i] @ bank[p] / tau)
                each.append(-torch.log(above / (above + below)) / len(pulled))
        anchors = sum(
            bool(
                positives_by_loops(cosines[i], held, clip, label, 1)
                and rivals_by_loops(held, clip, label)
            )
            for i, (clip, label) in enumerate(zip(clips.tolist(), labels.tolist(), strict=True))
        )
        if each:
            total = total + sum(each) / anchors / len(settings.samplers)
    return total


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("bank", ["per-sample", "fifo"])
@pytest.mark.parametrize(
    "samplers", [("hard",), ("random", "class-aware"), ("hard", "random", "class-aware")]
)
def test_the_whole_contrast_over_several_steps(samplers, bank, kind):
    """The bank is followed by a table of what each slot should hold."""
    torch.manual_seed(1)
    settings = ContrastSettings(
        samplers=samplers,
        temperature=0.3,
        positives=2,
        negatives=5,
        cap=2,
        bank=bank,
        fifo_length=3,
        dimensions=6,
        projection=kind,
    )
    labels, clips = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0]), np.arange(3, 12)
    contrast = build_contrast(settings, labels=labels, clips=clips, num_classes=4, joints=3, seed=5)
    width = contrast.bank.clips.shape[1]
    features, held = torch.zeros(4, width, 6, dtype=torch.float64), torch.full((4, width), -1)
    next_slot = [0] * 4
    losses = []
    for step in range(5):
        graph = torch.randn(4, 3, 3, 3, requires_grad=True)
        picked = torch.randperm(9)[:4]
        of, which = torch.from_numpy(labels)[picked], torch.from_numpy(clips)[picked]
        loss = contrast(graph, of, which)
        (gradient,) = torch.autograd.grad(loss, graph)

        again = graph.detach().double().requires_grad_()
        z = again.flatten(1) @ contrast.projection.enter.weight.double().T
        if kind == "mlp":
            z = z.clamp(min=0) @ contrast.projection.leave.weight.double().T
        z = F.normalize(z, dim=1)
        seed = step + contrast._seed
        expected = loss_by_loops(z, of, which, features.clone(), held, settings, seed)
        if step:
            (slope,) = torch.autograd.grad(expected, again)
            torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=1e-6)
        else:
            assert gradient.abs().max() == 0
        assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
        losses.append(loss.item())

        for row, label, clip in zip(z.detach(), of.tolist(), which.tolist(), strict=True):
            if bank == "fifo":
                slot, next_slot[label] = next_slot[label], (next_slot[label] + 1) % width
            else:
                slot = [c for c, own in zip(clips, labels, strict=True) if own == label].index(clip)
            features[label, slot], held[label, slot] = row, clip
        torch.testing.assert_close(contrast.bank.features.double(), features, rtol=0, atol=1e-6)
        assert contrast.bank.clips.tolist() == held.tolist()
    assert losses[0] == 0
    assert min(losses[2:]) > 0
