"""The contrast as a whole: in the objective, over a state, and on two ranks as on one."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from poselens.pose.layouts import get_layout
from poselens.skeleton.build import build_skeleton_network
from poselens.training.config import ContrastSettings
from poselens.training.contrastive import build_contrast, contrastive
from poselens.training.objectives import cross_entropy

LABELS, CLIPS = np.arange(24) % 3, np.arange(10, 34)
SMALL = {
    "positives": 3,
    "negatives": 6,
    "cap": 4,
    "dimensions": 5,
    "fifo_length": 4,
    "temperature": 0.2,
}


def build(seed=7, joints=3, **changed):
    torch.manual_seed(0)
    settings = ContrastSettings(**{**SMALL, **changed})
    return build_contrast(
        settings, labels=LABELS, clips=CLIPS, num_classes=4, joints=joints, seed=seed
    )


def batch(step, n=8, joints=3):
    generator = torch.Generator().manual_seed(step)
    picked = torch.randint(0, 24, (n,), generator=generator)
    graph = torch.randn(n, 3, joints, joints, generator=generator)
    return graph, torch.from_numpy(LABELS)[picked], torch.from_numpy(CLIPS)[picked]


@pytest.mark.parametrize("bank", ["per-sample", "fifo"])
@pytest.mark.parametrize("sampler", ["hard", "random", "class-aware"])
def test_an_empty_bank_gives_zero_and_a_finite_gradient(sampler, bank):
    contrast = build(samplers=(sampler,), bank=bank)
    graph, labels, clips = batch(0)
    graph.requires_grad_()
    loss = contrast(graph, labels, clips)
    loss.backward()
    assert loss == 0
    assert graph.grad.abs().max() == 0
    assert contrast.projection.enter.weight.grad.abs().max() == 0
    assert (contrast.bank.clips >= 0).any()


def test_the_loss_is_the_mean_over_samplers():
    both, one, other = (
        build(samplers=samplers) for samplers in [("hard", "random"), ("hard",), ("random",)]
    )
    for step in range(4):
        losses = [contrast(*batch(step)).item() for contrast in (both, one, other)]
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, rel=1e-6)
    assert losses[1] != pytest.approx(losses[2], rel=1e-3)


def test_gradients_reach_the_anchors_and_the_head_but_not_the_bank():
    contrast = build()
    for step in range(3):
        graph, labels, clips = batch(step)
        graph.requires_grad_()
        loss = contrast(graph, labels, clips)
    loss.backward()
    assert (graph.grad.flatten(1).abs().amax(dim=1) > 0).all()
    assert contrast.projection.enter.weight.grad.abs().max() > 0
    assert not contrast.bank.features.requires_grad


def test_half_precision_outside_changes_nothing_inside():
    plain, under = build(), build()
    for step in range(3):
        expected = plain(*batch(step))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = under(*batch(step))
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


@pytest.mark.parametrize("bank", ["per-sample", "fifo"])
def test_a_state_carries_on_as_if_nothing_had_been(bank):
    undisturbed, first, resumed = (build(bank=bank) for _ in range(3))
    for step in range(3):
        undisturbed(*batch(step))
        first(*batch(step))
    resumed.load_state_dict(first.state_dict())
    for step in range(3, 6):
        assert torch.equal(undisturbed(*batch(step)), resumed(*batch(step)))
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert resumed.step == 6


def test_random_negatives_change_with_step_and_seed():
    def second_loss(seed, steps_before):
        contrast = build(seed=seed, samplers=("random",), negatives=2)
        contrast(*batch(0, n=24))
        contrast.step += steps_before
        return contrast(*batch(1)).item()

    losses = [second_loss(0, 0), second_loss(0, 1), second_loss(1, 0), second_loss(2**63 - 1, 9)]
    assert len(set(losses)) == 4
    assert second_loss(0, 0) == losses[0]


@pytest.mark.parametrize("samplers", [("hard",), ("class-aware",)])
def test_the_names_of_classes_do_not_matter(samplers):
    order = np.array([2, 0, 3, 1])
    plain = build(samplers=samplers)
    torch.manual_seed(0)
    renamed = build_contrast(
        ContrastSettings(**SMALL, samplers=samplers),
        labels=order[LABELS],
        clips=CLIPS,
        num_classes=4,
        joints=3,
        seed=7,
    )
    for step in range(4):
        graph, labels, clips = batch(step)
        loss = plain(graph, labels, clips)
        torch.testing.assert_close(renamed(graph, torch.from_numpy(order)[labels], clips), loss)
    assert loss > 0
    one, other = plain.tally.read(), renamed.tally.read()
    np.testing.assert_array_equal(one.taken[samplers[0]], other.taken[samplers[0]][order][:, order])
    np.testing.assert_allclose(one.similarity, other.similarity[order][:, order], atol=1e-6)


def test_the_tally_knows_what_was_taken():
    contrast = build(samplers=("class-aware",))
    for step in range(4):
        contrast(*batch(step))
    read = contrast.tally.read()
    assert read.taken["class-aware"].sum() > 50
    assert not read.taken["class-aware"].diagonal().any()
    assert not read.taken["class-aware"][3].any()  # a class without clips
    assert np.isnan(read.similarity[3]).all()


@pytest.mark.parametrize("bank", ["per-sample", "fifo"])
def test_nothing_asks_the_device(bank, monkeypatch):
    """Tensors without content have shapes alone: a step that reads a value would fail on them."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    contrast = build(bank=bank, samplers=("hard", "random", "class-aware")).to("meta")
    graph, labels, clips = (part.to("meta") for part in batch(0))
    graph.requires_grad_()
    contrast(graph, labels, clips).backward()
    assert graph.grad.shape == (8, 3, 3, 3)
    with pytest.raises(RuntimeError, match="meta"):
        labels.sum().item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("bank", ["per-sample", "fifo"])
