"""A step in parts is the step; a failed try leaves no trace; fp16 keeps its scale."""

import pytest
import torch
from torch import nn

from poselens.errors import NumericFault
from poselens.training.config import ContrastSettings
from poselens.training.contrastive import build_contrast, contrastive
from poselens.training.gradients import (
    FIRST_SCALE,
    STEPS_TO_GROW,
    Descent,
    Gradients,
    Pace,
    part_of,
)
from poselens.training.objectives import Balance, Losses, cross_entropy
from poselens.training.stepping import EagerStep


def network(seed=0, *, norm=False):
    torch.manual_seed(seed)
    middle = nn.BatchNorm1d(8) if norm else nn.Tanh()
    return nn.Sequential(nn.Linear(4, 8), middle, nn.Linear(8, 3)).double()


def batch(rows=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "inputs": (torch.randn(rows, 4, generator=generator, dtype=torch.float64),),
        "label": torch.randint(0, 3, (rows,), generator=generator),
        "index": torch.arange(rows),
        "id": [f"c{row}" for row in range(rows)],
    }


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def gradients(model, **options):
    objective = options.pop("objective", cross_entropy(label_smoothing=0.1))
    return Gradients(model, objective, options.pop("optimizer", sgd(model)), bf16=False, **options)


def of(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 10, 64])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.2, 1.0, 5.0]).double()])
def test_the_gradient_of_parts_is_that_of_the_batch(size, weights):
    objective = cross_entropy(label_smoothing=0.1, balance=Balance(weights))
    whole, parts = network(), network()
    expected = gradients(whole, objective=objective)(batch())
    found = gradients(parts, objective=objective, descent=Descent(size=size))(batch())
    torch.testing.assert_close(of(parts), of(whole), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.parts["ce"], expected.parts["ce"], rtol=1e-12, atol=0)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("clips", "size", "parts"), [(10, 4, [3, 3, 4]), (8, 4, [4, 4]), (3, 4, [3])]
)
def test_parts_are_alike_and_all_of_the_batch(clips, size, parts):
    seen = []

    def objective(model, given):
        seen.append(list(given["id"]))
        return cross_entropy()(model, given)

    gradients(network(), objective=objective, descent=Descent(size=size))(batch(clips))
    assert list(map(len, seen)) == parts
    assert [name for part in seen for name in part] == batch(clips)["id"]


def test_a_part_has_its_clips_and_what_belongs_to_the_whole():
    given = {**batch(), "look": None}
    part = part_of(given, slice(2, 5))
    assert torch.equal(part["inputs"][0], given["inputs"][0][2:5])
    assert part["index"].tolist() == [2, 3, 4]
    assert part["id"] == ["c2", "c3", "c4"]
    assert part["look"] is None


def test_a_normalisation_sees_each_part_by_itself():
    """What is told: the one thing in which parts are not the batch."""
    whole, parts = network(norm=True), network(norm=True)
    gradients(whole)(batch())
    gradients(parts, descent=Descent(size=5))(batch())
    assert (int(whole[1].num_batches_tracked), int(parts[1].num_batches_tracked)) == (1, 2)
    assert not torch.allclose(of(parts)[0], of(whole)[0])


def two_branches():
    """A network that gives logits and a graph, without a normalisation."""
    torch.manual_seed(1)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 27), nn.Linear(27, 3)
            self.register_buffer("calls", torch.tensor(0))

        def forward_with_graph(self, inputs):
            self.calls += 1
            feature = self.body(inputs)
            return self.head(feature), feature.view(-1, 3, 3, 3)

    return Both()


def contrast(kind="per-sample"):
    torch.manual_seed(2)
    labels = batch(16)["label"].numpy()
    settings = ContrastSettings(dimensions=6, bank=kind, fifo_length=8, positives=3, negatives=5)
    options = {"num_classes": 3, "joints": 3, "seed": 4}
    return build_contrast(settings, labels=labels, clips=batch(16)["index"].numpy(), **options)


