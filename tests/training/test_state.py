import json

import pytest
import torch
from torch import nn

from poselens.checkpoint import read_tensors_and_facts, write_tensors
from poselens.errors import CheckpointError, NumericFault
from poselens.training.state import (
    Progress,
    load_state,
    require_finite,
    save_state,
    saved_facts,
)


def network(seed=0, classes=2):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, classes)
    ).to(memory_format=torch.channels_last)


def optimiser(model, momentum=0.9):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)


def step(model, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    loss = model(torch.randn(4, 3, 6, 6, generator=generator)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def save(path, model, optimizer, progress=None, best=None):
    save_state(
        path,
        modules={"network": model},
        optimizer=optimizer,
        progress=progress or Progress(),
        best=best or {},
        fingerprint="f",
    )


def load(path, model, optimizer, fingerprint="f"):
    modules = {"network": model}
    return load_state(path, modules=modules, optimizer=optimizer, fingerprint=fingerprint)


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_restored_run_goes_on_as_the_undisturbed_one(tmp_path, momentum):
    model = network()
    optimizer = optimiser(model, momentum)
    step(model, optimizer, 1)
    torch.manual_seed(42)
    progress = Progress(3, 5, {"loss": 0.1 + 0.2}, 0.75, 2, {"c": "VID-003 c: bad"})
    best = {name: value.clone() for name, value in network(9).state_dict().items()}
    save(tmp_path / "s", model, optimizer, progress, best)
    drawn = torch.rand(3)
    step(model, optimizer, 2)

    other = network(seed=8)
    restored = optimiser(other, momentum)
    torch.manual_seed(0)
    position, kept, _ = load(tmp_path / "s", other, restored)
    assert position == progress
    assert equal(kept, best)
    assert torch.equal(torch.rand(3), drawn)
    step(other, restored, 2)
    assert equal(model.state_dict(), other.state_dict())


def test_before_the_first_step_there_are_no_momenta(tmp_path):
    model = network()
    save(tmp_path / "s", model, optimiser(model))
    other = network(seed=8)
    restored = optimiser(other)
    position, best, _ = load(tmp_path / "s", other, restored)
    assert (position, best) == (Progress(), {})
    assert not restored.state
    assert equal(model.state_dict(), other.state_dict())


def test_momenta_come_back_in_the_strides_of_their_weights(tmp_path):
    model = network()
    optimizer = optimiser(model)
    step(model, optimizer, 1)
    save(tmp_path / "s", model, optimizer)
    other = network()
    restored = optimiser(other)
    load(tmp_path / "s", other, restored)
    weight = other[0].weight
    assert not weight.is_contiguous()
    assert restored.state[weight]["momentum_buffer"].stride() == weight.stride()


def test_the_state_of_another_recipe_is_refused(tmp_path):
    model = network()
    save(tmp_path / "s", model, optimiser(model))
    with pytest.raises(
        CheckpointError, match=r"recipe, the data or the protocol changed.*--out"
    ) as e:
        load(tmp_path / "s", network(), optimiser(network()), fingerprint="other")
    assert e.value.code == "CKPT-011"
    assert saved_facts(tmp_path / "s")["fingerprint"] == "f"


def test_another_format_is_refused(tmp_path):
    write_tensors(tmp_path / "s", {"a": torch.ones(1)}, facts={"format": 99})
    for call in (saved_facts, lambda path: load(path, network(), optimiser(network()))):
        with pytest.raises(CheckpointError, match="state format 99, this is 2") as caught:
            call(tmp_path / "s")
        assert caught.value.code == "CKPT-010"
    write_tensors(tmp_path / "weights", {"a": torch.ones(1)})
    with pytest.raises(CheckpointError, match="state format None, this is 2"):
        saved_facts(tmp_path / "weights")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_a_state_cut_short_is_refused(tmp_path, kept):
    model = network()
    save(tmp_path / "s", model, optimiser(model))
    content = (tmp_path / "s").read_bytes()
    (tmp_path / "s").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match="damaged, cut short") as caught:
        load(tmp_path / "s", network(), optimiser(network()))
    assert caught.value.code == "CKPT-003"


def test_a_flipped_bit_is_refused(tmp_path):
    model = network()
    save(tmp_path / "s", model, optimiser(model))
    content = bytearray((tmp_path / "s").read_bytes())
    content[-5] ^= 1
    (tmp_path / "s").write_bytes(content)
    other = network(seed=8)
    with pytest.raises(CheckpointError, match="checksum differs") as caught:
        load(tmp_path / "s", other, optimiser(other))
    assert caught.value.code == "CKPT-003"
    assert equal(other.state_dict(), network(seed=8).state_dict())


def test_a_state_of_other_shapes_is_refused(tmp_path):
    model = network()
    save(tmp_path / "s", model, optimiser(model))
    other = network(classes=5)
    with pytest.raises(CheckpointError, match=r"2 of another shape: 3.bias \(2,\) for \(5,\)"):
        load(tmp_path / "s", other, optimiser(other))


@pytest.mark.parametrize("name", ["1.running_var", "3.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, name, value):
    model = network()
    save(tmp_path / "s", model, optimiser(model))
    before = (tmp_path / "s").read_bytes()
    model.state_dict()[name].view(-1)[0] = value
    with pytest.raises(NumericFault, match=f"1 weights are not finite: {name}; not saved") as e:
        save(tmp_path / "s", model, optimiser(model))
    assert (e.value.code, e.value.exit_code) == ("NUM-002", 1)
    assert (tmp_path / "s").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_whole_numbers_are_always_finite(tmp_path):
    model = network()
    require_finite(model, tmp_path)
    assert model.state_dict()["1.num_batches_tracked"].dtype == torch.int64


def test_facts_travel_with_the_tensors(tmp_path):
    model = network()
    save(tmp_path / "s", model, optimiser(model), Progress(skipped={"ü": "x"}))
    tensors, facts = read_tensors_and_facts(tmp_path / "s")
    assert facts["progress"]["skipped"] == {"ü": "x"}
    assert json.loads(json.dumps(facts)) == facts
    assert {"generator.cpu", "network.0.weight"} <= tensors.keys()
