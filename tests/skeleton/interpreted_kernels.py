"""The kernels against the plain operations, run by Triton's interpreter; see ``test_kernels.py``.

Not collected of itself: the interpreter is chosen before Triton is imported.
"""

import os

import pytest
import torch
from torch import nn

from poselens.pose.layouts import get_layout
from poselens.skeleton import fused, quick
from poselens.skeleton.build import build_skeleton_network

assert os.environ["TRITON_INTERPRET"] == "1"
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def way(monkeypatch):
    """Choose between the plain operations and the kernels."""

    def choose(kernels):
        monkeypatch.setattr(fused, "is_quick", lambda _: kernels)

    return choose


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def both_ways(way, operation, *leaves):
    """Values, and the gradients of a random sum of them, compared."""
    results = []
    for kernels in (False, True):
        way(kernels)
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        value = operation(*own)
        slope = random(*value.shape, seed=1)
        results.append((value.detach(), *torch.autograd.grad(value, own, slope)))
    for plain, found in zip(*results, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(found, plain, **CLOSE)


@pytest.mark.parametrize(
    ("joints", "frames", "readers"),
    [(25, 7, "abcs"), (20, 13, "abs"), (25, 16, "s"), (20, 7, "c"), (17, 16, "ab")],
)
def test_fork(way, joints, frames, readers):
    """Whoever reads: the first block has two readers, the contrast alone only the mean."""

    def read(x):
        a, b, c, summary = fused.fork(x)
        parts = {"a": 2 * a, "b": b * b, "c": c.sin(), "s": summary.mT.unsqueeze(-1) ** 2}
        return sum(parts[reader] for reader in readers).sum(dim=-1)

    both_ways(way, read, random(2, 20, joints, frames))


@pytest.mark.parametrize(("joints", "relations"), [(25, 6), (20, 3), (17, 5), (32, 1)])
def test_relate(way, joints, relations):
    def related(pairs, topology):
        terms = fused.relate(pairs, topology)
        assert terms.shape[2] % 8 == 0 or not fused.is_quick(pairs)
        known = fused.squares(terms, joints)[:, :, : relations + 2]
        # what is stored beside them is zero
        assert terms.abs().sum().item() == pytest.approx(known.abs().sum().item(), rel=1e-5)
        return known

    both_ways(way, related, random(2, joints, 6 * relations), random(3, joints, joints))


@pytest.mark.parametrize("joints", [25, 20])
@pytest.mark.parametrize("frames", [7, 13, 16])
def test_aggregate(way, joints, frames):
    relations, channels = 6, 3

    def gathered(messages, bias, weights, pairs, topology):
        return fused.aggregate(messages, bias, weights, fused.relate(pairs, topology))

    both_ways(
        way,
        gathered,
        random(2, channels, 3, joints, frames),
        random(channels, 3),
        random(3, channels, relations + 2),
        random(2, joints, 6 * relations),
        random(3, joints, joints),
    )


class Norm:
    """A normalisation of which weight and bias are given each time."""

    def __init__(self, channels, training):
        self.norm = nn.BatchNorm2d(channels, momentum=0.9).train(training)
        self.norm.running_mean.copy_(random(channels))
        self.norm.running_var.copy_(random(channels).abs() + 0.5)
        del self.norm._parameters["weight"], self.norm._parameters["bias"]

    def __call__(self, weight, bias):
        self.norm.weight, self.norm.bias = weight, bias
        return self.norm


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("normal", "rectified", "added"),
    [(4, None, True), (4, 3, False), (4, 0, False), (3, None, True), (3, 2, True), (3, 2, False)],
)
def test_normalise(way, training, normal, rectified, added):
    norms = [Norm(normal, training) for _ in range(2)]
    order = iter(norms)

    def normal_(feature, weight, bias, *add):
        norm = next(order)(weight, bias)
        return fused.normalise(feature, norm, add=add[0] if add else None, rectified=rectified)

    # 330 values a row: no block is full
    shape = (3, 4, 5, 66)
    add = (random(*shape, seed=2),) if added else ()
    both_ways(way, normal_, random(*shape) + 0.3, random(normal).abs() + 0.5, random(normal), *add)
    plain, found = (norm.norm for norm in norms)
    torch.testing.assert_close(found.running_mean, plain.running_mean, **CLOSE)
    torch.testing.assert_close(found.running_var, plain.running_var, **CLOSE)
    assert found.num_batches_tracked == plain.num_batches_tracked == int(training)


@pytest.mark.parametrize("programs", [2048, 8])
def test_masked_people_are_as_if_they_were_not_there(way, monkeypatch, programs):
    """One person a program, or three."""
    monkeypatch.setattr(quick, "_PROGRAMS", programs)
    keep = torch.tensor([True, False, True, True, False, True])
    feature, slope = random(6, 4, 5, 60), random(6, 4, 5, 60, seed=1)
    feature[1] = 50.0
    slope[~keep] = 0.0
    results = []
    for kernels in (False, True):
        way(kernels)
        norm, own = nn.BatchNorm2d(4), feature.clone().requires_grad_()
        if kernels:
            value = fused.normalise(own, norm, counted=keep.float())
        else:
            value = torch.zeros_like(feature)
            value[keep] = fused.normalise(own[keep], norm)
        slopes = torch.autograd.grad(value, (own, norm.weight, norm.bias), slope)
        results.append((value.detach()[keep], *slopes, norm.running_mean, norm.running_var))
    for plain, found in zip(*results, strict=True):
        torch.testing.assert_close(found, plain, **CLOSE)


@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (7, 1), (7, 2), (16, 2)])
def test_look(way, frames, stride):
    # equal neighbours too: the slope of a maximum goes to the first of them
    feature = torch.relu(random(2, 64, 3, frames))
    both_ways(way, lambda x, w: fused.look(x, w, stride=stride), feature, random(2, 5, 16, 16) / 9)


@pytest.mark.parametrize("layout", ["ucla-20", "mediapipe-33"])
def test_a_whole_network(way, monkeypatch, layout):
    """In training, with absent people: values, graphs, gradients and running statistics.

    33 joints do not fit a tile, and take the plain operations across joints.
    """
    bones = get_layout(layout)
    # the interpreter has no smallest product, and takes its time
    monkeypatch.setattr(fused, "_QUARTERS", (2, 4, 8))
    monkeypatch.setattr(quick, "_PROGRAMS", 1)
    joints = random(1, 3, 5, len(bones), 2)
    joints[..., 1] = torch.nan
    results = []
    for kernels in (False, True):
        way(kernels)
        torch.manual_seed(0)
        network = build_skeleton_network(
            layout=bones, num_classes=4, people=2, width=8, blocks=(1, 1, 1)
        )
        with torch.no_grad():
            for block in network.blocks:
                block.space.strength.fill_(0.5)
                block.space.norm.weight.fill_(1.0)
                block.space.transform_bias.normal_()
        logits, graph = network.forward_with_graph(joints)
        loss = logits.square().sum() + (graph * random(*graph.shape)).sum()
        names, parameters = zip(*network.named_parameters(), strict=True)
        slopes = torch.autograd.grad(loss, parameters)
        results.append(
            {
                "logits": logits.detach(),
                "graph": graph.detach(),
                **dict(zip(names, slopes, strict=True)),
                **{f"{name}, kept": values for name, values in network.named_buffers()},
            }
        )
    plain, found = results
    assert plain.keys() == found.keys()
    for name, values in plain.items():
        largest = max(values.abs().max().item(), 0.1)
        difference = (found[name] - values).abs().max().item()
        assert difference <= 1e-4 * largest, name
