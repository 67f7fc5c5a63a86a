"""A run folder explains itself."""

import subprocess
import sys

import pytest
import torch

from poselens.training import explain as module
from poselens.training.explain import commit, environment, explain, mean_data_wait

CONFIG = {
    "recipe": "tiny",
    "branch": "rgb",
    "protocol": "p",
    "training": {"seed": 3, "epochs": 2, "batch_size": 16},
}


def git(root, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "code"
    (root / "src" / "poselens").mkdir(parents=True)
    (root / "src" / "poselens" / "a.py").write_text("1\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


def test_the_commit_is_that_of_a_checkout_of_the_code(checkout):
    found = commit(checkout)
    assert len(found) == 40
    (checkout / "src" / "poselens" / "a.py").write_text("2\n")
    assert commit(checkout) == found + "+"


def test_a_package_installed_inside_another_repository_has_no_commit(checkout, tmp_path):
    """Of the user's own repository nothing is told."""
    installed = checkout / "venv" / "lib" / "python3" / "site-packages"
    (installed / "poselens").mkdir(parents=True)
    assert commit(installed) is None
    assert commit(installed / "poselens") is None
    assert commit(tmp_path) is None


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert commit(checkout) is None


def test_the_environment_names_versions_machine_and_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/poselens", "train", "rgb", "my data"])
    found = environment(torch.device("cpu"))
    assert found["command"] == "poselens train rgb 'my data'"
    assert found["versions"]["torch"] == torch.__version__
    assert set(found["versions"]) >= {"python", "torch", "numpy", "av"}
    assert found["cores"] >= 1
    assert found["device"]["type"] == "cpu"


def test_a_run_under_way_says_how_to_go_on(tmp_path):
    made = {**environment(torch.device("cpu")), "commit": None}
    explain(tmp_path, tmp_path / "my data", CONFIG, {"environment": made})
    text = (tmp_path / "RUN.md").read_text()
    assert text.startswith("# rgb on my data, protocol p\n")
    assert "**Not finished.**" in text
    assert f"'{tmp_path / 'my data'}' --recipe tiny --protocol p --out {tmp_path} --resume" in text
    assert "commit" not in text


def test_a_finished_run_says_what_it_is_and_how_to_use_it(tmp_path):
    made = environment(torch.device("cpu"))
    facts = {
        "complete": True,
        "data": {"train": 8, "val": 4, "skipped": 1, "fingerprint": "abc"},
        "selection": "last of 2 epochs, trained on train",
        "params": 1234567,
        "trained_params": 1000,
        "environment": {**made, "ended": "2026-01-01T00:00:00Z", "data_wait": 0.125},
    }
    explain(tmp_path, tmp_path / "data", CONFIG, facts)
    text = (tmp_path / "RUN.md").read_text()
    assert "8 clips, 4 held out for validation, 1 skipped; data fingerprint abc" in text
    assert "1,000 of 1,234,567 parameters trained" in text
    assert "Waited 12.5% of the time for data." in text
    assert f"poselens evaluate {tmp_path} {tmp_path / 'data'} --protocol p" in text


def test_the_wait_is_a_mean_over_time(tmp_path):
    assert mean_data_wait(tmp_path) is None
    (tmp_path / "log.jsonl").write_text(
        '{"epoch": 1, "split": "train", "seconds": 30, "data_wait": 0.5}\n'
        '{"epoch": 1, "split": "val", "loss": 1}\n'
        '{"epoch": 2, "split": "train", "seconds": 10, "data_wait": 0.1}\n'
    )
    assert mean_data_wait(tmp_path) == 0.4


def test_a_driver_that_cannot_be_read_is_none(monkeypatch, tmp_path):
    about = type("About", (), {"name": "GPU", "total_memory": 5})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: about)
    monkeypatch.setattr(module, "_DRIVER", tmp_path / "version")
    assert module._device(torch.device("cuda"))["driver"] is None
    (tmp_path / "version").write_text("NVRM version: 580.1\nGCC\n")
    assert module._device(torch.device("cuda"))["driver"] == "NVRM version: 580.1"