def contrasted(kind, descent, *, objective=None, steps=4, told=None):
    """Some steps over the same 16 clips; returns everything that was changed."""
    model, beside = two_branches(), contrast(kind)
    inner = contrastive(beside, weight=0.5, label_smoothing=0.0)
    optimizer = torch.optim.SGD([*model.parameters(), *beside.parameters()], lr=0.05)
    pace = Pace(descent.size)
    make = Gradients(
        *(model, inner if objective is None else objective(inner), optimizer),
        bf16=False,
        descent=Descent(descent.size, descent.halves, whole=beside.whole_batch),
        pace=pace,
        beside=beside,
        told=(told if told is not None else []).append,
    )
    losses = []
    for step in range(steps):
        given = batch(16)
        given["inputs"] = (given["inputs"][0].float() + step,)
        losses.append(float(make(given).total.detach()))
        optimizer.step()
    return losses, model, beside, pace


@pytest.mark.parametrize("kind", ["per-sample", "fifo"])
def test_the_bank_sees_a_batch_in_parts_once_and_as_it_was_before(kind):
    """From the second step on every anchor has something to compare, and losses are equal too."""
    whole, one, bank, _ = contrasted(kind, Descent())
    parts, other, same, _ = contrasted(kind, Descent(size=5))
    assert parts == pytest.approx(whole, rel=1e-5)
    assert len(set(whole)) == 4
    assert int(same.step) == int(bank.step) == 4
    assert torch.equal(same.bank.clips, bank.bank.clips)
    torch.testing.assert_close(same.bank.features, bank.bank.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same.tally.sums, bank.tally.sums, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        list(other.parameters()), list(one.parameters()), rtol=1e-4, atol=1e-5
    )


def short_of_memory(limit, tries):
    """Fail as CUDA does, after a normalisation, a dropout and the bank have been touched."""

    def wrap(inner):
        def objective(model, given):
            torch.rand(3)
            losses = inner(model, given)
            tries.append(len(given["label"]))
            if len(given["label"]) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return losses

        return objective

    return wrap


@pytest.mark.parametrize("kind", ["per-sample", "fifo"])
def test_a_step_that_memory_does_not_hold_is_taken_again_in_halves(kind):
    tries, told = [], []
    descent = Descent(halves=True)
    found, model, beside, pace = contrasted(
        kind, descent, objective=short_of_memory(4, tries), told=told
    )
    assert tries == [16, 8, 4, 4, 4, 4, *[4] * 12]
    assert int(pace.size) == 4
    assert len(told) == 2
    assert told[1].startswith("memory does not hold 8 clips at once: ")
    assert "micro-batches of 4 from here on; clips per step are as before" in told[1]
    generator = torch.get_rng_state()
    expected, other, same, _ = contrasted(kind, Descent(size=4), objective=short_of_memory(4, []))
    assert found == expected
    assert torch.equal(torch.get_rng_state(), generator)
    for one, two in ((model, other), (beside, same)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[name]), name


def test_a_part_that_fails_late_leaves_no_gradient_of_the_parts_before_it():
    tries = []

    def objective(model, given):
        tries.append(list(given["id"]))
        if len(tries) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return cross_entropy(label_smoothing=0.1)(model, given)

    whole, parts = network(), network()
    gradients(whole)(batch(8))
    gradients(parts, objective=objective, descent=Descent(size=4, halves=True))(batch(8))
    assert list(map(len, tries)) == [4, 4, 2, 2, 2, 2]
    torch.testing.assert_close(of(parts), of(whole), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("halves", "tries"), [(False, [6]), (True, [6, 3, 2, 1])])
def test_what_cannot_be_halved_is_told_as_it_is(halves, tries):
    seen = []
    make = gradients(
        network(),
        objective=short_of_memory(0, seen)(cross_entropy()),
        descent=Descent(halves=halves),
    )
    with pytest.raises(torch.OutOfMemoryError):
        make(batch(6))
    assert seen[: len(tries)] == tries


