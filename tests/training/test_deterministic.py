"""The same bits each time: the switch and what it puts back, and whole runs on a GPU."""

import os

import pytest
import torch
import yaml

from poselens.cli import _run
from poselens.data.folder import open_folder
from poselens.errors import UsageError
from poselens.training import loop
from poselens.training.compiling import compiles, replays
from poselens.training.config import ContrastSettings, RgbSection, SkeletonSection, override
from poselens.training.deterministic import WORKSPACE, deterministic
from poselens.training.run import train
from poselens.training.states import state_files

without_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def flags():
    cudnn = torch.backends.cudnn
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark


@pytest.mark.parametrize("before", [(False, False, True), (False, True, False)])
def test_the_switch_is_set_and_put_back(monkeypatch, before):
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", before[1])
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before[2])
    with deterministic(wanted=False):
        assert flags() == before
        assert WORKSPACE not in os.environ
    with deterministic(wanted=True):
        assert flags() == (True, True, False)
        assert os.environ[WORKSPACE] == ":4096:8"
    assert flags() == before
    with pytest.raises(KeyError), deterministic(wanted=True):
        raise KeyError
    assert flags() == before


def test_a_workspace_of_the_users_own_is_kept(monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with deterministic(wanted=True):
        assert os.environ[WORKSPACE] == ":16:8"


@pytest.mark.parametrize(
    "told",
    [
        "avg_pool3d_backward_cuda does not have a deterministic implementation, but you set. More",
        "Deterministic behavior was enabled with either `torch.use`, but this is not. To enable",
    ],
)
def test_what_torch_cannot_do_so_is_named(told):
    known = pytest.raises(UsageError, match="training.deterministic=true, and ")
    with known as caught, deterministic(wanted=True):
        raise RuntimeError(told)
    assert caught.value.code == "TRAIN-001"
    assert told.partition(". ")[0] in str(caught.value)
    with pytest.raises(RuntimeError, match="another"), deterministic(wanted=True):
        raise RuntimeError("another")


def test_an_operation_without_such_an_algorithm_is_refused():
    """One of the few that torch refuses on a CPU."""
    with pytest.raises(UsageError, match="max_unpooling2d") as caught, deterministic(wanted=True):
        torch.nn.MaxUnpool2d(2)(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.int64))
    assert caught.value.code == "TRAIN-001"


@pytest.mark.parametrize("key", ["compile", "replay"])
def test_steps_are_taken_as_they_are_written(key):
    section = override(SkeletonSection(), ["training.deterministic=true"])
    assert replays(SkeletonSection(), torch.device("cuda"))
    assert not replays(section, torch.device("cuda"))
    section = override(RgbSection(), ["training.deterministic=true"])
    assert not compiles(section, torch.device("cuda"), steps=10**6)
    with pytest.raises(UsageError, match="deterministic steps are taken as written"):
        override(section, [f"training.{key}=on"])


@pytest.fixture
def go(tiny_folder, tiny_section, tiny_request, tmp_path):
    """Train to the end, or up to a step after which the process is gone; returns its end."""

    def go(branch, name, *, device="cpu", lost_after=None, **training):
        section = tiny_section(branch, epochs=3, save_every=1, **training)
        if branch == "skeleton":
            contrast = ContrastSettings(dimensions=8, positives=4, negatives=8)
            section = section.model_copy(update={"contrast": contrast})
        request = tiny_request(out=tmp_path / name, device=device, resume=lost_after is None)
        with pytest.MonkeyPatch.context() as patched:
            if lost_after is not None:
                losing(patched, lost_after)
                with pytest.raises(Lost):
                    train(open_folder(tiny_folder), section, request)
                return {}
            train(open_folder(tiny_folder), section, request)
        files = [state_files(tmp_path / name)[0], tmp_path / name / "weights.safetensors"]
        return {file.name: file.read_bytes() for file in files}

    return go


class Lost(BaseException):
    """What a process that is killed cannot say; nothing of the run hears of it."""


def losing(patched, steps):
    real, taken = loop._settled, []

    def settled(take):
        if len(taken) == steps:
            raise Lost
        taken.append(1)
        return real(take)

    patched.setattr(loop, "_settled", settled)


@pytest.mark.parametrize("branch", ["rgb", "skeleton"])
def test_a_run_that_is_lost_and_resumed_ends_the_same(go, branch):
    whole = go(branch, "whole", deterministic=True)
    go(branch, "resumed", deterministic=True, lost_after=4)
    assert go(branch, "resumed", deterministic=True) == whole


@pytest.mark.parametrize("branch", ["rgb", "skeleton"])
def test_on_a_cpu_it_changes_nothing(go, monkeypatch, branch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    plain, same = (
        go(branch, name, deterministic=name == "same")["weights.safetensors"]
        for name in ("plain", "same")
    )
    assert plain == same
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("word", [True, False])
def test_the_command_has_a_word_for_it(tiny_folder, tiny_recipe, tmp_path, word):
    words = ["train", "skeleton", tiny_folder, "--recipe", tiny_recipe, "--protocol", "p"]
    words += ["--out", tmp_path / "run", "--device", "cpu", "--set", "training.epochs=1"]
    assert _run([str(word) for word in (*words, *["--deterministic"] * word)]) == 0
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["training"]["deterministic"] is word


@pytest.mark.gpu
@without_gpu
@pytest.mark.parametrize("branch", ["rgb", "skeleton"])
def test_on_a_gpu_two_runs_and_a_resumed_one_are_the_same_bits(go, branch):
    """With dropout, contrast and bfloat16."""
    options = {"device": "cuda", "deterministic": True}
    one, other = (go(branch, name, **options) for name in ("one", "other"))
    assert one == other
    go(branch, "resumed", lost_after=4, **options)
    assert go(branch, "resumed", **options) == one
