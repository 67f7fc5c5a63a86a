import pytest
import torch

from poselens.clips.device import choose_device, use_bf16
from poselens.errors import EnvironmentFault, UsageError


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def gpu(monkeypatch):
    """A machine that says it has a GPU, and the settings of torch as they were."""
    precision = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    yield
    torch.set_float32_matmul_precision(precision)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu():
    assert choose_device("auto").type == "cpu"
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(EnvironmentFault, match=r"no usable GPU.*--device auto or cpu") as caught:
        choose_device("cuda")
    assert caught.value.code == "ENV-010"


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu():
    assert choose_device("cpu").type == "cpu"
    assert torch.backends.cudnn.benchmark is False
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda").type == "cuda"
    assert torch.backends.cudnn.benchmark is True
    assert torch.get_float32_matmul_precision() == "high"


def test_another_name_is_refused():
    with pytest.raises(UsageError, match="found device 'tpu', expected cpu, cuda or auto") as e:
        choose_device("tpu")
    assert e.value.code == "CFG-007"


@pytest.mark.parametrize(
    ("choice", "kind", "capable", "expected"),
    [
        ("auto", "cpu", True, False),
        ("auto", "cuda", True, True),
        ("auto", "cuda", False, False),
        ("off", "cuda", True, False),
        ("bf16", "cpu", False, True),
        ("bf16", "cuda", False, True),
    ],
)
def test_bf16(monkeypatch, choice, kind, capable, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: capable)
    assert use_bf16(choice, torch.device(kind)) is expected
