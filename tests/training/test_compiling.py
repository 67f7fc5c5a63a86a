"""A compiled network computes and learns what the written one does, for batches of one size."""

import pytest
import torch
from torch import nn

from poselens.errors import EnvironmentFault
from poselens.training import compiling
from poselens.training.compiling import (
    STEPS_THAT_PAY,
    CompiledNetwork,
    compiles,
    missing_for_compiling,
    require_compiler,
)
from poselens.training.config import RgbSection, SkeletonSection, Training

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Counting(nn.Module):
    """A network that counts how often its own code runs, which a compiled one does not."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(3, 2)
        self.calls = 0

    def forward(self, inputs):
        if not torch.compiler.is_compiling():
            self.calls += 1
        return torch.relu(self.mix(inputs))


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_only_full_batches_go_through_the_compiled_network():
    missing = missing_for_compiling(CPU)
    if missing:
        pytest.skip(missing)
    torch.manual_seed(0)
    network = Counting()
    compiled = CompiledNetwork(network, clips=4)
    assert list(compiled.state_dict()) == ["network.mix.weight", "network.mix.bias"]
    full = torch.randn(4, 3)
    out = compiled(full)
    assert network.calls == 0
    out.sum().backward()
    learned = network.mix.weight.grad.clone()
    assert learned.any()
    torch.testing.assert_close(compiled(full[:3]), out[:3])
    assert network.calls == 1
    network.zero_grad()
    network(full).sum().backward()
    torch.testing.assert_close(network.mix.weight.grad, learned)


@pytest.mark.parametrize(
    ("device", "triton", "words"),
    [
        (GPU, False, "Triton is not installed"),
        (GPU, True, "no compiler is on the path (cc, gcc, clang)"),
        (CPU, False, "no compiler is on the path (c++, g++, clang++)"),
    ],
)
def test_what_is_missing_is_named(monkeypatch, device, triton, words):
    monkeypatch.setattr(compiling, "find_spec", lambda name: object() if triton else None)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    assert missing_for_compiling(device) == words
    with pytest.raises(EnvironmentFault, match=r"cannot be compiled: .*training\.compile=off") as e:
        require_compiler(device)
    assert (e.value.code, words in str(e.value)) == ("ENV-013", True)


@pytest.mark.parametrize(
    ("wanted", "device", "steps", "expected"),
    [
        ("auto", GPU, STEPS_THAT_PAY, True),
        ("auto", GPU, STEPS_THAT_PAY - 1, False),
        ("auto", CPU, STEPS_THAT_PAY, False),
        ("off", GPU, STEPS_THAT_PAY, False),
        ("on", CPU, 1, True),
    ],
)
def test_it_is_compiled_where_it_pays(monkeypatch, wanted, device, steps, expected):
    monkeypatch.setattr(compiling, "find_spec", lambda name: object())
    monkeypatch.setattr(compiling.shutil, "which", lambda name: "/usr/bin/cc")
    section = RgbSection(training=Training(compile=wanted))
    assert compiles(section, device, steps=steps) is expected
    if wanted == "auto":
        assert compiles(SkeletonSection(), device, steps=steps) is False


def test_a_skeleton_network_is_not_compiled():
    with pytest.raises(ValueError, match=r"training\.compile=on is for the RGB branch"):
        SkeletonSection(training=Training(compile="on"))
