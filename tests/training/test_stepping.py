"""One step, as it is written and as it is replayed."""

import pytest
import torch
from torch import nn

from poselens.errors import NumericFault
from poselens.training.objectives import Losses, cross_entropy
from poselens.training.optim import build_optimizer, set_learning_rate
from poselens.training.stepping import EagerStep, ReplayedStep

without_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def optimiser(model, lr=0.1):
    return build_optimizer(
        model,
        lr=lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-3,
        decay_all=True,
        head_lr_factor=1.0,
    )


def batch(key, rows=6, device="cpu"):
    generator = torch.Generator().manual_seed(key)
    label = torch.randint(0, 3, (rows,), generator=generator)
    inputs = torch.randn(rows, 4, generator=generator) + label[:, None]
    return {
        "inputs": (inputs.to(device),),
        "label": label.to(device),
        "index": torch.arange(rows, device=device) + rows * key,
        "id": [f"{key}-{row}" for row in range(rows)],
    }


def eager(model, optimizer, objective=None, *, amp=False, clip_norm=None):
    return EagerStep(model, objective or cross_entropy(), optimizer, amp=amp, clip_norm=clip_norm)


def numbers(model, optimizer):
    """Parameters, statistics and momenta, as they are now."""
    momenta = [slot["momentum_buffer"] for slot in optimizer.state.values()]
    return [value.clone() for value in (*model.state_dict().values(), *momenta)]


def equal(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_a_step_lowers_the_loss():
    model = network()
    take = eager(model, optimiser(model))
    first = take(batch(0))
    assert isinstance(first, Losses)
    take.settle()
    for _ in range(30):
        last = take(batch(0))
    assert last.total < first.total


@pytest.mark.parametrize("clip_norm", [0.01, 1e6, None])
def test_the_gradient_is_clipped_to_its_norm(clip_norm):
    model = network()
    before = [value.detach().clone() for value in model.parameters()]
    cross_entropy()(model.train(), batch(0)).total.backward()
    gradient = torch.cat([value.grad.flatten() for value in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    eager(model, optimizer, clip_norm=clip_norm)(batch(0))
    moved = [(old - new).flatten() for old, new in zip(before, model.parameters(), strict=True)]
    factor = 0.01 / gradient.norm() if clip_norm == 0.01 else 1.0
    torch.testing.assert_close(torch.cat(moved), gradient * factor, rtol=1e-3, atol=1e-6)


class Broken(torch.autograd.Function):
    """Finite forwards, NaN backwards."""

    @staticmethod
    def forward(_, value):
        return value.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * float("nan")


def poisoned(kind):
    def objective(model, given):
        losses = cross_entropy()(model, given)
        if kind == "gradient":
            return Losses(Broken.apply(losses.total), losses.parts, losses.logits)
        return Losses(losses.total * float(kind), losses.parts, losses.logits)

    return objective


TOLD = r"clips 1-0, 1-1.*: the loss is .* and the gradient norm .* at lr 0.1.*refused.*lower"


@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_a_step_that_is_not_finite_is_refused(kind, clip_norm):
    model = network()
    optimizer = optimiser(model)
    eager(model, optimizer, clip_norm=clip_norm)(batch(0))
    before = [value.clone() for value in (*model.parameters(), *model.buffers())]
    momenta = [slot["momentum_buffer"].clone() for slot in optimizer.state.values()]
    take = eager(model, optimizer, poisoned(kind), clip_norm=clip_norm)
    take(batch(1))
    with pytest.raises(NumericFault, match=TOLD) as caught:
        take.settle()
    assert (caught.value.code, caught.value.exit_code) == ("NUM-001", 1)
    assert equal(before, [*model.parameters(), *model.buffers()])
    assert equal(momenta, [slot["momentum_buffer"] for slot in optimizer.state.values()])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_runs_in_bf16_where_asked():
    model = network()
    assert eager(model, optimiser(model), amp=True)(batch(0)).logits.dtype == torch.bfloat16


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_fused_optimiser_that_is_told_leaves_everything_as_it_is(spoiled):
    """What a recording relies on: refusing a step without asking the host."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    take = eager(model, optimizer, watched([]))
    take(batch(0))
    before = [value.detach().clone() for value in model.parameters()]
    momenta = [slot["momentum_buffer"].clone() for slot in optimizer.state.values()]
    given = batch(1)
    if spoiled:
        given["inputs"][0][0, 0] = 1e30
    _, norm, finite = take.descend(given)
    optimizer.found_inf = (~finite).float()
    take.finish(norm)
    assert bool(finite) is not spoiled
    kept = [slot["momentum_buffer"] for slot in optimizer.state.values()]
    assert equal(momenta, kept) is spoiled
    assert equal(before, list(model.parameters())) is spoiled


def watched(seen):
    """Cross entropy that counts how often the host computes it, and may be spoiled by an input."""

    def objective(model, given):
        seen.append(len(given["label"]))
        losses = cross_entropy()(model, given)
        # an input of 1e30 makes the loss infinite, for the recording too
        spoiled = (given["inputs"][0].abs() > 1e29).any()
        # the factor is chosen, not the product: the gradient of one not chosen would be 0 times inf
        factor = torch.where(spoiled, float("inf"), 1.0)
        return Losses(losses.total * factor, losses.parts, losses.logits)

    return objective


def test_what_a_step_returns_keeps_no_graph_alive():
    model = network()
    losses = eager(model, optimiser(model))(batch(0))
    numbers = (losses.total, losses.logits, *losses.parts.values())
    assert not any(number.requires_grad for number in numbers)
    assert any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.gpu
@without_gpu
@pytest.mark.parametrize("clip_norm", [0.5, None])
def test_a_replayed_step_is_the_step(clip_norm):
    """Eight steps, a smaller batch among them, and another rate in the middle."""
    trained, calls = [], []
    for replayed in (False, True):
        model, seen = network().cuda(), []
        optimizer = optimiser(model)
        take = eager(model, optimizer, watched(seen), clip_norm=clip_norm)
        if replayed:
            take = ReplayedStep(take)
        losses = []
        for step in range(8):
            set_learning_rate(optimizer, 0.1 if step < 5 else 0.03)
            found = take(batch(step, rows=2 if step == 5 else 6, device="cuda"))
            take.settle()
            losses.append(found.total.item())
            # a recording writes over its losses
            assert int((found.logits.argmax(1) >= 0).sum()) == (2 if step == 5 else 6)
        trained.append((torch.tensor(losses), *numbers(model, optimizer)))
        calls.append(seen)
    assert calls[0] == [6, 6, 6, 6, 6, 2, 6, 6]
    assert calls[1] == [6, 6, 6, 6, 2]  # three as written, one recording, the rare shape
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@without_gpu
def test_a_replayed_step_that_is_not_finite_is_refused():
    model = network().cuda()
    optimizer = optimiser(model)
    take = ReplayedStep(eager(model, optimizer, watched([]), clip_norm=1.0))
    for step in range(6):
        take(batch(step, device="cuda"))
        take.settle()
    before = [value.clone() for value in (*model.parameters(), *model.buffers())]
    momenta = [slot["momentum_buffer"].clone() for slot in optimizer.state.values()]
    bad = batch(1, device="cuda")
    bad["inputs"][0][0, 0] = 1e30
    take(bad)
    with pytest.raises(NumericFault, match=TOLD) as caught:
        take.settle()
    assert caught.value.code == "NUM-001"
    assert equal(before, [*model.parameters(), *model.buffers()])
    assert equal(momenta, [slot["momentum_buffer"] for slot in optimizer.state.values()])
    take.settle()  # what was told once is not told again