def in_fp16(model, optimizer, *, factor=1.0):
    """A step whose gradient, not its loss, is ``factor`` times as large."""

    class Larger(torch.autograd.Function):
        @staticmethod
        def forward(_, value):
            return value.clone()

        @staticmethod
        def backward(_, gradient):
            return gradient * factor

    def objective(given_to, given):
        losses = cross_entropy()(given_to, given)
        return Losses(Larger.apply(losses.total), losses.parts, losses.logits)

    pace = Pace()
    made = Gradients(
        model, objective, optimizer, bf16=False, descent=Descent(scales=True), pace=pace
    )
    return EagerStep(model, objective, optimizer, amp=False, clip_norm=None, gradients=made), pace


def single(rows=6):
    given = batch(rows)
    return {**given, "inputs": (given["inputs"][0].float(),)}


def test_fp16_computes_in_halves_and_ends_near_single_precision():
    trained = []
    for scaled in (False, True):
        model = network().float()
        optimizer = sgd(model)
        step = EagerStep(model, cross_entropy(), optimizer, amp=False, clip_norm=None)
        if scaled:
            step, _ = in_fp16(model, optimizer)
        for _ in range(20):
            losses = step(single())
        assert losses.taken
        assert losses.logits.dtype == (torch.float16 if scaled else torch.float32)
        trained.append([parameter.detach() for parameter in model.parameters()])
    torch.testing.assert_close(*trained, rtol=0.02, atol=0.005)


def test_a_gradient_that_overflows_halves_the_scale_and_skips_the_step():
    """The largest half is 65504: the scale has to come down until the gradient fits."""
    model = network().float()
    optimizer = sgd(model)
    step, pace = in_fp16(model, optimizer, factor=3.0e4)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    statistics = [buffer.clone() for buffer in model.buffers()]
    taken = []
    while not taken or not taken[-1]:
        scale = float(pace.scale)
        taken.append(step(single()).taken)
        assert len(taken) < 30
        if not taken[-1]:
            assert float(pace.scale) == scale / 2
            assert all(map(torch.equal, before, model.parameters()))
            assert all(map(torch.equal, statistics, model.buffers()))
            assert not optimizer.state
    assert len(taken) > 3
    assert float(pace.scale) == FIRST_SCALE / 2 ** (len(taken) - 1)
    plain = network().float()
    cross_entropy()(plain, single()).total.backward()
    moved = [old - new for old, new in zip(before, model.parameters(), strict=True)]
    for step_taken, parameter in zip(moved, plain.parameters(), strict=True):
        torch.testing.assert_close(step_taken, 0.1 * 3.0e4 * parameter.grad, rtol=0.02, atol=20)


@pytest.mark.parametrize("factor", [float("nan"), 1e38])
def test_what_no_scale_mends_is_refused(factor):
    model = network().float()
    step, pace = in_fp16(model, sgd(model), factor=factor)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(NumericFault, match="the step was refused"):
        for _ in range(30):
            step(single())
            step.settle()
    assert float(pace.scale) == 1
    assert all(map(torch.equal, before, model.parameters()))


def test_a_loss_that_is_not_finite_is_refused_at_once():
    model = network().float()
    step, pace = in_fp16(model, sgd(model))
    given = single()
    given["inputs"] = (given["inputs"][0] * 1e6,)
    step(given)
    with pytest.raises(NumericFault, match="the loss is (nan|inf)"):
        step.settle()
    assert float(pace.scale) == FIRST_SCALE


def test_the_scale_doubles_after_a_long_time_without_overflow():
    model = network().float()
    made = Gradients(
        *(model, cross_entropy(), sgd(model)),
        bf16=False,
        descent=Descent(scales=True),
        pace=(pace := Pace()),
    )
    for _ in range(STEPS_TO_GROW - 1):
        made.taken()
    assert float(pace.scale) == FIRST_SCALE
    made.taken()
    assert (float(pace.scale), int(pace.sound)) == (2 * FIRST_SCALE, 0)
    for _ in range(20 * STEPS_TO_GROW):
        made.taken()
    assert float(pace.scale) == 2.0**24