def test_a_step_can_be_replayed_as_a_graph(bank):
    samplers = ("hard", "random", "class-aware")
    plain, replayed = (build(bank=bank, samplers=samplers).cuda() for _ in range(2))
    batches = [[part.cuda() for part in batch(step)] for step in range(6)]
    given = [part.clone() for part in batches[0]]

    def train(contrast, graph, labels, clips):
        loss = contrast(graph, labels, clips)
        loss.backward()
        return loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for contrast in (plain, replayed):
            for each in batches[:3]:
                train(contrast, *each)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        loss = train(replayed, *given)
    for each in batches[3:]:
        for target, source in zip(given, each, strict=True):
            target.copy_(source)
        captured.replay()
        torch.testing.assert_close(loss, train(plain, *each))
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(tensor, replayed.state_dict()[name])
    one, other = (each.projection.enter.weight.grad for each in (plain, replayed))
    torch.testing.assert_close(one, other)


def small_network():
    torch.manual_seed(0)
    return build_skeleton_network(
        layout=get_layout("coco-17"), num_classes=4, width=8, blocks=(1, 1)
    )


@pytest.mark.parametrize("weight", [0.0, 0.6])
def test_cross_entropy_plus_contrast(weight):
    network, contrast = small_network().eval(), build(joints=17)
    objective = contrastive(contrast, weight=weight, label_smoothing=0.1)
    generator = torch.Generator().manual_seed(3)
    for step in range(3):
        _, labels, clips = batch(step)
        joints = torch.randn(8, 3, 8, 17, 1, generator=generator)
        given = {"inputs": (joints,), "label": labels, "index": clips}
        losses = objective(network, given)
    assert set(losses.parts) == {"ce", "contrast"}
    logits = network(joints)
    torch.testing.assert_close(losses.logits, logits)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(losses.parts["ce"], expected)
    plain = cross_entropy(label_smoothing=0.1)(network, given)
    torch.testing.assert_close(losses.total, plain.total + weight * losses.parts["contrast"])
    assert losses.parts["contrast"] > 0
    losses.total.backward()
    # the last block's strength is 0 at first: only the contrast reaches its relations
    reached = network.blocks[-1].space.refine.grad.abs().max() > 0
    assert bool(reached) == (weight > 0)


RANK = """
import os, sys
import torch, torch.distributed as dist
from safetensors.torch import save_file
sys.path.insert(0, sys.argv[1])
from test_contrastive import SIZES, train
rank = int(sys.argv[2])
dist.init_process_group("gloo", init_method="file://" + sys.argv[3], rank=rank, world_size=2)
torch.set_num_threads(1)
for bank in ("per-sample", "fifo"):
    save_file(train(bank, rank), f"{sys.argv[4]}-{bank}-{rank}")
dist.destroy_process_group()
"""

# of each rank, per step: the last batches are uneven, and one rank has none at all
SIZES = [(4, 4), (4, 4), (4, 4), (4, 4), (3, 2), (0, 3), (4, 4)]


def train(bank, rank=None):
    """Follow losses, gradients and state; of the whole batch, or of one rank's share."""
    contrast = build(bank=bank, samplers=("hard", "random", "class-aware"), temperature=0.8)
    weight = contrast.projection.enter.weight
    seen = {}
    for step, (first, second) in enumerate(SIZES):
        mine = slice(None) if rank is None else slice(0, first) if rank == 0 else slice(first, None)
        graph, labels, clips = (part[mine] for part in batch(step, n=first + second))
        loss = contrast(graph, labels, clips)
        (gradient,) = torch.autograd.grad(loss, weight)
        told = torch.cat([loss.detach()[None], gradient.flatten()])
        if rank is not None:
            torch.distributed.all_reduce(told)
            told /= 2
        seen[f"step {step}"] = told.clone()
        with torch.no_grad():
            weight -= 0.1 * told[1:].view_as(weight)
    return {**seen, **{name: tensor.clone() for name, tensor in contrast.state_dict().items()}}


def test_two_ranks_are_as_good_as_one(tmp_path):
    source = str(Path(__file__).parents[2] / "src")
    ranks = [
        subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                RANK,
                str(Path(__file__).parent),
                str(rank),
                str(tmp_path / "meet"),
                str(tmp_path / "end"),
            ],
            env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        for process in ranks:
            _, told = process.communicate(timeout=60)
            assert process.returncode == 0, told
    finally:
        for process in ranks:
            process.kill()
    for bank in ("per-sample", "fifo"):
        first, second = (load_file(tmp_path / f"end-{bank}-{rank}") for rank in (0, 1))
        alone = train(bank)
        assert set(alone) == set(first) == set(second)
        for name, tensor in alone.items():
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], tensor, rtol=0, atol=1e-6, msg=name)
        assert alone["step 6"][0] > 0.5
